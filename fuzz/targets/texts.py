"""Studies, datasets, pairs, instructions, corpora."""

import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from fuzz.driving import Target
from fuzz.mutation import Mutation, of_bytes, of_cells, of_json, of_json_lines
from fuzz.tables import as_bytes, of_table
from fuzz.targets.files import of_file
from trustrace.core.errors import ConfigError
from trustrace.datasets.alignment import read_pairs
from trustrace.datasets.corpora import documents
from trustrace.datasets.files import read_statements, write_statements
from trustrace.datasets.general import _article
from trustrace.datasets.instructions import read_instructions
from trustrace.datasets.journal import read_journal
from trustrace.datasets.sources import SourceFile, parse_rows
from trustrace.studies.config import TraceConfig
from trustrace.studies.files import read_study, read_yaml
from trustrace.studies.proxying.config import ProxyConfig
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.tuning.config import FinetuneConfig
from trustrace.training.config import PretrainConfig

_STUDIES = Path(__file__).resolve().parents[2] / "studies"
_KINDS: dict[str, type[Any]] = {"steer": SteerConfig, "finetune": FinetuneConfig, "proxy_tune": ProxyConfig}

_ROWS = "statement,label,group,split\n" + "".join(
    f'"statement, {row}",{row % 2},g{row // 2},{("train", "validation", "test")[row // 2 % 3]}\n' for row in range(18)
)
_PAIRS = [
    {"prompt": f"Question {row}?", "chosen": f"A kind answer, {row}.", "rejected": f"Another one {row}."}
    for row in range(8)
]
_SAFETY = [
    {
        "prompt": f"Q {row}?",
        "response_0": f"one {row}",
        "response_1": f"two {row}",
        "safer_response_id": row % 2,
        "is_response_0_safe": True,
    }
    for row in range(8)
]
_DIALOGUES = [
    {"chosen": f"\n\nHuman: Q {row}?\n\nAssistant: yes", "rejected": f"\n\nHuman: Q {row}?\n\nAssistant: no {row}"}
    for row in range(8)
]
_INSTRUCTIONS = [
    {"prompt": f"Question {row}?", "answer": f"Answer {row}.", "group": f"g{row}", "split": "train"} for row in range(6)
]
_HEADED = [{"instruction": f"Say {row}", "input": "x", "output": f"{row}"} for row in range(6)]
_ENTRY = {"key": "0", "kind": "judgement", "text": "yes", "prompt_tokens": 3, "completion_tokens": 1}
_ARTICLE = {
    "article": "Text.",
    "questions": ["A?", "B?"],
    "options": [list("abcd"), list("efgh")],
    "answers": ["A", "D"],
}


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _fixed(*contents: bytes) -> Callable[[Path], Sequence[bytes]]:
    return lambda folder: contents


def _studies(folder: Path) -> Sequence[bytes]:
    """Small shipped studies that stand alone, and one that is based on another."""
    shipped = [path.read_bytes() for path in sorted(_STUDIES.rglob("*.yaml")) if path.stat().st_size < 3000]
    alone = [content for content in shipped if b"based_on" not in content and b"${" not in content]
    accepted = [content for content in alone if _is_study(folder / "base.yaml", content)]
    (folder / "base.yaml").write_bytes(accepted[0])
    return [b"based_on: base.yaml\nseed: 3\n", *accepted]


def _is_study(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        _study(path)
    except ConfigError:
        return False
    return True


def _study(path: Path) -> object:
    found = read_yaml(path)
    if "preset" in found or "steps" in found:
        return read_study(path, PretrainConfig)
    return read_study(path, _KINDS.get(str(found.get("study")), TraceConfig))


def _written(suffix: str) -> Callable[[Path], Sequence[bytes]]:
    def valid(folder: Path) -> Sequence[bytes]:
        (folder / "seed.csv").write_text(_ROWS)
        write_statements(read_statements(folder / "seed.csv"), folder / f"seed{suffix}")
        return [(folder / f"seed{suffix}").read_bytes()]

    return valid


def _tables(*tables: Sequence[dict[str, Any]]) -> Callable[[Path], Sequence[bytes]]:
    return lambda folder: [as_bytes(pa.Table.from_pylist(list(rows))) for rows in tables]


def _packed(rng: Random, content: bytes) -> bytes:
    """The text inside changed, or the archive's own bytes."""
    if rng.random() < 0.6:
        return of_bytes(rng, content)
    return gzip.compress(of_json_lines(rng, gzip.decompress(content)), compresslevel=1, mtime=0)


def _delimited(path: Path) -> object:
    text = io.StringIO(path.read_bytes().decode("utf-8", "replace")).getvalue()
    source = SourceFile(local="x.csv", url="https://example.org/x.csv", sha256="", title="x", licence="x")
    return parse_rows(text, source, columns=("statement", "label"))


_MUTATED: dict[str, Mutation] = {".csv": of_cells, ".jsonl": of_json_lines, ".parquet": of_table}

TEXTS: tuple[Target, ...] = (
    of_file("study_yaml", "study.yaml", _study, _studies, of_bytes),
    *(
        of_file(f"statements_{suffix[1:]}", f"own{suffix}", read_statements, _written(suffix), mutate)
        for suffix, mutate in _MUTATED.items()
    ),
    of_file("pairs_jsonl", "p.jsonl", read_pairs, _fixed(*map(_lines, (_PAIRS, _SAFETY, _DIALOGUES))), of_json_lines),
    of_file("pairs_gz", "p.jsonl.gz", read_pairs, _fixed(gzip.compress(_lines(_PAIRS), mtime=0)), _packed),
    of_file("pairs_parquet", "p.parquet", read_pairs, _tables(_PAIRS, _SAFETY), of_table),
    of_file(
        "instructions_jsonl",
        "i.jsonl",
        read_instructions,
        _fixed(*map(_lines, (_INSTRUCTIONS, _HEADED))),
        of_json_lines,
    ),
    of_file("journal", "journal.jsonl", read_journal, _fixed(_lines([_ENTRY, {**_ENTRY, "key": "1"}])), of_json_lines),
    of_file("race_article", "1.txt", _article, _fixed(json.dumps(_ARTICLE).encode()), of_json),
    of_file(
        "corpus_text", "c.txt", lambda path: list(documents(path)), _fixed(b"A text.\r\nMore \xc3\xa4.\n"), of_bytes
    ),
    of_file("delimited_csv", "d.csv", _delimited, _fixed(_ROWS.encode()), of_cells),
)
