"""What of a measurement is plotted while training goes on."""

import math
from collections.abc import Sequence

from trustrace.core.measurements import Measurement

PREFIX = "trustrace"


def scalars_of(rows: Sequence[Measurement]) -> dict[str, float]:
    """The rows of one step as named numbers.

    Per dataset and site ``trustrace/<dataset>/<site>/auroc`` of the logistic probe, the site ``chosen`` among them, and
    ``trustrace/<dataset>/best_site``: the place among the measured sites, in order of depth from 0, of the one whose loss inside training
    rows is lowest. Under the protocol ``published`` alone, ``published_accuracy`` in place of AUROC. What is undefined is left out.
    """
    plotted = {
        f"{PREFIX}/{row.dataset}/{row.site}/{'auroc' if row.protocol == 'rigorous' else 'published_accuracy'}": row.value
        for row in rows
        if _is_plotted(row) and math.isfinite(row.value)
    }
    return plotted | {f"{PREFIX}/{name}/best_site": float(_best_site(rows, name)) for name in _chosen_from(rows)}


def _is_plotted(row: Measurement) -> bool:
    wanted = ("auroc", "logistic") if row.protocol == "rigorous" else ("accuracy", row.method)
    return row.role == "measured" and (row.quantity, row.method) == wanted


def _chosen_from(rows: Sequence[Measurement]) -> list[str]:
    """Datasets whose sites have a loss by which one may be chosen."""
    return list(dict.fromkeys(row.dataset for row in rows if row.quantity == "selection_log_loss"))


def _best_site(rows: Sequence[Measurement], dataset: str) -> int:
    losses = [row.value for row in rows if row.dataset == dataset and row.quantity == "selection_log_loss"]
    return min(range(len(losses)), key=losses.__getitem__)
