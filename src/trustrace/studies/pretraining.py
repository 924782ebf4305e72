"""Pre-training from a file, with the few things that differ between machines given on the command line."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from trustrace.core.errors import ConfigError
from trustrace.studies.files import read_yaml
from trustrace.training.config import FolderCorpus, PretrainConfig
from trustrace.training.plan import describe


def read_pretrain(path: Path, *, corpus: Path | None = None, tokens: int | None = None) -> PretrainConfig:
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
    return PretrainConfig.read(values, where=str(path))


def foresee_pretrain(config: PretrainConfig) -> list[dict[str, Any]]:
    """What a run will take, as rows."""
    figures = {**asdict(describe(config)), "saves": len(describe(config).saves)}
    return [{"what": what.replace("_", " "), "value": f"{value:,.0f}"} for what, value in figures.items()]
