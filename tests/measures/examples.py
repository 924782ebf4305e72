"""Statements and activations with a known answer."""

from collections.abc import Sequence

import numpy as np

from trustrace.core.statements import LabelMeaning, Scheme, Source, Split, Statements


def make_statements(
    *,
    n: int,
    n_groups: int,
    labels: Sequence[int] | None = None,
    splits: Sequence[Split] | None = None,
    scheme: Scheme = "folds",
    texts: Sequence[str] | None = None,
) -> Statements:
    """`n` rows in `n_groups` groups that take turns; labels are seeded coin tosses, every other group is test."""
    coins = np.random.default_rng(0).integers(0, 2, n).tolist()
    return Statements(
        name="example",
        dimension="custom",
        texts=tuple(texts or (f"statement {row} ends in word{row % 17}." for row in range(n))),
        labels=tuple(labels if labels is not None else coins),
        groups=tuple(f"group_{row % n_groups}" for row in range(n)),
        splits=tuple(splits or ("test" if row % n_groups % 2 else "train" for row in range(n))),
        meaning=LabelMeaning(one="yes", zero="no", desired=1),
        source=Source(title="made up", licence="CC0-1.0"),
        scheme=scheme,
    )
