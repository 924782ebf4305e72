"""Which rows train a probe and which score it: rows of one group never stand on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.core.statements import Statements


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """One split of the rows.

    Attributes:
        train: Rows that may be fitted on.
        test: Rows that are scored.
        inner: Splits of the rows in `train`, for choices such as the regulariser; empty for an inner fold itself.
    """

    train: Bool[np.ndarray, " statement"]
    test: Bool[np.ndarray, " statement"]
    inner: tuple["Fold", ...] = ()


def evaluation_pairs(statements: Statements, *, folds: int, seed: int) -> list[Fold]:
    """The splits on which probes of `statements` are scored.

    Scheme ``folds``: `folds` splits, every row tested once. The inner folds of one are the other ones, so that a model trained
    without folds j and k serves both as an inner fit of k and as one of j. Scheme ``held_out``: one split, development rows (train
    and validation) against test rows; inner folds are cut from the development rows. Folds depend on groups, labels and `seed`
    alone: every checkpoint and site is scored on the same ones, so that curves are paired.

    Raises:
        MeasurementError: there are fewer groups than folds, no test or development rows, a group on both sides of a given split, or
            training rows of one class.
    """
    labels = np.asarray(statements.labels)
    test = np.asarray([split == "test" for split in statements.splits])
    if statements.scheme == "folds":
        membership = _assign(statements, rows=np.ones(len(statements), dtype=bool), folds=folds, seed=seed)
        pairs = [_outer(membership, held_out=fold, folds=folds) for fold in range(folds)]
    else:
        _require_both_halves(statements, test)
        membership = _assign(statements, rows=~test, folds=folds, seed=seed)
        inner = tuple(_inner(membership, (fold,), tested=fold) for fold in range(folds))
        pairs = [Fold(train=~test, test=test, inner=inner)]
    for pair in pairs:
        for fold in (pair, *pair.inner):
            _require_both_classes(statements.name, labels[fold.train])
    return pairs


def file_order_pair(n: int) -> Fold:
    """The published scripts' split: the first 80 % of the rows in file order train, the rest is scored; groups are not regarded."""
    train = np.arange(n) < int(n * 0.8)
    return Fold(train=train, test=~train)


def grouped_folds(
    groups: Sequence[str], labels: Sequence[int], *, folds: int, rng: np.random.Generator
) -> Int[np.ndarray, " statement"]:
    """The fold of each row: whole groups, each fold with nearly the same count of every label.

    Groups are placed largest first, in seeded order among equals, each where its own labels are rarest so far (greedy number
    partitioning, one load per label).

    Raises:
        MeasurementError: there are fewer groups than folds.
    """
    names, membership = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < folds:
        raise MeasurementError(
            f"{len(names)} groups cannot fill {folds} folds; rows of one group share a fold: lower `folds` or bring more groups"
        )
    counts = np.zeros((len(names), 2))
    np.add.at(counts, (membership, np.asarray(labels)), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    shuffled = rng.permutation(len(names))
    order = shuffled[np.argsort(-counts.sum(axis=1)[shuffled], kind="stable")]
    return _place(shares, order, folds=folds)[membership]


def _place(shares: np.ndarray, order: Int[np.ndarray, " group"], *, folds: int) -> Int[np.ndarray, " group"]:
    """Each group, in `order`, to the fold whose squared label loads grow least; the emptier one where they tie."""
    loads = np.zeros((folds, shares.shape[1]))
    fold_of = np.empty(len(order), dtype=np.int64)
    for group in order:
        growth = loads @ shares[group]
        fold = int(np.lexsort((loads.sum(axis=1), growth))[0])
        loads[fold] += shares[group]
        fold_of[group] = fold
    return fold_of


def _assign(
    statements: Statements, *, rows: Bool[np.ndarray, " statement"], folds: int, seed: int
) -> Int[np.ndarray, " statement"]:
    """The fold of each of `rows`; -1 for the others."""
    chosen = np.flatnonzero(rows)
    try:
        assigned = grouped_folds(
            [statements.groups[row] for row in chosen],
            [statements.labels[row] for row in chosen],
            folds=folds,
            rng=generator(seed, "folds"),
        )
    except MeasurementError as error:
        raise MeasurementError(f"{statements.name}: {error}") from None
    membership = np.full(len(statements), -1)
    membership[chosen] = assigned
    return membership


def _outer(membership: Int[np.ndarray, " statement"], *, held_out: int, folds: int) -> Fold:
    others = [fold for fold in range(folds) if fold != held_out]
    inner = tuple(_inner(membership, (held_out, fold), tested=fold) for fold in others)
    return Fold(train=membership != held_out, test=membership == held_out, inner=inner)


def _inner(membership: Int[np.ndarray, " statement"], left_out: tuple[int, ...], *, tested: int) -> Fold:
    return Fold(train=~np.isin(membership, [-1, *left_out]), test=membership == tested)


def _require_both_halves(statements: Statements, test: Bool[np.ndarray, " statement"]) -> None:
    if test.all() or not test.any():
        raise MeasurementError(
            f"{statements.name}: {test.sum()} of {len(test)} rows are marked 'test', but the scheme 'held_out' needs development rows and "
            "test rows; give the column `split` both, or let the rows be folded"
        )
    groups = np.asarray(statements.groups)
    straddling = np.intersect1d(groups[test], groups[~test])
    if len(straddling):
        raise MeasurementError(
            f"{statements.name}: {len(straddling)} groups have rows on both sides of the split (such as {str(straddling[0])!r}), so "
            "training rows would give test rows away; move each group to one side"
        )


def _require_both_classes(name: str, labels: np.ndarray) -> None:
    if len(np.unique(labels)) < 2:
        raise MeasurementError(
            f"{name}: the training rows of a fold hold {len(labels)} rows of one class; each label must occur in several groups "
            "(at least one more than two folds leave out)"
        )
