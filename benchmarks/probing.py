"""Probing one layer of a 7B model: all fits at once, against scikit-learn one by one.

The activations are made up after a residual stream: a mean with a few huge entries, a spectrum that decays as 1/k, a concept in sixty of
its axes. A layer's fits are 5 grouped folds x 6 regularisers for the labels and as many for a control labelling. scikit-learn's time is
measured on one fold of each repeat's layer, 12 of its 60 fits, and multiplied by five; ours is measured on all 60 with everything they
need, the features' preparation included. Eight layers take eight times as long on both sides.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.rows import Row, seconds
from trustrace.measures.config import ProbingConfig
from trustrace.measures.folds import grouped_folds
from trustrace.measures.probing import fit_masks
from trustrace.measures.spaces import feature_space

N, D_MODEL, FOLDS, REPEATS = 1952, 4096, 5, 3
GRID = ProbingConfig().regularisers


def run() -> list[Row]:
    exact, default, details, flips = [], [], [], 0
    for layer in range(REPEATS):
        values, labels, train = _layer(layer)
        fitted: list[torch.Tensor] = []
        ours = seconds(lambda: fitted.append(_fit_all(values, labels, train)))  # noqa: B023 - called at once
        features = _standardised(values, train[0])
        theirs, margins = _one_by_one(features, labels, train[0], tol=1e-8, max_iter=100_000)
        quick, _ = _one_by_one(features.astype(np.float32), labels, train[0], tol=1e-4, max_iter=100)
        flips += int(((margins > 0) != (fitted[0][:, : len(GRID) * 2].numpy() > 0)).sum())
        exact.append(theirs * FOLDS / ours)
        default.append(quick * FOLDS / ours)
        details.append(f"{theirs * FOLDS:.0f} and {quick * FOLDS:.1f} s against {ours:.1f} s")
    detail = (
        f"a layer of {N} x {D_MODEL}, 60 fits: {'; '.join(details)}; scikit-learn extrapolated from 12 fits; "
        f"{flips} of {REPEATS * 12 * N} predictions differ from the exact ones"
    )
    what = "rigorous probing of a layer: 5 folds x 6 regularisers, and as many control fits"
    threads = torch.get_num_threads()
    return [
        Row.of(
            exact,
            what=what,
            baseline="scikit-learn one by one, to the same optimum (float64, tol 1e-8)",
            reach=30.0,
            detail=detail,
            threads=threads,
        ),
        Row.of(
            default,
            what="the same",
            baseline="scikit-learn one by one at its defaults in float32 (tol 1e-4, 100 iterations: short of the optimum)",
            reach=4.0,
            detail=detail,
            threads=threads,
        ),
    ]


def _layer(seed: int) -> tuple[torch.Tensor, np.ndarray, list[np.ndarray]]:
    """Activations; the labels and a control labelling; the training rows of each fold."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(N, D_MODEL))
    concept = latent[:, :60] @ rng.normal(size=60) / np.sqrt(60)
    labels = (concept + rng.normal(size=N) > 0).astype(float)
    offset = rng.normal(size=D_MODEL) * np.where(rng.random(D_MODEL) < 0.002, 10.0, 0.1)
    mixing = rng.normal(size=(D_MODEL, D_MODEL)) / np.sqrt(D_MODEL)
    values = (latent / np.sqrt(np.arange(1, D_MODEL + 1))) @ mixing + offset
    groups = [str(row // 3) for row in range(N)]
    fold_of = grouped_folds(groups, labels.astype(int).tolist(), folds=FOLDS, rng=rng)
    both = np.stack([labels, rng.permutation(labels)], axis=1)
    return torch.from_numpy(values.astype(np.float32)), both, [fold_of != fold for fold in range(FOLDS)]


def _fit_all(values: torch.Tensor, labels: np.ndarray, train: list[np.ndarray]) -> torch.Tensor:
    """The log-odds of every row: one column for each fold, labelling and regulariser, in this order."""
    space = feature_space(values, features="unit_rms")
    per_fold = torch.from_numpy(labels).repeat_interleave(len(GRID), dim=1)
    return fit_masks(
        space,
        per_fold.repeat(1, FOLDS),
        [mask for mask in train for _ in range(2 * len(GRID))],
        list(GRID) * (2 * FOLDS),
    )


def _standardised(values: torch.Tensor, train: np.ndarray) -> np.ndarray:
    x = values.double().numpy()
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True))
    x = x - x[train].mean(axis=0)
    return np.asarray(x / np.sqrt((x[train] ** 2).mean()))


def _one_by_one(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, *, tol: float, max_iter: int
) -> tuple[float, np.ndarray]:
    """Seconds of one fold's fits, and the margins of every row."""
    rows, spent, margins = features[train], 0.0, []
    for labelling in labels.T:
        for c in GRID:
            model = LogisticRegression(C=c, tol=tol, max_iter=max_iter)
            spent += seconds(lambda: model.fit(rows, labelling[train]))  # noqa: B023 - called at once
            margins.append(model.decision_function(features))
    return spent, np.stack(margins, axis=1)
