"""The transfer matrix of 40 checkpoints at one site, against fitting and scoring each pair with scikit-learn.

Both sides fit logistic probes at one regulariser on the training rows of 5 grouped folds and score accuracy and AUROC on the held-out rows
of every checkpoint: 1,600 pairs, 8,000 fits where each pair is fitted by itself. That loop would take hours, so it is timed on pairs drawn
at random, in turn with ours on all of them, and multiplied. As one who writes the loop well fits every checkpoint once, the same is also
measured against 200 fits and 8,000 scorings. One method and one standardisation are timed, on both sides without bootstrap intervals, nulls
and drift, which `trustrace dynamics` adds to these matrices. Our time holds everything from the activations to the numbers; both sides
start from activations in memory. Numbers are compared on the drawn pairs, to scikit-learn's optimum (tol 1e-8).
"""

from functools import partial

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

from benchmarks.rows import Row, seconds
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.statements import LabelMeaning, Source, Statements
from trustrace.measures.config import ProbingConfig
from trustrace.measures.over_training.transfer import fit_views, log_odds_of
from trustrace.measures.over_training.views import Design, View
from trustrace.measures.scoring import auroc, correct

CHECKPOINTS, N, D_MODEL, PAIRS, REPEATS = 40, 1200, 768, 3, 3
CONFIG = ProbingConfig(regularisers=(1e-1,))


def run() -> list[Row]:
    rng = np.random.default_rng(0)
    values, labels = _series(rng)
    statements = _statements(labels)
    design = Design.of(statements, config=CONFIG, seed=0)
    checkpoint = Checkpoint(family="made up", model="made up", revision="one")
    views = [
        View(name=str(place), checkpoint=checkpoint, site="block_0", read=partial(values.__getitem__, place))
        for place in range(CHECKPOINTS)
    ]
    each, once, worst_accuracy, worst_area = [], [], 0.0, 0.0
    for _ in range(REPEATS):
        found: list[tuple[np.ndarray, np.ndarray]] = []
        ours = seconds(lambda: found.append(_matrix(views, design)))  # noqa: B023 - called at once
        accuracy, area = found[0]
        fitting = scoring = 0.0
        for i, j in rng.integers(CHECKPOINTS, size=(PAIRS, 2)):
            spent, predicted = _pair(values[i], values[j], labels, design)
            fitting, scoring = fitting + spent[0], scoring + spent[1]
            worst_accuracy = max(worst_accuracy, abs(accuracy_score(labels, predicted > 0) - accuracy[i, j]))
            worst_area = max(worst_area, abs(roc_auc_score(labels, predicted) - area[i, j]))
        per_fit, per_score = fitting / PAIRS, scoring / PAIRS
        each.append(CHECKPOINTS**2 * (per_fit + per_score) / ours)
        once.append((CHECKPOINTS * per_fit + CHECKPOINTS**2 * per_score) / ours)
    detail = (
        f"{CHECKPOINTS} checkpoints of {N} x {D_MODEL}: {ours:.1f} s against {CHECKPOINTS**2 * (per_fit + per_score):.0f} s for each pair, "
        f"{CHECKPOINTS * per_fit + CHECKPOINTS**2 * per_score:.0f} s for each checkpoint once, extrapolated from {REPEATS * PAIRS} pairs; "
        f"largest difference {worst_accuracy:.1e} in accuracy (one row is {1 / N:.1e}), {worst_area:.1e} in AUROC"
    )
    what = "checkpoint x checkpoint transfer matrix, accuracy and AUROC of one method, no intervals and no nulls, 5 grouped folds"
    threads = torch.get_num_threads()
    return [
        Row.of(
            each,
            what=what,
            baseline="scikit-learn, fitting and scoring each pair (float64, tol 1e-8)",
            reach=20.0,
            detail=detail,
            threads=threads,
        ),
        Row.of(
            once,
            what="the same",
            baseline="scikit-learn, fitting each checkpoint once",
            reach=1.0,
            detail=detail,
            threads=threads,
        ),
    ]


def _series(rng: np.random.Generator) -> tuple[list[torch.Tensor], np.ndarray]:
    """Residual streams whose concept grows and turns while they drift."""
    labels = rng.permutation(np.arange(N) % 2)
    latent, spectrum = rng.normal(size=(N, D_MODEL)), np.arange(1, D_MODEL + 1) ** -0.5
    values = []
    for place in np.linspace(0, 1, CHECKPOINTS):
        own = np.sqrt(1 - place / 2) * latent + np.sqrt(place / 2) * rng.normal(size=(N, D_MODEL))
        own[:, 20:40] += place * (2 * labels[:, None] - 1) / 3 * np.cos(np.arange(20) * place)
        values.append(torch.from_numpy((own * spectrum * (1 + place)).astype(np.float32)))
    return values, labels


def _statements(labels: np.ndarray) -> Statements:
    return Statements(
        name="made up",
        dimension="custom",
        texts=tuple(f"statement {row}" for row in range(N)),
        labels=tuple(labels.tolist()),
        groups=tuple(str(row // 3) for row in range(N)),
        splits=("train",) * N,
        meaning=LabelMeaning(one="yes", zero="no", desired=1),
        source=Source(title="made up", licence="CC0-1.0"),
    )


def _matrix(views: list[View], design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and AUROC of every probe in every view."""
    probes = fit_views(views, design, config=CONFIG, methods=("logistic",))["logistic"]
    labels, once = design.sample.labels, np.ones((N, 1))
    accuracy, area = np.empty((len(views), len(views))), np.empty((len(views), len(views)))
    for j, view in enumerate(views):
        log_odds = log_odds_of(probes, view, design, standardisation="source", config=CONFIG)
        accuracy[:, j] = [correct(labels, row).mean() for row in log_odds]
        area[:, j] = [auroc(labels, row, once)[0] for row in log_odds]
    return accuracy, area


def _pair(
    source: torch.Tensor, target: torch.Tensor, labels: np.ndarray, design: Design
) -> tuple[tuple[float, float], np.ndarray]:
    """Seconds of fitting and of scoring one pair, and what its probes say of every row."""
    predicted = np.full(N, np.nan)
    fitting = scoring = 0.0
    for pair in design.pairs:
        model = LogisticRegression(C=CONFIG.regularisers[0], tol=1e-8, max_iter=100_000)
        own: list[tuple[np.ndarray, float]] = []

        def learn() -> None:
            x = _read(source[torch.from_numpy(pair.train)])  # noqa: B023 - called at once
            mean = x.mean(axis=0)
            scale = float(np.sqrt(((x - mean) ** 2).mean()))
            model.fit((x - mean) / scale, labels[pair.train])  # noqa: B023
            own.append((mean, scale))  # noqa: B023

        def ask() -> None:
            ((mean, scale),) = own  # noqa: B023
            x = (_read(target[torch.from_numpy(pair.test)]) - mean) / scale  # noqa: B023
            predicted[pair.test] = model.decision_function(x)  # noqa: B023

        fitting += seconds(learn)
        scoring += seconds(ask)
    scoring += seconds(lambda: (accuracy_score(labels, predicted > 0), roc_auc_score(labels, predicted)))
    return (fitting, scoring), predicted


def _read(values: torch.Tensor) -> np.ndarray:
    x = values.double().numpy()
    return np.asarray(x / np.sqrt((x**2).mean(axis=1, keepdims=True)))
