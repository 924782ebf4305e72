"""A run as it lies in its folder, to be laid beside the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pyarrow.compute as pc

from trustrace.core.errors import ConfigError, RunError
from trustrace.core.measurements import Measurement
from trustrace.runs.reading import read_document
from trustrace.runs.table import read_table
from trustrace.studies.paper.numbers import BASE, ROWS, SAFE, Who
from trustrace.studies.steering.chosen import Chosen, chosen_in

_OF_TRACES = tuple(
    f"{quantity}{what}" for quantity in ("accuracy", "I(T;X)", "I(T;Y)") for what in ("", " shape", " onset")
)
_OF_TASKS = r"/(test|development)$"

_WANTED = (pc.field("role") == "measured") & (
    pc.field("quantity").isin(_OF_TRACES) | pc.match_substring_regex(pc.field("dataset"), _OF_TASKS)
)
"""A trace of hundreds of checkpoints has millions of rows, of which few are of the paper's figures."""

_MADE_BY = "a folder that trace, dynamics, steer, evaluate, finetune or proxy-tune wrote"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run measured.

    Attributes:
        name: Its folder, as it was given.
        rows: What its table holds of models; floors, controls and nulls are left out.
        study: What it was asked.
        manifest: What it says of itself.
        chosen: What its searches chose.
        who: Whose its unsteered rows are: the tuned model's, unless said otherwise.
        pretraining: Checkpoints that this run or another one takes for those of a pre-training, none of which is steered.
    """

    name: str
    rows: tuple[Measurement, ...]
    study: Mapping[str, Any]
    manifest: Mapping[str, Any]
    chosen: tuple[Chosen, ...] = ()
    who: Who = "plain"
    pretraining: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """Which study it is of."""
        return str(self.study.get("study", ""))

    @property
    def unit(self) -> str:
        """What a strength of 1 is; empty where the run does not say."""
        return str(self.study.get("unit", ""))

    @property
    def bases(self) -> frozenset[str]:
        """Checkpoints of pre-training that were tuned by proxy."""
        return frozenset(self.manifest.get("bases") or ())

    @property
    def sources(self) -> frozenset[str]:
        """Checkpoints that vectors come from."""
        return frozenset(self.manifest.get("sources") or ())

    @property
    def targets(self) -> frozenset[str]:
        """Models that are steered."""
        return frozenset(self.manifest.get("targets") or ())

    @cached_property
    def is_of_tuning(self) -> bool:
        """Whether what it holds of untouched models is what they were before fine-tuning."""
        return any(row.vector.partition(":")[0] in ("full", "lora") for row in self.rows)

    def whose(self, checkpoint: str) -> Who | None:
        """Whose the unsteered rows of `checkpoint` are; None for one of pre-training, which the tables do not show."""
        if checkpoint.startswith(BASE) or checkpoint in self.pretraining:
            return None
        if checkpoint.startswith(SAFE):
            return "safe"
        return "plain" if self.is_of_tuning else self.who

    def trained_to(self, source: str) -> str:
        """``ckpt_179 (step 137160)``: a checkpoint that a vector comes from, with its step where the run knows it."""
        revision = source.rpartition("@")[2]
        sources: Mapping[str, Sequence[Any]] = self.manifest.get("sources") or {}
        _, step, *_ = (*sources.get(source, ()), None, None)
        return revision if step is None else f"{revision} (step {step})"


def read_runs(given: Sequence[str]) -> list[Run]:
    """Read each of ``FOLDER`` or ``WHO=FOLDER``, once.

    Raises:
        ConfigError, RunError: as for one.
    """
    runs = [read_run(one) for one in dict.fromkeys(given)]
    early = frozenset[str]().union(*(run.bases | run.sources for run in runs))
    steered = frozenset[str]().union(*(run.targets for run in runs))
    return [replace(run, pretraining=early - steered) for run in runs]


def read_run(given: str) -> Run:
    """Read ``FOLDER`` or ``WHO=FOLDER``.

    Raises:
        ConfigError: `WHO` is no row of the paper's tables.
        RunError: the folder is none, holds no run, or one that has not finished anything.
    """
    who, found, folder = given.partition("=")
    if not found or Path(given).is_dir():
        return _read(given, who="plain")
    if who not in ROWS:
        raise ConfigError(f"{given}: {who!r} is no row of the paper's tables; rows are {', '.join(ROWS)}")
    return _read(folder, who=cast("Who", who))


def model_of(row: Measurement) -> str:
    """The model whose checkpoint `row` is of."""
    return row.checkpoint.partition("@")[0]


def _read(folder: str, *, who: Who) -> Run:
    path = Path(folder)
    if not path.is_dir():
        raise RunError(f"{folder}: there is no such folder; give {_MADE_BY}")
    if not (path / "study.json").is_file():
        raise RunError(f"{folder}: no run here (study.json is missing); give {_MADE_BY}")
    table = read_table(path / "measurements.parquet").filter(_WANTED)
    rows = tuple(Measurement(**row) for row in table.to_pylist())
    return Run(
        name=folder,
        rows=rows,
        study=_json(path / "study.json"),
        manifest=_json(path / "manifest.json") if (path / "manifest.json").is_file() else {},
        chosen=tuple(chosen_in(path, rows)),
        who=who,
    )


def _json(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = read_document(path, dict[str, Any], is_finite=False)
    return content
