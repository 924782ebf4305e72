"""Splits that no group straddles: development and test 1:1, development again into train and validation 4:1."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from trustrace.core.draws import generator
from trustrace.core.errors import AlignmentError, DataError
from trustrace.core.statements import Split

MINIMUM_GROUPS = 3
"""Train, validation and test hold at least one group each."""


def assign_splits(*, groups: Sequence[str], labels: Sequence[int], seed: int) -> tuple[Split, ...]:
    """A split for each row: by group, stratified by label, and independent of the order of rows.

    Groups are shuffled, the large ones placed first, each into the part whose label counts it brings nearest to its share: half of all
    rows for test, a fifth of the other half for validation. Test misses its half by at most the largest group.

    Args:
        groups: The group of each row.
        labels: The label of each row.
        seed: Another seed is another split.

    Raises:
        AlignmentError: there are not as many labels as groups.
        DataError: there are fewer than three groups.

    Example:
        >>> splits = assign_splits(groups=[f"question {i // 2}" for i in range(40)], labels=[0, 1] * 20, seed=0)
        >>> [splits.count(part) for part in ("train", "validation", "test")]
        [16, 4, 20]
    """
    if len(groups) != len(labels):
        raise AlignmentError(
            f"{len(groups)} groups but {len(labels)} labels; both columns must come from the same rows"
        )
    names = sorted(set(groups))
    if len(names) < MINIMUM_GROUPS:
        raise DataError(
            f"{len(names)} group(s) cannot be split: a group never straddles a split, so train, validation and test need one each; "
            "give rows that do not share a source groups of their own"
        )
    sizes = Counter(zip(groups, labels, strict=True))
    counts = {name: np.array([sizes[name, 0], sizes[name, 1]], dtype=np.float64) for name in names}
    # Development needs two groups, since it is divided again.
    development, test = _divide(names, counts, shares=(0.5, 0.5), minima=(2, 1), rng=generator(seed, "splits", "test"))
    _, validation = _divide(
        development, counts, shares=(0.8, 0.2), minima=(1, 1), rng=generator(seed, "splits", "validation")
    )
    place: dict[str, Split] = dict.fromkeys(names, "train")
    for name in validation:
        place[name] = "validation"
    for name in test:
        place[name] = "test"
    return tuple(place[group] for group in groups)


def _divide(
    names: Sequence[str],
    counts: Mapping[str, np.ndarray],
    *,
    shares: tuple[float, float],
    minima: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[list[str], list[str]]:
    """`names` in two parts whose label counts come near their `shares`, with at least `minima` groups each."""
    shuffled = [names[i] for i in rng.permutation(len(names))]
    queue = sorted(shuffled, key=lambda name: -counts[name].sum())
    targets = np.outer(shares, np.sum([counts[name] for name in names], axis=0))
    filled = np.zeros_like(targets)
    parts: tuple[list[str], list[str]] = ([], [])
    for placed, name in enumerate(queue):
        missing = [minimum - len(part) for minimum, part in zip(minima, parts, strict=True)]
        owed = sum(max(number, 0) for number in missing)
        eligible = [i for i in (0, 1) if missing[i] > 0] if owed >= len(queue) - placed else [0, 1]
        best = min(eligible, key=lambda i: _cost(counts[name], filled[i], targets[i]))
        parts[best].append(name)
        filled[best] += counts[name]
    return parts


def _cost(added: np.ndarray, filled: np.ndarray, target: np.ndarray) -> float:
    """By how much adding a group changes the chi-square distance Σ (filled - target)² / target of a part from its share."""
    present = target > 0
    change = added * (2 * (filled - target) + added)
    return float(np.sum(change[present] / target[present]))
