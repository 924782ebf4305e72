"""General abilities: ARC, MMLU, MathQA and RACE as multiple choice, and in the rows that lm-evaluation-harness reads."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from trustrace.core.documents import parsed
from trustrace.core.errors import DataError
from trustrace.core.statements import Source
from trustrace.datasets import sources
from trustrace.datasets.grouping import normalise
from trustrace.datasets.sources import SourceFile

Benchmark = Literal["arc_easy", "arc_challenge", "mmlu", "mathqa", "race"]
BENCHMARKS: tuple[Benchmark, ...] = get_args(Benchmark)

RACE_FOLDER = "general/race/test/high"
"""Where the articles of RACE's test set for high schools lie inside a data folder: one ``<number>.txt`` each, as in its archive."""

RACE_URL = "https://www.cs.cmu.edu/~glai1/data/race/"

LETTERS = "ABCDE"


def _adapters(local: str, path: str, sha256: str, *, title: str, licence: str) -> SourceFile:
    commit = "816657208af4db747803f87ba40a4c71383fed7a"
    url = f"https://raw.githubusercontent.com/AGI-Edgerunners/LLM-Adapters/{commit}/dataset/{path}"
    return SourceFile(local=f"general/{local}", url=url, sha256=sha256, title=title, licence=licence, commit=commit)


ARC_EASY = _adapters(
    "arc/ARC-Easy.test.json",
    "ARC-Easy/test.json",
    "3f32a84716ca6d57d38728bf80cc8117aecd17445c2cf29a68b571b810eb82dc",
    title="ARC, easy set, test questions (Clark et al. 2018), mirrored as prompts",
    licence="Apache-2.0 (the mirror; the data are CC BY-SA 4.0)",
)
ARC_CHALLENGE = _adapters(
    "arc/ARC-Challenge.test.json",
    "ARC-Challenge/test.json",
    "4a89ce368ae01a71d268d9851686738b2a0a1d84271116bab49a1dd2b48ecad7",
    title="ARC, challenge set, test questions (Clark et al. 2018), mirrored as prompts",
    licence="Apache-2.0 (the mirror; the data are CC BY-SA 4.0)",
)
MATHQA = _adapters(
    "mathqa/test.json",
    "mathqa/test.json",
    "58715cb7aaccc7f3f2994586073800a57a3e44f77d22e62bee7fd7ff8315172c",
    title="MathQA, test problems (Amini et al. 2019), mirrored as prompts",
    licence="Apache-2.0",
)

_MMLU_COMMIT = "fe7264328a06ee5fbc4a651030c4238fdbaddc3c"
_MMLU_HASHES = {
    "abstract_algebra": "c028c786db593baa9a6ce449ab8f4cf106bab9cebf077f791d4361ddd014f213",
    "anatomy": "2b156490ca5fd7d00fd59aea119a307cc3c6ed0b35a7ed0d3b8f5e3b071f9536",
    "astronomy": "006ba37611e5f04fce4e31a14a80f9fa3bbf792f75aba51d63cf0da0fdcdec8d",
    "business_ethics": "ba6eac543cfe0b69376648198fe05dec89f518efd00f77292ef2511360ce886e",
    "clinical_knowledge": "53740b3c6c107956693cfae33aa37bffe02c7f4315d0d4780ff437b453d0cf43",
    "college_biology": "dae223c7d61b3fe25d3eea631737980fdba0c7ffc64ce63b8d3be6ab02b7e63c",
    "college_chemistry": "b876f5b336f57c0c44e2918cc14968c433d65d7e93fcca1067f6d9a494961d07",
    "college_computer_science": "348ae70db838eb676954015de2bf6154be7fd611ae6c631741c61abb804fb6b7",
    "college_mathematics": "2e15921346b7d25b0968f7b53ed6e6b4a82fb557711f3267691842c611b7a867",
    "college_medicine": "9b0af9b3ab6f5640024b05233be9fec2ac81b6b44c679c6021000e5df76eb79f",
    "college_physics": "724ad1488c654da5139714c742b21dd88404b6b7591fcd5e0d843e385f6a7450",
    "computer_security": "9cbcb88189c9e183637a57655a09923c54e3256f63c464d0339e00abcc194650",
    "conceptual_physics": "58b394761441d3dde743ff02dab2fc47424e42825109eba6de814cfe20b3b17d",
    "econometrics": "a4e17fc34b3b9c1dee5a5198239c22c32ded4f7139332462ed373bf6f70368be",
    "electrical_engineering": "9a9b5344759abea274c4c14e0dbc813fa8ee09b2dc3c6beddc513fbbb0dd6e35",
    "elementary_mathematics": "ffd9d6b0fd547599f96b8e0503f73364f30f7ef50ae3ba7e56f461fb11c377df",
    "formal_logic": "f50a54a0cc9bec7d88b7c73c4cfccf8dfe83934de9c60d88e316cc4c2996d11e",
    "global_facts": "814da49d09928fb30f5f28bcb32617b3a9970f73e4e179e2e35a917deecb3f81",
    "high_school_biology": "f3a6b8b9b964595febb65024cf15f27f02fceda5844abb62bfdf7814bb0cb214",
    "high_school_chemistry": "ef2e16ce976af0f6b081474df41ffd6daa5154798b888c1df958d92b220bb023",
    "high_school_computer_science": "1bc602576abee67bcd2ef368592a54e268dad1f5b7c57a34d5f78f12ba0097a8",
    "high_school_european_history": "bb1121675b2afb8dc94806fb37852f9444a67a03d1f121caef8beb9af8bb3a77",
    "high_school_geography": "dd9b09455858f93d4d552c78efafce95d48368f33efc45bba7ab5224a6c148ee",
    "high_school_government_and_politics": "dde27a03653db15d5162477a02cd5a4de7af9410d6493c966fca2c206179e719",
    "high_school_macroeconomics": "5782cdb92a92688f06be840626f31888c556bc1edd97b822ee11c5b4adb8f7b9",
    "high_school_mathematics": "498a8e5a9ca716b841ef6e9c01aed0a22b0dc47c56aaeb7fc0c1b264e768c04d",
    "high_school_microeconomics": "996157534d3471f0d03f0080e4613f7f4e3dee87603b8d141f1f57d99651869a",
    "high_school_physics": "eded8398a77e0a839921a582b65828fe758881c0ff2fb6be768b9572432b9110",
    "high_school_psychology": "e3563391338d8918b89f4c5f2f40ae894046adcb4e4c251aa75692675cb81c7d",
    "high_school_statistics": "2388d7d819db4e7d45c4197d299dbe55c899e1c4e668e43b4afb3ae24ff20c5b",
    "high_school_us_history": "8a3f88fc81d893106c1ec7e92601f92a01e6fe483f414e28a19b0fa0683d65aa",
    "high_school_world_history": "4d02d79d2e77b025f316d266999e2b63fa56e4b4567db9763cd85d804817ee4f",
    "human_aging": "524a668d626995c5a863f92576fec547417aeade3b131219cdc92237a2bc822b",
    "human_sexuality": "5213f15c91cae61f86cd9ec1b7a74629ef3defb888290630416dd116c46a6055",
    "international_law": "4afebc73ddb098c895460a3185cf6012f39a8f14f895d3594bdcca131053832f",
    "jurisprudence": "25f020cfb6ee7e13f6aabd987e14f8c301e81c83caeeabe7af64a9e6843f006e",
    "logical_fallacies": "14e23afa61ab93281fd820c1f87bdb49fb3eb5dd6d64d450319775443e44d7e1",
    "machine_learning": "99c2d57b699f864c57f1248a3679f320e87fc4c0977351a54d3839da8f182263",
    "management": "f70aef810db1a70bac3f288fcaff1fc8c667c673f3f8d4f2e5673052ba15239a",
    "marketing": "f20b1ba982de31b606fe7bdb9186c99a97d14eb8bf80671574b33ad84debe297",
    "medical_genetics": "a9cea6589aa857d2545fb9c6a46d1ae94e60bb968f5deaf1ee9ef31b100459e7",
    "miscellaneous": "3e770c9b9baee67e58712ca37c60e3ae5865ecba6aef3a6af1a21c1214e349f6",
    "moral_disputes": "f88bc0f3466f0920fb0e66cbe16f27471233027bf983ea52cd81cb38c98f65ba",
    "moral_scenarios": "9ad941569a2b8ad640c702a7ad32da453595ec5950247f3c96d70d13381469f8",
    "nutrition": "f178f7e6f16aea99c00b2a52089dcaa7f02b2134c16d0392c4f73c3e37f1b5bc",
    "philosophy": "dcb3a495a0324d3e4a653eb0f6668fbc3a50f5cb4d50845109a7a141549b0762",
    "prehistory": "3a56e35fb4c96455b46f5421550950dd484a0a659eb59b07dd457edc00c16327",
    "professional_accounting": "749778455369c81f2b84d31f9a907aa76396de4fbc172f4aec867a15ea7657af",
    "professional_law": "b00bcb7f158fded35268f70073e788159a49f556294ff9496375b3fdd6d87587",
    "professional_medicine": "dc506df25d8432d0947e3bee7da95dfb6d5353712c94e3cf53626a3c33da151c",
    "professional_psychology": "01bb8497a1625aa6afed2b828f73bef8be42154eb501511892020db6179d0d0d",
    "public_relations": "e48d6f01273310718784fc2a30f24e5cdda857f02a94ab0d67a53c1c34e80576",
    "security_studies": "02aba979ebe14a821777823363e9d95318b983a21e4518da29407ee4e10c95bc",
    "sociology": "2d22712c1e29fff77fea123193fc8d6135daa176ee9ae96719e39cd7c7977330",
    "us_foreign_policy": "24b006582528d8436f00f72c0c91d01ff6e08893a43fb8bbde0cdb6b47f59710",
    "virology": "d8f8a7c1b5a49234386d67a814f340ca086320cafdf1b029f38a0dd60e1d2071",
    "world_religions": "1c5dd32fa999660949eb78c2289042e6f29952993a1e527c0b3a65cc33946132",
}


def _mmlu_file(subject: str, sha256: str) -> SourceFile:
    path = f"mmlu/test/{subject}_test.csv"
    return SourceFile(
        local=f"general/{path}",
        url=f"https://raw.githubusercontent.com/NagusameCS/HyperTensor/{_MMLU_COMMIT}/data/{path}",
        sha256=sha256,
        title=f"MMLU, {subject.replace('_', ' ')}, at most 200 test questions (Hendrycks et al. 2021), mirrored as CSV",
        licence="MIT",
        commit=_MMLU_COMMIT,
    )


MMLU = MappingProxyType({subject: _mmlu_file(subject, sha256) for subject, sha256 in _MMLU_HASHES.items()})
"""The file of each of the 57 subjects."""


@dataclass(frozen=True, kw_only=True)
class MultipleChoice:
    """One question with its choices.

    Attributes:
        question: What is asked.
        choices: The answers to choose from.
        answer: Which of them is right, counted from 0.
        group: What other rows may share with this one: questions that are equal up to case and white space.
        subject: The subject, where the benchmark has several.
        article: The text that the question is about, where there is one.
        earlier: The questions on the same article that come before this one.
    """

    question: str
    choices: tuple[str, ...]
    answer: int
    group: str
    subject: str = ""
    article: str = ""
    earlier: tuple["MultipleChoice", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Questions:
    """A benchmark, and where it comes from."""

    name: Benchmark
    items: tuple[MultipleChoice, ...]
    source: Source

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that is asked, in its order."""
        digest = hashlib.sha256()
        for row in as_task_rows(self.name, self.items):
            digest.update(json.dumps(row, sort_keys=True).encode() + b"\0")
        return digest.hexdigest()


def load(name: Benchmark, *, data_dir: Path | None = None) -> Questions:
    """The test questions of a benchmark, in the order of their files.

    Rows of which question, choices and answer cannot be told apart are left out and counted in the source's note.

    Args:
        name: Which one.
        data_dir: The folder of data; that of ``TRUSTRACE_DATA`` if not given. What it lacks is downloaded, but for RACE.

    Raises:
        DataError: a file cannot be had or is of another format.
    """
    match name:
        case "arc_easy":
            return _parsed(name, ARC_EASY, _arc_item, data_dir)
        case "arc_challenge":
            return _parsed(name, ARC_CHALLENGE, _arc_item, data_dir)
        case "mathqa":
            return _parsed(name, MATHQA, _mathqa_item, data_dir)
        case "mmlu":
            return _mmlu(data_dir)
        case "race":
            return race(_race_folder(data_dir))


def _parsed(name: Benchmark, file: SourceFile, parse: Any, data_dir: Path | None) -> Questions:
    rows = _json(sources.read_text(file, data_dir=data_dir), file.url)
    found = [parse(row) for row in rows]
    items = tuple(item for item in found if item is not None)
    note = f"{len(rows)} rows; left out: {len(rows) - len(items)} that cannot be parsed"
    return Questions(name=name, items=items, source=file.source(note))


_ARC = re.compile(
    r"Please choose the correct answer to the question: (.*)\n\n(Answer1: .*)\n\nAnswer format: (.*)", re.DOTALL
)


def _arc_item(row: dict[str, str]) -> MultipleChoice | None:
    r"""A row such as ``...question: Q\n\nAnswer1: a Answer2: b\n\nAnswer format: answer1/answer2``."""
    found = _ARC.fullmatch(row["instruction"])
    if found is None:
        return None
    question, answers, names = found.groups()
    parts = re.split(r"(?:^| )Answer(\d): ", answers)
    labels, choices = parts[1::2], parts[2::2]
    allowed = names.split("/")
    if [f"answer{label}" for label in labels] != allowed or row["answer"] not in allowed:
        return None
    return _item(question, choices, allowed.index(row["answer"]))


def _mathqa_item(row: dict[str, str]) -> MultipleChoice | None:
    """A row such as ``Q The options: A ) a , B ) b , C ) c , D ) d , E ) e``; 66 of them list the options as Python would.

    The mirror has put every letter from a to f of the options in upper case. MathQA is lower case throughout, so that nothing is lost.
    """
    question, _, options = row["instruction"].partition(" The options: ")
    separator = "', '" if options.startswith("['") else " , "
    plain = options.removeprefix("['").removesuffix("']").lower()
    parts = re.split(rf"(?:^|{separator})([a-e]) \) ", plain)
    choices, labels = parts[2::2], "".join(parts[1::2])
    if labels != LETTERS.lower() or row["answer"] not in LETTERS:
        return None
    return _item(question, choices, LETTERS.index(row["answer"]))


def _item(question: str, choices: Sequence[str], answer: int, *, subject: str = "") -> MultipleChoice | None:
    if not question.strip() or not all(choice.strip() for choice in choices) or not 0 <= answer < len(choices):
        return None
    return MultipleChoice(
        question=question, choices=tuple(choices), answer=answer, group=normalise(question), subject=subject
    )


def _mmlu(data_dir: Path | None) -> Questions:
    n_rows, items = 0, []
    for subject, file in MMLU.items():
        rows = sources.read_rows(file, data_dir=data_dir, columns=("question", *LETTERS[:4], "answer"))
        n_rows += len(rows)
        items += [item for row in rows if (item := _mmlu_item(row, subject)) is not None]
    note = (
        f"{len(MMLU)} subjects, the first 200 questions of each, {n_rows} rows; left out: {n_rows - len(items)} with more than six cells "
        "(the mirror has lost quotation marks)"
    )
    source = Source(
        title="MMLU, test questions (Hendrycks et al. 2021), mirrored as CSV",
        licence="MIT",
        url="https://github.com/NagusameCS/HyperTensor",
        commit=_MMLU_COMMIT,
        note=note,
    )
    return Questions(name="mmlu", items=tuple(items), source=source)


def _mmlu_item(row: dict[str, str], subject: str) -> MultipleChoice | None:
    """A row of six cells; what a cell too many belongs to cannot be told."""
    if len(row) != 6 or row["answer"] not in ("0", "1", "2", "3"):
        return None
    return _item(row["question"], [row[letter] for letter in LETTERS[:4]], int(row["answer"]), subject=subject)


def race(folder: Path) -> Questions:
    """The articles of a RACE folder, each with its last question; the questions before it are :attr:`MultipleChoice.earlier`.

    A file is a JSON object: ``article``, ``questions``, ``options`` (four for each question), ``answers`` (A to D) and ``id``.

    Raises:
        DataError: the folder is not there, holds no articles, or an article is of another format.
    """
    paths = sorted(folder.glob("*.txt"), key=lambda path: (len(path.stem), path.stem))
    if not paths:
        raise DataError(f"{folder} holds no articles; download RACE from {RACE_URL} and unpack its test/high there")
    source = Source(
        title="RACE, high schools, test articles (Lai et al. 2017)",
        licence="non-commercial research only",
        url=RACE_URL,
        note=f"{len(paths)} articles, the last question of each",
    )
    return Questions(name="race", items=tuple(_article(path) for path in paths), source=source)


def _article(path: Path) -> MultipleChoice:
    row = parsed(path.read_bytes(), dict, where=path, error=DataError, way_out="unpack it again")
    try:
        columns = zip(row["questions"], row["options"], row["answers"], strict=True)
        problems = [
            MultipleChoice(
                question=question,
                choices=tuple(options),
                answer=LETTERS[:4].index(answer),
                group=normalise(row["article"]),
                article=row["article"],
            )
            for question, options, answer in columns
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not an article of RACE ({error!r}); it needs article, questions, options and answers (A to D), as many of each"
        ) from None
    if not problems or any(len(problem.choices) != 4 for problem in problems):
        raise DataError(
            f"{path} needs at least one question, and four options for each; it has been altered: unpack it again"
        )
    *earlier, last = problems
    return MultipleChoice(**{**vars(last), "earlier": tuple(earlier)})


def _race_folder(data_dir: Path | None) -> Path:
    chosen = data_dir or os.environ.get("TRUSTRACE_DATA")
    if not chosen:
        raise DataError(
            f"RACE may be used for non-commercial research only, so it is not downloaded; get it from {RACE_URL}, unpack test/high as "
            f"<data folder>/{RACE_FOLDER} and set TRUSTRACE_DATA to that folder"
        )
    return Path(chosen) / RACE_FOLDER


def _json(text: str, where: str) -> list[dict[str, str]]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON ({error}); its format has changed: use the pinned mirror") from None
    if not isinstance(rows, list) or any({"instruction", "answer"} - set(row) for row in rows):
        raise DataError(f"{where} is not a list of objects with an instruction and an answer; use the pinned mirror")
    return rows


def as_task_rows(name: Benchmark, items: Iterable[MultipleChoice]) -> Iterator[dict[str, Any]]:
    """The rows that lm-evaluation-harness's own definition of the benchmark reads, with our ``group`` beside its fields."""
    for item in items:
        yield {**_task_row(name, item), "group": item.group}


def _task_row(name: Benchmark, item: MultipleChoice) -> dict[str, Any]:
    match name:
        case "arc_easy" | "arc_challenge":
            labels = list(LETTERS[: len(item.choices)])
            choices = {"text": list(item.choices), "label": labels}
            return {"question": item.question, "choices": choices, "answerKey": labels[item.answer]}
        case "mmlu":
            return {
                "question": item.question,
                "subject": item.subject,
                "choices": list(item.choices),
                "answer": item.answer,
            }
        case "mathqa":
            options = " , ".join(
                f"{letter} ) {choice}" for letter, choice in zip(LETTERS.lower(), item.choices, strict=True)
            )
            return {"Problem": item.question, "options": options, "correct": LETTERS.lower()[item.answer]}
        case "race":
            # The harness reads this column with ast.literal_eval: it is text, not a list.
            return {
                "article": item.article,
                "problems": repr([_problem(problem) for problem in (*item.earlier, item)]),
            }


def _problem(item: MultipleChoice) -> dict[str, Any]:
    return {"question": item.question, "answer": LETTERS[item.answer], "options": list(item.choices)}


def write_task_rows(name: Benchmark, items: Iterable[MultipleChoice], path: Path) -> None:
    """Write :func:`as_task_rows` as JSON lines."""
    rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in as_task_rows(name, items))
    path.write_text("".join(rows), encoding="utf-8")
