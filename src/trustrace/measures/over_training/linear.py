"""The probes of one view, written out as weights, so that they can be asked about another one.

Every outer fold has its probe, fitted on its training rows as :mod:`trustrace.measures.probing` and
:mod:`trustrace.measures.mean_probes` do, the regulariser chosen inside them. Its log-odds are those of an affine function of standardised
readings z = (r - shift) / scale, with r what is read of an activation before anything is fitted, `shift` the mean of the fold's training
rows, and `scale` the root of their mean variance (features ``unit_rms`` and ``scaled``) or each feature's deviation (``zscore``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from trustrace.measures.config import Features, ProbingConfig
from trustrace.measures.folds import Fold
from trustrace.measures.mean_probes import calibrated, mass_mean_scores
from trustrace.measures.over_training.views import Design, View
from trustrace.measures.probing import choices, solve_masks
from trustrace.measures.spaces import Spanned, centre_, readings, require_finite, spanned

Method = Literal["logistic", "mass_mean"]

METHODS: tuple[Method, ...] = ("logistic", "mass_mean")

Readings = Float64[Tensor, "statement d_model"]
PerFold = Float64[Tensor, "fold d_model"]

# A projection that varies less than this share of its size is rounding: no slope can be read off it.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Standard:
    """How each outer fold standardises the readings of one view: by its own training rows.

    Attributes:
        shift: Their mean.
        scale: Their spread; infinite where a feature does not vary and is left out.
    """

    shift: PerFold
    scale: PerFold


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldProbes:
    """The probes of one view, one for each outer fold.

    Attributes:
        weights: On standardised readings.
        intercepts: Their log-odds at the mean of the training rows.
        standard: The standardisation that they were fitted with.
        regularisers: The ``C`` that each fold chose.
    """

    weights: PerFold
    intercepts: Float64[Tensor, " fold"]
    standard: Standard
    regularisers: tuple[float, ...]


def fit(
    view: View, design: Design, *, config: ProbingConfig, methods: Sequence[Method] = METHODS
) -> dict[Method, FoldProbes]:
    """Fit the probes of each of `methods` to one view.

    Raises:
        MeasurementError: a value is not finite.
    """
    values = view.read()
    require_finite(values)
    read = readings(values, features=config.features)
    standard = standard_of(read, [pair.train for pair in design.pairs], features=config.features)
    labels = design.targets(values.device)
    fitted: dict[Method, list[tuple[PerFold, Float64[Tensor, " fold"]]]] = {method: [] for method in methods}
    regularisers: list[float] = []
    for part, scale, pairs in spaces_of(read, standard, design.pairs, features=config.features):
        chosen = _regularisers(part, labels, pairs, config=config)
        regularisers += chosen
        for method in methods:
            fitted[method].append(_on_readings(_FITS[method](part, labels, pairs, chosen), read, scale))
    return {
        method: _standardised(
            torch.cat([weights for weights, _ in parts]),
            torch.cat([intercepts for _, intercepts in parts]),
            standard,
            tuple(regularisers),
        )
        for method, parts in fitted.items()
    }


def standard_of(read: Readings, masks: Sequence[Bool[np.ndarray, " statement"]], *, features: Features) -> Standard:
    """How `read` is standardised by each mask of training rows."""
    shifts, scales = [], []
    for mask in masks:
        spread, mean = torch.std_mean(read[torch.from_numpy(mask).to(read.device)], dim=0, correction=0)
        shifts.append(mean)
        if features == "zscore":
            scales.append(torch.where(spread > 0, spread, torch.inf))
        else:
            scale = spread.square().mean().sqrt()
            scales.append(torch.where(scale > 0, scale, 1.0).expand_as(spread))
    return Standard(shift=torch.stack(shifts), scale=torch.stack(scales))


def spaces_of(
    read: Readings, standard: Standard, pairs: Sequence[Fold], *, features: Features
) -> Iterator[tuple[Spanned, PerFold, Sequence[Fold]]]:
    """The spaces in which folds are fitted: one for all, or one each; with what their features were divided by."""
    if features != "zscore":
        yield spanned(centre_(read.clone())), torch.ones_like(standard.scale), pairs
        return
    for fold, pair in enumerate(pairs):
        scale = standard.scale[fold : fold + 1]
        yield spanned(centre_((read - standard.shift[fold]) / scale)), scale, [pair]


def _regularisers(
    part: Spanned, labels: Float64[Tensor, " statement"], pairs: Sequence[Fold], *, config: ProbingConfig
) -> list[float]:
    """The ``C`` of each fold, chosen inside its training rows where there is a choice."""
    if len(config.regularisers) == 1:
        return [config.regularisers[0]] * len(pairs)
    return [c for c, _ in choices(part.space, labels, pairs, regularisers=config.regularisers)]


def _logistic(
    part: Spanned, labels: Float64[Tensor, " statement"], pairs: Sequence[Fold], regularisers: Sequence[float]
) -> tuple[PerFold, Float64[Tensor, "statement fold"]]:
    """Weights on the space's features, and the log-odds of every row."""
    solution = solve_masks(part.space, labels[:, None], [pair.train for pair in pairs], regularisers)
    return (part.basis @ solution.coefficients).T, solution.responses


def _mass_mean(
    part: Spanned, labels: Float64[Tensor, " statement"], pairs: Sequence[Fold], regularisers: Sequence[float]
) -> tuple[PerFold, Float64[Tensor, "statement fold"]]:
    log_odds = torch.from_numpy(calibrated(mass_mean_scores, part.space, labels, pairs, regularisers=regularisers))
    log_odds = log_odds.to(labels.device)
    train = torch.from_numpy(np.stack([pair.train for pair in pairs], axis=1)).to(labels.device)
    coefficients = part.space.double.pull(mean_contrast(labels, train))
    # The calibrated log-odds are an affine function of the projection; its slope is read off all rows.
    projections = part.space.responses(coefficients)
    around = projections - projections.mean(0)
    power = around.square().sum(0)
    varies = power > _ROUNDING**2 * projections.square().sum(0)
    slope = torch.where(varies, (around * log_odds).sum(0) / power.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    return (part.basis @ (coefficients * slope)).T, log_odds


_FITS = {"logistic": _logistic, "mass_mean": _mass_mean}


def mean_contrast(
    labels: Float64[Tensor, " statement"], train: Bool[Tensor, "statement column"]
) -> Float64[Tensor, "statement column"]:
    """What rows are multiplied with to give μ₁ - μ₀ of each mask."""
    ones, zeros = train * labels[:, None], train * (1 - labels[:, None])
    return ones / ones.sum(0) - zeros / zeros.sum(0)


def _on_readings(
    fitted: tuple[PerFold, Float64[Tensor, "statement fold"]], read: Readings, scale: PerFold
) -> tuple[PerFold, Float64[Tensor, " fold"]]:
    """Weights and intercepts on what is read, from weights on centred features and the log-odds of every row."""
    weights = fitted[0] / scale
    return weights, fitted[1].mean(0) - weights @ read.mean(0)


def _standardised(
    weights: PerFold, intercepts: Float64[Tensor, " fold"], standard: Standard, regularisers: tuple[float, ...]
) -> FoldProbes:
    return FoldProbes(
        weights=torch.where(standard.scale.isfinite(), weights * standard.scale, 0.0),
        intercepts=intercepts + (weights * standard.shift).sum(1),
        standard=standard,
        regularisers=regularisers,
    )
