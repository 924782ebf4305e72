"""Where the shipped datasets come from: public files pinned to a commit and a SHA-256, read from a local folder or downloaded once."""

import csv
import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trustrace.core.documents import shaped
from trustrace.core.errors import DataError, IntegrityError
from trustrace.core.statements import Source

ATTEMPTS = 3
"""How often a download is tried before it counts as failed."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One public file.

    Attributes:
        local: Its path inside a data folder, and inside the cache.
        url: Where it is downloaded from.
        sha256: What its bytes must hash to; empty where that is recorded on first use.
        title: What it is, for a reader.
        licence: Its licence.
        commit: The commit that `url` is pinned to; empty where the publisher has none.
    """

    local: str
    url: str
    sha256: str = ""
    title: str
    licence: str
    commit: str = ""

    def source(self, note: str = "") -> Source:
        """The provenance of statements made from this file."""
        return Source(title=self.title, licence=self.licence, url=self.url, commit=self.commit, note=note)


def _pinned(
    local: str, sha256: str, *, repository: str, commit: str, path: str, title: str, licence: str
) -> SourceFile:
    url = f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"
    return SourceFile(local=local, url=url, sha256=sha256, title=title, licence=licence, commit=commit)


PAPER_COMMIT = "bf8d38a67844bcad25b8744b1f859205a2b8aa9b"
"""The commit of the paper's repository at which its five sets are pinned."""


def _paper(name: str, sha256: str) -> SourceFile:
    return _pinned(
        f"paper/{name}",
        sha256,
        repository="ChnQ/TracingLLM",
        commit=PAPER_COMMIT,
        path=f"src/datasets/{name}",
        title=f"{name} as published with Qian et al. (2024)",
        licence="Apache-2.0",
    )


def _stereoset(domain: str, sha256: str) -> SourceFile:
    return _pinned(
        f"originals/stereoset/intersentence_{domain}.csv",
        sha256,
        repository="ano1-yu/stereoset_adaptation",
        commit="ab5555462b6c4d13810e3df164b4d4a314bbdc0e",
        path=f"data/intersentence/intersentence_{domain}_data.csv",
        title="StereoSet development set, inter-sentence (Nadeem et al. 2021), mirrored as CSV",
        licence="CC-BY-SA-4.0",
    )


def _confaide(name: str, sha256: str) -> SourceFile:
    return _pinned(
        f"originals/confaide/{name}",
        sha256,
        repository="skywalker023/confaide",
        commit="3174c63e689226189675a740b7bf9053f10bae50",
        path=f"benchmark/{name}",
        title="ConfAIde, tier 2 (Mireshghallah et al. 2024)",
        licence="MIT",
    )


def _sst2(local: str, name: str, sha256: str) -> SourceFile:
    return _pinned(
        f"originals/sst2/{local}",
        sha256,
        repository="forest-snow/alps",
        commit="3c7ef2c98249fc975a897b27f275695f97d5b7a9",
        path=f"data/SST-2/{name}",
        title="SST-2 as in GLUE (Socher et al. 2013; Wang et al. 2019), mirrored",
        licence="unclear (the repository that mirrors it is MIT)",
    )


PAPER_TRUTHFULQA_TRAIN = _paper(
    "truthfulqa_train.csv", "a35b128d62def4fe8a14a74f9c9dd38a0fa4f2039e6714892e88d04b47907e92"
)
PAPER_TRUTHFULQA_TEST = _paper(
    "truthfulqa_test.csv", "67653de78eb58b21fc66e3981b0d6285b6ad2448a861061da3c269879e3967ca"
)
PAPER_TOXIGEN = _paper("toxigen.csv", "8f7ead8fbde13b4e56c1c1b4df8de89d56047768b81e746b6b565bb4b0108047")
PAPER_CONFAIDE = _paper("confaide.csv", "e817ecacea5948576edcb021253ba33727fa3d69527d00b236c78eeca19b867c")
PAPER_STEREOSET = _paper("stereoset.csv", "0a648d03836c988efb67f156c6eb7b3327b3aee2f73bb8db06b0570d6ee3aca5")
PAPER_SST2 = _paper("sst2.csv", "0606418a6a1bc6b80ec29acf3ead4e30211af98a7c1a803d3c8a2b4f5954fa6f")

TRUTHFULQA = _pinned(
    "originals/truthfulqa/TruthfulQA_v0.csv",
    "99d6ae7755e3b435eade956068c9de7c0c474770344237aeb66b56519ba4b697",
    repository="benedictflorance/truthfulqa_experiments",
    commit="6fdfd38288e86296582a584694df5cf43d1f634a",
    path="TruthfulQA.csv",
    title="TruthfulQA, the 817 questions of the first release (Lin et al. 2022), mirrored",
    licence="Apache-2.0",
)
TOXIGEN = _pinned(
    "originals/toxigen/toxiGen.json",
    "42863b997f545833b8c9bfe7fc950aeaccc274d49f7386384db147face745fc3",
    repository="microsoft/SafeNLP",
    commit="e351b6cb892284cf843b88e363b1a6dbaded584e",
    path="data/toxiGen.json",
    title="ToxiGen (Hartvigsen et al. 2022), human-annotated rows as revised by Hosseini et al. (2023)",
    licence="MIT and CDLA-Permissive-2.0",
)
STEREOSET = {
    "gender": _stereoset("gender", "e652f70c756aa8d51ee995e1b8d868af6ef0f46e90c4d8697196999e288ba488"),
    "profession": _stereoset("profession", "6fa7971d2a14261d972a5aeb41d00fef0803b351558ff521c36f5c33e7efc73a"),
    "race": _stereoset("race", "76f32ec86d84c800cdcc584665e5290e2df2fbcdb5436b9aa50755dc751cc6f1"),
    "religion": _stereoset("religion", "ede58c791e4a741d7fdc8037cd81c36aaa2e3b513b2835a0a5205784d0077516"),
}
CONFAIDE_2A = _confaide("tier_2a.txt", "a869099fab404cde9dd50f23c20668063021afa8f080e190b348a5a4da14b979")
CONFAIDE_2B = _confaide("tier_2b.txt", "8c194006c92816f56a9ee2f6ec3bf09f29bb1a543408ce154096c8c67f72df37")
CONFAIDE_LABELS = _confaide("tier_2_labels.txt", "cd573da5a542a4d92f3a81ed5b09b66cc25a6ae0ea656aaaf754af43304bbb34")
# The mirror re-splits GLUE's training phrases into its own train and dev; its test is GLUE's development set.
SST2_SENTENCES = _sst2("test.tsv", "test.tsv", "54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0")
SST2_PHRASES = _sst2("train.tsv", "train.tsv", "920e317b2c52e12cd22db1da2c6708312bd7dc4f3712b9bbf1b50ee6c2c792ba")

CANONICAL_TRUTHFULQA = SourceFile(
    local="canonical/truthfulqa/TruthfulQA.csv",
    url="https://raw.githubusercontent.com/sylinrl/TruthfulQA/main/TruthfulQA.csv",
    title="TruthfulQA, current release (Lin et al. 2022)",
    licence="Apache-2.0",
)
CANONICAL_STEREOSET = SourceFile(
    local="canonical/stereoset/dev.json",
    url="https://raw.githubusercontent.com/moinnadeem/StereoSet/master/data/dev.json",
    title="StereoSet development set, inter-sentence (Nadeem et al. 2021)",
    licence="CC-BY-SA-4.0",
)
CANONICAL_SST2 = SourceFile(
    local="canonical/sst2/SST-2.zip",
    url="https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",
    title="SST-2 as in GLUE (Socher et al. 2013; Wang et al. 2019)",
    licence="unclear",
)


def read_labelled(file: SourceFile, *, data_dir: Path | None = None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The statements and labels of one of the paper's CSVs, row for row, nothing changed."""
    rows = read_rows(file, data_dir=data_dir, columns=("statement", "label"))
    return tuple(row["statement"] for row in rows), tuple(int(row["label"]) for row in rows)


def read_rows(file: SourceFile, *, data_dir: Path | None = None, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a delimited `file`. See :func:`parse_rows`."""
    return parse_rows(read_text(file, data_dir=data_dir), file, columns=columns)


def parse_rows(text: str, file: SourceFile, *, columns: tuple[str, ...], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of delimited `text`, by column name; tab-separated text knows no quotes.

    Raises:
        DataError: a column that is read is not there: a publisher has changed the format.
    """
    stream = io.StringIO(text, newline="")
    if delimiter == "\t":
        reader = csv.DictReader(stream, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.DictReader(stream, delimiter=delimiter)
    missing = [column for column in columns if column not in (reader.fieldnames or [])]
    if missing:
        raise DataError(
            f"{file.url} has no columns {missing}, only {reader.fieldnames}; its format has changed: use the pinned mirror"
        )
    return list(reader)


def read_text(file: SourceFile, *, data_dir: Path | None = None) -> str:
    """The verified content of `file` as text (UTF-8, a byte order mark removed). See :func:`read_bytes`."""
    content = read_bytes(file, data_dir=data_dir)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.url} is not UTF-8 at byte {error.start}; its format has changed: use the pinned mirror"
        ) from None


def read_bytes(file: SourceFile, *, data_dir: Path | None = None) -> bytes:
    """The verified content of `file`: from the data folder where it is there, else from the cache, downloaded first if need be.

    The data folder is `data_dir`, else the one that ``TRUSTRACE_DATA`` names. Bytes are the same wherever they come from: what is read is
    hashed every time. The cache is ``TRUSTRACE_CACHE``, else the user's cache folder.

    Raises:
        DataError: the data folder does not exist, or the download failed.
        IntegrityError: the bytes do not hash to what is recorded for the file.
    """
    folder = _data_folder(data_dir)
    if folder is not None and (path := folder / file.local).is_file():
        return _verified(
            path,
            file.sha256,
            remedy=f"restore it from {file.url} (beware of tools that change line ends), or remove it",
        )
    return _downloaded(file, wanted_in=folder)


def cache_folder() -> Path:
    """Where downloads are kept: ``TRUSTRACE_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("TRUSTRACE_CACHE"):
        return Path(chosen)
    import pooch

    return Path(pooch.os_cache("trustrace"))


def _data_folder(data_dir: Path | None) -> Path | None:
    chosen = data_dir or os.environ.get("TRUSTRACE_DATA")
    if not chosen:
        return None
    folder = Path(chosen)
    if not folder.is_dir():
        origin = "the given data folder" if data_dir else "TRUSTRACE_DATA"
        raise DataError(
            f"{origin}, {folder}, is not a folder; name one that exists, or none to download the public files"
        )
    return folder


def _verified(path: Path, sha256: str, *, remedy: str) -> bytes:
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        raise IntegrityError(f"{path} has SHA-256 {found}, expected {sha256}; {remedy}")
    return content


def _downloaded(file: SourceFile, *, wanted_in: Path | None) -> bytes:
    cache = cache_folder()
    expected = file.sha256 or _recorded(cache).get(file.url, "")
    path = _fetch(file, expected=expected, cache=cache, wanted_in=wanted_in)
    content = _verified(path, expected, remedy="remove it and try again")
    if not expected:
        _record(cache, file.url, hashlib.sha256(content).hexdigest())
    return content


def _fetch(file: SourceFile, *, expected: str, cache: Path, wanted_in: Path | None) -> Path:
    """The file's path in `cache`; pooch downloads to a temporary name and renames only what hashes to `expected`."""
    import pooch

    # Without a recorded hash, a file that an earlier, unrecorded download left behind proves nothing.
    if not expected:
        (cache / file.local).unlink(missing_ok=True)
    pooch.get_logger().setLevel("WARNING")
    known = f"sha256:{expected}" if expected else None
    keeper = pooch.create(
        path=cache, base_url="", registry={file.local: known}, urls={file.local: file.url}, retry_if_failed=ATTEMPTS - 1
    )
    try:
        return Path(keeper.fetch(file.local, downloader=pooch.HTTPDownloader(progressbar=False, timeout=60)))
    except ValueError as error:
        raise IntegrityError(
            f"{file.url} was downloaded {ATTEMPTS} times and never hashed to {expected}: {error}; the source has changed or the "
            f"connection alters it; put a good copy at {_by_hand(file, wanted_in)}"
        ) from error
    except OSError as error:
        # A connection that fails or breaks off is an OSError too (requests derives its errors from it).
        raise DataError(
            f"{file.url} cannot be downloaded ({urlsplit(file.url).hostname}: {error}); try again with a connection, "
            f"or put the file at {_by_hand(file, wanted_in)}"
        ) from error


def _by_hand(file: SourceFile, folder: Path | None) -> str:
    return str(folder / file.local) if folder else f"<data folder>/{file.local} and set TRUSTRACE_DATA to that folder"


def _recorded(cache: Path) -> dict[str, str]:
    """The hashes of files that had none when they were first used, by URL."""
    path = cache / "first_use.json"
    if not path.is_file():
        return {}
    way_out = "remove it, and what was downloaded is trusted anew"
    found: dict[str, str] = shaped(path.read_bytes(), dict[str, str], where=path, error=DataError, way_out=way_out)
    return found


def _record(cache: Path, url: str, sha256: str) -> None:
    path = cache / "first_use.json"
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(_recorded(cache) | {url: sha256}, indent=2, sort_keys=True), encoding="utf-8")
    draft.replace(path)
