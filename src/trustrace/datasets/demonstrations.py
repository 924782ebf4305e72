"""ToxiGen's demonstrations: lines about eleven groups of people, hateful and neutral, that its authors chose by hand."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from trustrace.datasets import sources
from trustrace.datasets.cleaning import mend

COMMIT = "01517e814639e0334c920a3c502036c8158aac87"

# Two more files, religion/hate_muslim.txt and religion/neutral_muslim.txt, repeat lines of those listed and are left out.
_HASHES: Mapping[str, str] = MappingProxyType(
    {
        "disability/hate_mental_disability_sentences.txt": "5006966f3bb6816f27d898ba161064c67d78388e3c9b679e0ce2fba6331b3c5e",
        "disability/hate_physical_disability_sentences.txt": "42f0f861365f9090aedd2cd9d132576556744e0eeb7bdacd9f96b69b30d337ac",
        "disability/neutral_mental_disability_sentences.txt": "31ee714e95dc3bbf35052cde3398882be47d32e9c18586605d52cb5c550e8cb5",
        "disability/neutral_physical_disability_sentences.txt": "ed458178e21a86bdcb40a6b3039e87580a76bf3e1ee5f0d764ec76ae35480a07",
        "nationality/hate_chinese_sentences.txt": "8424a44c9170fffc80a7d69dcc642672343c94d494f07117bb6dc5c17f631e4f",
        "nationality/hate_immigrant_sentences.txt": "91647bbd4238970592b6776be9adc99a6c943bee11206409782d70c610b2e549",
        "nationality/hate_mexican_sentences.txt": "d0db66c68504642cde26c93026809ced3a9a2190ea782e39c90d9d0a36d4aa1b",
        "nationality/hate_middle_east_sentences.txt": "e4a50352d900eaa093a0f7038af8deca09d2e9ceb0d0f3e1c5177f807816bd09",
        "nationality/neutral_chinese_sentences.txt": "3473e4260c4fdedf807504be6a58d2443735c5d8f4786b6599b633525d565eb4",
        "nationality/neutral_immigrant_sentences.txt": "8beeb5f52e77753473f8c938b8a0e938c4ffdd563b441f1c5881a211614888cc",
        "nationality/neutral_mexican_sentences.txt": "c1fe95bf1f21e73e073d3543e195f1d92a69cf6247b43e934b80f13be472e095",
        "nationality/neutral_middle_east_sentences.txt": "db19fbfaf0cdf748719ac1c4c0daa291c8d58b781b8a55fb03b729f563c4352c",
        "race/hate_asian_sentences.txt": "3bdc5ac4af53e1d4f77b9a21d19540045ae2ae3ce35577ee4678ad65b02e1688",
        "race/hate_black_sentences.txt": "43296e909b48adacf843d6673f9724f912b1b0eed77e4c49e9135e47585718d0",
        "race/hate_jewish_sentences.txt": "edf9af973e4fe3f11daf260a1d58465b1328bfe8c4305e0660427ea807e20072",
        "race/hate_latino_sentences.txt": "f8cc92e2f658c75b5d6d5816b6ec51d6edfe6a9bed2f5782a16d00c9a241ee4b",
        "race/hate_native_american_sentences.txt": "0e58e77d7b6d22a70d5caf60a37277f2189fb8eb65f4eb6e7a334e1ff417635b",
        "race/neutral_asian_sentences.txt": "fa793ba444f6eec89e3fcf253956ca1272d7df64cb9bd79a826019449e70959e",
        "race/neutral_black_sentences.txt": "ffa52d9303b13e24e5e1d4b1227204460a7d32ac6b75c1968d752fdb78aaf321",
        "race/neutral_jewish_sentences.txt": "436fe727f604462b87045e7a54ed19d7d176a168f7e49b836382dea205c02579",
        "race/neutral_latino_sentences.txt": "8b7f1a1cf07b9c81a10f9ece369b39fa23346c90ec419f9be418a4c8bd3f0e9f",
        "race/neutral_native_american_sentences.txt": "7d85de9e33acb6d5d58ca25036050720c9787c1f897f9ada3944249779be8513",
        "religion/hate_muslim_sentences.txt": "7716c645ac42e39d60edb16f14e972e02f6bcd057e7673dffd9bcc2ca4f93bd3",
        "religion/neutral_muslim_sentences.txt": "62bed8bd9192cd3805623a094e113ce531a658752b0e0fdd9a4f0b09e4cad2fc",
        "sexual_orientation/hate_bisexual.txt": "e87b39ecdef41950ce0035fb091d862a60d1686021611d458ae047849aff6616",
        "sexual_orientation/hate_lgbtq.txt": "b13aecf6ac5e3ff62cc8743d9790c09de7a242f9e635fd5102ad345fd799dd0b",
        "sexual_orientation/neutral_bisexual.txt": "44f82d8d4c66e4755143741101531c60d7cf17a10df19f24dceb37c84bab5ce0",
        "sexual_orientation/neutral_lgbtq.txt": "932c9b1f59911d862df8ccba5da9d7d486a5750cf344139a241b6c477d68a8e3",
    }
)


def read(*, data_dir: Path | None = None) -> tuple[tuple[str, str, bool], ...]:
    """Every line with whom it is about and whether it is hateful, file by file."""
    return tuple(
        (text, _about(path), Path(path).name.startswith("hate_"))
        for path in _HASHES
        for line in sources.read_text(_file(path), data_dir=data_dir).splitlines()
        if (text := mend(line))
    )


def _about(path: str) -> str:
    return Path(path).stem.removeprefix("hate_").removeprefix("neutral_").removesuffix("_sentences").replace("_", " ")


def _file(path: str) -> sources.SourceFile:
    return sources.SourceFile(
        local=f"originals/toxigen/demonstrations/{path}",
        url=f"https://raw.githubusercontent.com/microsoft/TOXIGEN/{COMMIT}/demonstrations/{path}",
        sha256=_HASHES[path],
        title="ToxiGen (Hartvigsen et al. 2022), demonstrations",
        licence="MIT and CDLA-Permissive-2.0",
        commit=COMMIT,
    )
