"""Measuring activations that somebody else captured."""

from pathlib import Path
from typing import Any

from trustrace.activations.store import Activations
from trustrace.core.measurements import Measurement, Protocol
from trustrace.datasets.files import read_statements
from trustrace.measures.config import ProbingConfig
from trustrace.measures.floors import text_floors
from trustrace.measures.measure import measure
from trustrace.runs.table import as_table, write_table


def measure_files(
    activations: Path, statements: Path, *, out: Path, config: ProbingConfig, protocols: tuple[Protocol, ...], seed: int
) -> list[Measurement]:
    """Measure every site of a safetensors file against a file of statements, floors included, and write the tidy table to `out`.

    Raises:
        DataError: a file cannot be used, or their rows do not belong together.
        MeasurementError: a number cannot be computed from what was given.
    """
    captured = Activations.open(activations)
    labelled = read_statements(statements, seed=seed)
    rows: list[Measurement] = []
    for protocol in protocols:
        rows += text_floors(labelled, config=config, protocol=protocol, seed=seed)
        rows += measure(captured, labelled, config=config, protocol=protocol, seed=seed)
    write_table(as_table(rows), out)
    return rows


def accuracies(rows: list[Measurement]) -> list[dict[str, Any]]:
    """The accuracies among `rows`, for a table: site by site, floors first."""
    kept = [row for row in rows if row.quantity == "accuracy"]
    columns = ("protocol", "site", "method", "role", "value", "lower", "upper", "n", "n_groups", "note")
    return [{name: getattr(row, name) for name in columns} for row in kept]
