"""Does one probe read them all: a probe fitted on one view's training rows, scored on every other view's held-out rows.

Views are checkpoints at one site, or sites of one checkpoint. All views share their folds, so that no group stands on both sides of any
pair of views, and the diagonal is the ordinary measurement. There are two questions:

* ``source``: the probe as it is, with the mean and scale of the rows that it was fitted on. Asks whether the very rule still works.
* ``own``: the probe's direction and threshold on readings that the other view standardises by its own training rows of the same fold. Asks
  whether the direction still separates once growth of the norm and a shift that all statements share are taken away.

What an AUROC of a pair says of the direction alone is the same under both where one scale serves all features; accuracy is not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from trustrace.core.measurements import Estimate
from trustrace.core.progress import Progress, silent
from trustrace.measures.config import ProbingConfig
from trustrace.measures.over_training.linear import METHODS, FoldProbes, Method, Standard, fit, standard_of
from trustrace.measures.over_training.views import Design, View
from trustrace.measures.scoring import Sample, auroc, correct, mean
from trustrace.measures.spaces import readings

Standardisation = Literal["source", "own"]

STANDARDISATIONS: tuple[Standardisation, ...] = get_args(Standardisation)

LogOdds = Float64[np.ndarray, "source tested"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeSet:
    """The probes of every view by one method, stacked.

    Attributes:
        weights: On standardised readings.
        intercepts: Log-odds at the mean of the training rows.
        shift: The mean of the rows that each probe was fitted on.
        scale: Their spread.
    """

    weights: Float64[Tensor, "source fold d_model"]
    intercepts: Float64[Tensor, "source fold"]
    shift: Float64[Tensor, "source fold d_model"]
    scale: Float64[Tensor, "source fold d_model"]

    @classmethod
    def of(cls, probes: Sequence[FoldProbes]) -> "ProbeSet":
        """Stack the probes of several views."""
        return cls(
            weights=torch.stack([one.weights for one in probes]),
            intercepts=torch.stack([one.intercepts for one in probes]),
            shift=torch.stack([one.standard.shift for one in probes]),
            scale=torch.stack([one.standard.scale for one in probes]),
        )

    def lines(
        self, fold: int, *, target: Standard | None
    ) -> tuple[Float64[Tensor, "source d_model"], Float64[Tensor, " source"]]:
        """The probes of one fold on plain readings: weights and intercepts, standardised by `target` or, without one, by each source."""
        scale = self.scale[:, fold] if target is None else target.scale[fold]
        shift = self.shift[:, fold] if target is None else target.shift[fold]
        weights = self.weights[:, fold] / scale
        return weights, self.intercepts[:, fold] - (weights * shift).sum(1)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What the probe of one view makes of another.

    Attributes:
        source: The view that the probe was fitted on.
        target: The view that it was scored on.
        estimate: A number.
    """

    source: str
    target: str
    estimate: Estimate


def fit_views(
    views: Sequence[View],
    design: Design,
    *,
    config: ProbingConfig,
    methods: Sequence[Method] = METHODS,
    progress: Progress = silent,
) -> dict[Method, ProbeSet]:
    """The probes of every view by each of `methods`, one view in memory at a time."""
    fitted: list[dict[Method, FoldProbes]] = []
    for view in views:
        fitted.append(fit(view, design, config=config, methods=methods))
        progress(len(fitted), len(views), "probes")
    return {method: ProbeSet.of([one[method] for one in fitted]) for method in methods}


def log_odds_of(
    probes: ProbeSet, view: View, design: Design, *, standardisation: Standardisation, config: ProbingConfig
) -> LogOdds:
    """What the probes of every source say of the tested rows of `view`, each row by the fold that tests it."""
    read = readings(view.read(), features=config.features)
    own = standard_of(read, [pair.train for pair in design.pairs], features=config.features)
    found = np.full((len(probes.weights), len(read)), np.nan)
    for fold, pair in enumerate(design.pairs):
        weights, intercepts = probes.lines(fold, target=own if standardisation == "own" else None)
        rows = read[torch.from_numpy(pair.test).to(read.device)]
        found[:, pair.test] = (weights @ rows.T + intercepts[:, None]).cpu().numpy()
    return found[:, design.tested]


def transfer(
    probes: ProbeSet,
    views: Sequence[View],
    design: Design,
    *,
    method: Method,
    standardisation: Standardisation,
    config: ProbingConfig,
    draws: int,
) -> Iterator[Cell]:
    """Accuracy, AUROC and sign of every probe of `probes` (one a view) in every view.

    ``transfer accuracy``, ``transfer auroc`` and ``transfer sign``: 1 where the AUROC's interval is above a half, -1 where it is below (the
    direction has turned round), 0 where it holds a half.
    """
    sample = fewer(design.sample, draws=draws)
    for target in views:
        log_odds = log_odds_of(probes, target, design, standardisation=standardisation, config=config)
        for source, row in zip(views, log_odds, strict=True):
            for estimate in cell_estimates(sample, row, method=f"{method} {standardisation}"):
                yield Cell(source=source.name, target=target.name, estimate=estimate)


def fewer(sample: Sample, *, draws: int) -> Sample:
    """`sample` with its first bootstrap draws alone."""
    return Sample(labels=sample.labels, draws=np.ascontiguousarray(sample.draws[:, :draws]), n_groups=sample.n_groups)


def cell_estimates(
    sample: Sample, log_odds: Float64[np.ndarray, " tested"], *, method: str, note: str = ""
) -> list[Estimate]:
    """Accuracy, AUROC and the sign of the separation."""
    hits = correct(sample.labels, log_odds)
    area = sample.estimate("transfer auroc", lambda w: auroc(sample.labels, log_odds, w), method=method, note=note)
    above, below = area.lower > 0.5, area.upper < 0.5
    sign = Estimate(
        quantity="transfer sign",
        method=method,
        value=np.nan if np.isnan(area.lower) else float(above) - float(below),
        n=area.n,
        n_groups=area.n_groups,
        note=note or "of the AUROC less 1/2, where its 95 % interval leaves 1/2 out; 0 where it does not",
    )
    return [sample.estimate("transfer accuracy", lambda w: mean(hits, w), method=method, note=note), area, sign]
