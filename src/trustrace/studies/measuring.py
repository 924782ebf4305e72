"""Measuring activations that somebody else captured."""

from pathlib import Path
from typing import Any

from torch import Tensor

from trustrace.activations.store import Activations
from trustrace.core.errors import AlignmentError
from trustrace.core.measurements import Measurement, Protocol
from trustrace.core.statements import Statements
from trustrace.datasets.files import read_statements
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.measures.floors import text_floors
from trustrace.measures.information.inputs import FixedInputs
from trustrace.measures.measure import measure
from trustrace.runs.table import as_table, write_table

COLUMNS = ("protocol", "site", "quantity", "method", "role", "value", "lower", "upper", "n", "n_groups", "note")


def measure_files(
    activations: Path,
    statements: Path,
    inputs: Path | None = None,
    *,
    out: Path,
    protocols: tuple[Protocol, ...],
    seed: int,
    probing: ProbingConfig | None = None,
    informed: bool = True,
) -> list[Measurement]:
    """Measure every site of a safetensors file against a file of statements, floors included, and write the tidy table to `out`.

    `inputs` is a file whose site ``embed`` holds what stands still: the mean input embedding of each statement in one model.

    Raises:
        DataError: a file cannot be used, or their rows do not belong together.
        MeasurementError: a number cannot be computed from what was given.
    """
    captured = Activations.open(activations)
    labelled = read_statements(statements, seed=seed)
    config = probing or ProbingConfig()
    embedding = _embedding(inputs, labelled) if inputs else None
    rows: list[Measurement] = []
    for protocol in protocols:
        rows += text_floors(labelled, config=config, protocol=protocol, seed=seed)
        rows += measure(
            captured,
            labelled,
            config=config,
            information=InformationConfig() if informed else None,
            inputs=FixedInputs.of_words(labelled, embedding=embedding),
            protocol=protocol,
            seed=seed,
        )
    write_table(as_table(rows), out)
    return rows


def _embedding(inputs: Path, statements: Statements) -> Tensor:
    """The mean input embedding of each statement in a file.

    Raises:
        AlignmentError: the file is of other statements, or was captured at another position.
    """
    captured = Activations.open(inputs)
    if captured.fingerprint not in ("", statements.texts_fingerprint):
        raise AlignmentError(f"{inputs} was captured from other statements than {statements.name}; capture it again")
    if captured.position not in ("", "mean"):
        raise AlignmentError(
            f"{inputs} holds the {captured.position} token of each statement; capture it with --position mean"
        )
    return captured.values("embed")


def accuracies(rows: list[Measurement]) -> list[dict[str, Any]]:
    """The accuracies among `rows`, for a table: site by site, floors first."""
    return [_shown(row, without="quantity") for row in rows if row.quantity == "accuracy"]


def dependences(rows: list[Measurement]) -> list[dict[str, Any]]:
    """What each site keeps of input and label, for a table: the first width's values, calibrated where they are."""
    first = next((row.method for row in rows if row.quantity == "I(T;Y)"), "")
    wanted = [row for row in rows if row.method == first and row.role == "measured" and row.quantity.startswith("I(")]
    kept = [row for row in wanted if row.quantity.endswith(" calibrated") or row.protocol == "published"]
    return [_shown(row, without="role") for row in kept]


def _shown(row: Measurement, *, without: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COLUMNS if name != without}
