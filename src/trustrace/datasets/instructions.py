"""Instructions with answers, one JSON object a line: what a model can be tuned on.

The columns say what a row is: ``prompt`` and ``answer`` (``completion``, ``response``), or ``instruction``, perhaps ``input``, and
``output``, which become the usual headed prompt. ``group`` ties rows of one source; ``split`` keeps rows of a test from being learned.

References:
    Taori et al. (2023), Stanford Alpaca: an instruction-following LLaMA model (the headed prompt).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trustrace.core.errors import AlignmentError, DataError
from trustrace.core.statements import SPLITS, Split
from trustrace.datasets.alignment import rows_in, text_in

_ANSWERS = ("answer", "completion", "response")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """A prompt with the answer that is wanted.

    Attributes:
        prompt: What is asked, up to where the answer begins.
        answer: What follows, a space before it.
        group: What the row shares a source with; its prompt where the file does not say.
        split: Where the row stands; ``train`` where the file does not say.
    """

    prompt: str
    answer: str
    group: str
    split: Split


def read_instructions(path: Path) -> tuple[Instruction, ...]:
    """The rows of a ``.jsonl``, ``.jsonl.gz`` or ``.parquet`` file.

    Raises:
        DataError: the file cannot be read, holds no row, a row lacks text, or a group stands on both sides of the test.
        AlignmentError: the columns are of no known format.
    """
    found = tuple(_instruction(row, f"{path}: {place}") for place, row in rows_in(path))
    if not found:
        raise DataError(f"{path} holds no instructions; write one JSON object a line: {{'prompt': ..., 'answer': ...}}")
    tested = {one.group for one in found if one.split == "test"}
    straddling = sorted({one.group for one in found if one.split != "test"} & tested)
    if straddling:
        raise DataError(
            f"{path}: {len(straddling)} groups have rows of the test split and others, such as {straddling[0][:60]!r}; "
            "give all rows of a group one side"
        )
    return found


def _instruction(row: Mapping[str, Any], place: str) -> Instruction:
    prompt, answer = _prompt_and_answer(row, place)
    split = row.get("split", "train")
    if split not in SPLITS:
        raise DataError(f"{place}: split is {split!r}; expected one of {', '.join(SPLITS)}")
    group = text_in(row, "group", place) if row.get("group") is not None else prompt
    return Instruction(prompt=prompt, answer=f" {answer.strip()}", group=group, split=cast("Split", split))


def _prompt_and_answer(row: Mapping[str, Any], place: str) -> tuple[str, str]:
    if "instruction" in row and "output" in row:
        return _headed(row, place), text_in(row, "output", place)
    column = next((name for name in _ANSWERS if name in row), None)
    if "prompt" in row and column:
        return text_in(row, "prompt", place).rstrip(), text_in(row, column, place)
    raise AlignmentError(
        f"{place} has the columns {sorted(row)}; expected prompt and one of {', '.join(_ANSWERS)}, or instruction and output"
    )


def _headed(row: Mapping[str, Any], place: str) -> str:
    asked = text_in(row, "instruction", place).strip()
    given = f"\n\n### Input:\n{text_in(row, 'input', place).strip()}" if row.get("input") else ""
    return f"### Instruction:\n{asked}{given}\n\n### Response:"
