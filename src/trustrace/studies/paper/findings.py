"""What the paper's figures show, beside the same of a run: ranges of accuracies, and findings as sentences."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trustrace.studies.paper.numbers import FINDINGS, RANGES, Range
from trustrace.studies.paper.tables import Row

Curve = Sequence[tuple[int, float]]
"""Steps, in order, and the mean over blocks at each."""

MISSING = "missing"


def ranges(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The range of the probe's accuracies over checkpoints and blocks, by data set and protocol."""
    return [line for known in RANGES for line in _range(known, rows)]


def findings(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each finding beside what the run says of it."""
    said: Mapping[str, Callable[[Sequence[Row]], str]] = {
        "where": _where,
        "when": lambda known: _course(known, "accuracy", "logistic"),
        "fitting": lambda known: _course(known, "I(T;X)", "nhsic_50"),
        "label": lambda known: _course(known, "I(T;Y)", "nhsic_50"),
        "half": _halved,
    }
    return [
        {"where": where, "the paper": sentence, "ours": said[key](rows) or MISSING}
        for key, (where, sentence) in FINDINGS.items()
    ]


def _range(known: Range, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    ours = [row for row in _probed(rows, "accuracy", "logistic") if row["dataset"].startswith(known.dimension)]
    paper = {"where": "figures 8-12", "data set": known.dataset, "paper": f"{known.low:.2f} to {known.high:.2f}"}
    if not ours:
        yield {**paper, "ours": MISSING, "n": None, "share of ours in the paper's range": None, "ours is": ""}
    kinds = dict.fromkeys((row["dataset"], row["protocol"]) for row in ours)
    for dataset, protocol in kinds:
        own = [row for row in ours if (row["dataset"], row["protocol"]) == (dataset, protocol)]
        values = [row["value"] for row in own]
        yield {
            **paper,
            "ours": f"{min(values):.2f} to {max(values):.2f}",
            "n": own[0]["n"],
            "share of ours in the paper's range": sum(known.low <= one <= known.high for one in values) / len(values),
            "ours is": f"{dataset}, {len(values)} places in checkpoints and blocks ({protocol})",
        }


def _probed(rows: Sequence[Row], quantity: str, method: str) -> list[Row]:
    """Measured numbers of trained checkpoints at blocks."""
    return [
        row
        for row in rows
        if row["quantity"] == quantity
        and row["method"] == method
        and row["role"] == "measured"
        and row["site"].startswith("block_")
        and not row["vector"]
        and row["value"] == row["value"]
    ]


def _where(rows: Sequence[Row]) -> str:
    by_block: dict[int, list[float]] = defaultdict(list)
    for row in _probed(rows, "accuracy", "logistic"):
        by_block[int(row["site"].removeprefix("block_"))].append(row["value"])
    if not by_block:
        return ""
    means = {block: sum(values) / len(values) for block, values in by_block.items()}
    best = max(means, key=lambda block: means[block])
    return f"Highest on average at block {best} of {max(means) + 1} ({means[best]:.3f}); {means[min(means)]:.3f} at block {min(means)}."


def _course(rows: Sequence[Row], quantity: str, method: str) -> str:
    curve = _curve(_probed(rows, quantity, method))
    if len(curve) < 2:
        return ""
    (first, start), (last, end) = curve[0], curve[-1]
    step, high = max(curve, key=lambda point: point[1])
    return f"Mean over blocks and data sets {start:.3f} at step {first}, highest {high:.3f} at step {step}, {end:.3f} at step {last}."


def _curve(rows: Sequence[Row]) -> Curve:
    by_step: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row["step"] is not None:
            by_step[row["step"]].append(row["value"])
    return [(step, sum(values) / len(values)) for step, values in sorted(by_step.items())]


def _halved(rows: Sequence[Row]) -> str:
    """At the strength nearest to 0.5 of each site; on the half that settings are chosen by, where every strength is tried."""
    toxic = [row for row in rows if (row["dataset"], row["quantity"]) == ("toxigen/development", "toxic")]
    plain = next((row for row in toxic if not row["vector"]), None)
    steered = [row for row in toxic if row["vector"] and row["role"] == "measured" and row["alpha"] > 0]
    if plain is None or not steered:
        return ""
    nearest = min((row["alpha"] for row in steered), key=lambda alpha: abs(alpha - 0.5))
    return "; ".join(
        f"{plain['value']:.3f} to {row['value']:.3f} at alpha {nearest:g}, {row['site']}" + _cost(rows, row)
        for row in steered
        if row["alpha"] == nearest
    )


def _cost(rows: Sequence[Row], steered: Row) -> str:
    reads = [row for row in rows if (row["dataset"], row["quantity"]) == ("lambada/development", "perplexity")]
    plain = next((row["value"] for row in reads if not row["vector"]), None)
    place = ("vector", "site", "alpha")
    own = next((row["value"] for row in reads if all(row[name] == steered[name] for name in place)), None)
    return "" if plain is None or own is None else f" (perplexity {plain:.2f} to {own:.2f})"
