"""Labelled statements: what a probe is asked to tell apart."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

from trustrace.core.errors import AlignmentError, DataError

Dimension = Literal["reliability", "toxicity", "privacy", "fairness", "robustness", "custom"]
Split = Literal["train", "validation", "test"]
Scheme = Literal["folds", "held_out"]
"""How probes are scored: out of fold over every row, or on the ``test`` rows alone because the split itself carries meaning."""

DIMENSIONS: tuple[str, ...] = get_args(Dimension)
SPLITS: tuple[str, ...] = get_args(Split)


@dataclass(frozen=True, kw_only=True)
class LabelMeaning:
    """What the two labels stand for, and which of them a trustworthy model should show."""

    one: str
    zero: str
    desired: Literal[0, 1]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where statements come from and under which licence."""

    title: str
    licence: str
    url: str = ""
    commit: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Statements:
    """Texts with binary labels; row i of every column belongs together.

    Attributes:
        name: ``<dimension>/<form>`` for shipped sets, the file's stem for a user's own.
        dimension: One of the five dimensions, or ``custom``.
        texts: The statements.
        labels: 0 or 1 each; `meaning` says what they stand for.
        groups: Rows of one group share a source (question, context, sentence) and never straddle a split or a fold.
        splits: ``train``, ``validation`` or ``test`` each; train and validation together are the development half.
        meaning: What the labels stand for.
        source: Provenance and licence.
        scheme: ``folds`` where rows are exchangeable up to groups, ``held_out`` where the split carries meaning.
    """

    name: str
    dimension: Dimension
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[str, ...]
    splits: tuple[Split, ...]
    meaning: LabelMeaning
    source: Source
    scheme: Scheme = "folds"

    def __post_init__(self) -> None:
        columns = {"labels": self.labels, "groups": self.groups, "splits": self.splits}
        for column, values in columns.items():
            if len(values) != len(self.texts):
                raise AlignmentError(
                    f"{self.name}: {len(self.texts)} texts but {len(values)} {column}; all columns must come from the same rows"
                )
        if not self.texts:
            raise DataError(f"{self.name}: no statements; at least one row is needed")
        self._require(self.labels, {0, 1}, "label")
        self._require(self.splits, set(SPLITS), "split")
        empty = [row for row, text in enumerate(self.texts) if not text.strip()]
        if empty:
            raise DataError(
                f"{self.name}: {len(empty)} empty statements (first at row {empty[0]}); remove them or give them text"
            )

    def _require(self, values: Sequence[object], allowed: set[object], column: str) -> None:
        for row, value in enumerate(values):
            if value not in allowed:
                raise DataError(
                    f"{self.name}: {column} {value!r} at row {row}; expected one of {sorted(map(str, allowed))}"
                )

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that changes a measurement: rows in order, label meaning, scheme."""
        content = [
            self.texts,
            self.labels,
            self.groups,
            self.splits,
            self.meaning.one,
            self.meaning.zero,
            self.meaning.desired,
            self.scheme,
        ]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def texts_fingerprint(self) -> str:
        """SHA-256 of the texts in their order: what activations must have been captured from."""
        return hashlib.sha256(json.dumps(self.texts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()

    def take(self, rows: Sequence[int]) -> "Statements":
        """The given rows, in the given order."""
        return replace(
            self,
            texts=tuple(self.texts[i] for i in rows),
            labels=tuple(self.labels[i] for i in rows),
            groups=tuple(self.groups[i] for i in rows),
            splits=tuple(self.splits[i] for i in rows),
        )
