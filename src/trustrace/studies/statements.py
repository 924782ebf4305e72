"""Statements by name or by file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trustrace.core.statements import Statements
from trustrace.datasets import catalog, files
from trustrace.studies.config import DatasetConfig
from trustrace.studies.settings import Settings


def load_statements(dataset: DatasetConfig, *, settings: Settings, seed: int) -> Statements:
    """The statements that `dataset` names, from a file of the user's or from the catalogue.

    Raises:
        DataError: the file or the set cannot be used.
    """
    if dataset.path is not None:
        return files.read_statements(Path(dataset.path), name=dataset.name, seed=seed)
    return catalog.load(
        dataset.shipped or dataset.name, seed=seed, data_dir=settings.data_dir, parameters=dataset.parameters
    )


def load_all(datasets: Sequence[DatasetConfig], *, settings: Settings, seed: int) -> tuple[Statements, ...]:
    """The statements of every dataset, each under the name that the study gives it."""
    return tuple(
        replace(load_statements(dataset, settings=settings, seed=seed), name=dataset.name) for dataset in datasets
    )


def load_named(
    name: str,
    *,
    settings: Settings,
    seed: int,
    parameters: Mapping[str, Any] | None = None,
    refuse_leaks: bool = True,
) -> Statements:
    """The statements that a command line calls `name`: a file where its ending says so, a shipped set otherwise.

    An audit reads a file whose groups leak over its split, with `refuse_leaks` False, in order to say so.
    """
    if Path(name).suffix.lower() in files.FORMATS:
        return files.read_statements(Path(name), seed=seed, refuse_leaks=refuse_leaks)
    return catalog.load(name, seed=seed, data_dir=settings.data_dir, parameters=parameters or {})
