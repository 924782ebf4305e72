"""Pre-training from a file, with the few things that differ between machines given on the command line."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from trustrace.core.config import Config
from trustrace.core.errors import ConfigError
from trustrace.studies.files import read_yaml
from trustrace.studies.live.callback import LiveTrace
from trustrace.studies.live.config import LiveConfig, read_live
from trustrace.studies.settings import Settings
from trustrace.training.config import FolderCorpus, PretrainConfig
from trustrace.training.plan import describe
from trustrace.training.plots import Plots, TensorBoardPlots

TRACE = "trace"
"""The run's folder of what was measured while it went on."""

Tracker = Literal["tensorboard"]


class Reporting(Config):
    """Where a run's numbers are plotted besides its log.

    Attributes:
        report_to: ``tensorboard``: event files in the run's folder of that name.
    """

    report_to: tuple[Tracker, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PretrainStudy:
    """A pre-training run, and what is measured and plotted while it goes on, which changes no weight and is no part of what the run is."""

    training: PretrainConfig
    trace: LiveConfig | None
    report_to: tuple[Tracker, ...] = ()

    def watcher(self, *, out: Path, settings: Settings) -> LiveTrace | None:
        """What measures the run in ``out/trace``; None where nothing is to be.

        Raises:
            DataError: a dataset cannot be used.
        """
        return None if self.trace is None else LiveTrace(self.trace, out=out / TRACE, settings=settings)

    def plots(self, *, out: Path) -> Plots | None:
        """What plots the run in ``out/tensorboard``; None where nothing is to be plotted.

        Raises:
            ConfigError: tensorboard is not installed.
        """
        return TensorBoardPlots(out / "tensorboard") if "tensorboard" in self.report_to else None


def read_pretrain(path: Path, *, corpus: Path | None = None, tokens: int | None = None) -> PretrainStudy:
    """The pre-training run described in the YAML file `path`.

    Args:
        path: The file.
        corpus: A folder of text that takes the place of the file's corpus.
        tokens: A number of training tokens that takes the place of the file's.

    Raises:
        ConfigError: the file cannot be used, or `corpus` is no folder.
    """
    values = read_yaml(path)
    if corpus is not None:
        if not corpus.is_dir():
            raise ConfigError(f"--corpus {corpus}: no such folder; give a folder of text files")
        values["corpus"] = FolderCorpus(path=str(corpus)).model_dump()
    if tokens is not None:
        values["tokens"] = tokens
    trace = values.pop("trace", None)
    reporting = Reporting.read({key: values.pop(key) for key in ("report_to",) if key in values}, where=str(path))
    return PretrainStudy(
        training=PretrainConfig.read(values, where=str(path)),
        trace=None if trace is None else read_live(trace, where=f"{path}: trace"),
        report_to=reporting.report_to,
    )


def foresee_pretrain(config: PretrainConfig) -> list[dict[str, Any]]:
    """What a run will take, as rows."""
    figures = {**asdict(describe(config)), "saves": len(describe(config).saves)}
    return [{"what": what.replace("_", " "), "value": f"{value:,.0f}"} for what, value in figures.items()]
