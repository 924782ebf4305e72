"""How items become a number, for any weights of groups at once.

Most statistics are functions of sums over items, so a thousand resamples are one product of weights with the groups' sums. The area under
the ROC curve is not: it looks at items again for each resample.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int

from trustrace.evaluation.outcomes import Statistic
from trustrace.measures.scoring import auroc

SUMS: tuple[Statistic, ...] = ("mean", "product_of_means", "ratio", "exp_ratio")
"""Statistics of sums that stay what they are when items of two models are exchanged; ranks and spreads do not."""

Values = Float64[np.ndarray, "item part"]
Draws = Float64[np.ndarray, " draw"]
GroupWeights = Float64[np.ndarray, "draw group"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Items:
    """Defined items of one quantity.

    Attributes:
        values: Their parts.
        membership: The group of each.
        n_groups: How many groups there are.
        statistic: What becomes of them.
    """

    values: Values
    membership: Int[np.ndarray, " item"]
    n_groups: int
    statistic: Statistic

    @classmethod
    def of(
        cls, values: Values, groups: tuple[str, ...], kept: Bool[np.ndarray, " item"], statistic: Statistic
    ) -> "Items":
        """The items that are `kept`."""
        names = np.asarray(groups, dtype=str)[kept]
        found, membership = np.unique(names, return_inverse=True)
        return cls(values=values[kept], membership=membership, n_groups=len(found), statistic=statistic)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def value(self) -> float:
        """The statistic of all items; NaN where there are none."""
        return float(self.weighed(np.ones((1, self.n_groups)))[0]) if len(self) else float("nan")

    def weighed(self, weights: GroupWeights) -> Draws:
        """The statistic with each group's items taken so many times."""
        if self.statistic == "auroc":
            return _auroc(self.values, weights[:, self.membership])
        return _of_totals(weights @ self._sums(self.values), self.statistic)

    def exchanged(self, other: "Items", swapped: Bool[np.ndarray, "draw group"]) -> Draws:
        """By how much the statistic differs between these items and those of `other`, with the two swapped in some groups.

        What is swapped is what the statistic looks at. A mean, a ratio and Pearson's correlation look at values. An area under the curve
        and Spearman's correlation look at ranks alone: scores of two versions may differ by an offset, or any increasing change, that
        moves neither, so that each version's own ranks are swapped and not its scores.

        References:
            Venkatraman and Begg (1996), A distribution-free procedure for comparing receiver operating characteristic curves from a
            paired experiment.
        """
        if self.statistic in SUMS:
            mine, theirs = self._sums(self.values), self._sums(other.values)
            moved = swapped.astype(np.float64) @ (theirs - mine)
            changed = _of_totals(mine.sum(0) + moved, self.statistic) - _of_totals(
                theirs.sum(0) - moved, self.statistic
            )
            return np.asarray(changed)
        first, second = self._looked_at(), other._looked_at()
        both = (first._swapped(second, one) for one in swapped)
        return np.array([self._of(mine) - self._of(theirs) for mine, theirs in both])

    def _looked_at(self) -> "Items":
        """The same with ranks in place of what the statistic looks at by rank alone."""
        match self.statistic:
            case "auroc":
                return replace(self, values=np.column_stack([self.values[:, 0], _ranks(self.values[:, 1])]))
            case "spearman":
                return replace(self, values=np.apply_along_axis(_ranks, 0, self.values))
        return self

    def _of(self, values: Values) -> float:
        """The statistic of other values of the same items."""
        return replace(self, values=values).value

    def _swapped(self, other: "Items", groups: Bool[np.ndarray, " group"]) -> tuple[Values, Values]:
        rows = groups[self.membership][:, None]
        return np.where(rows, other.values, self.values), np.where(rows, self.values, other.values)

    def _sums(self, values: Values) -> Float64[np.ndarray, "group column"]:
        columns = _columns(values, self.statistic)
        sums = np.zeros((self.n_groups, columns.shape[1]))
        np.add.at(sums, self.membership, columns)
        return sums


def _columns(values: Values, statistic: Statistic) -> Float64[np.ndarray, "item column"]:
    """What is summed: the parts and the count, or the moments of a correlation, whose ranks are taken once over all items."""
    count = np.ones((len(values), 1))
    if statistic not in ("pearson", "spearman"):
        return np.hstack([values, count])
    parts = np.apply_along_axis(_ranks, 0, values) if statistic == "spearman" else values
    # A correlation does not change with the unit; around the middle its moments cancel least.
    spreads = parts.std(axis=0)
    x, y = ((parts - parts.mean(axis=0)) / np.where(spreads > 0, spreads, 1)).T
    return np.column_stack([x, y, x * x, y * y, x * y, count])


def _of_totals(totals: Float64[np.ndarray, "draw column"], statistic: Statistic) -> Draws:
    parts, counts = totals[:, :-1], totals[:, -1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        match statistic:
            case "mean":
                return np.asarray(parts[:, 0] / counts)
            case "product_of_means":
                return np.asarray((parts / counts[:, None]).prod(axis=1))
            case "ratio":
                return np.asarray(parts[:, 0] / parts[:, 1])
            case "exp_ratio":
                return np.asarray(np.exp(parts[:, 0] / parts[:, 1]))
        return _correlation(parts / counts[:, None])


def _correlation(moments: Float64[np.ndarray, "draw 5"]) -> Draws:
    x, y, xx, yy, xy = moments.T
    variances = np.clip(xx - x * x, 0, None) * np.clip(yy - y * y, 0, None)
    return np.asarray(np.where(variances > 0, (xy - x * y) / np.sqrt(variances), np.nan))


def _auroc(values: Values, weights: Float64[np.ndarray, "draw item"]) -> Draws:
    return auroc(values[:, 0].astype(int), values[:, 1], np.ascontiguousarray(weights.T))


def _ranks(column: Float64[np.ndarray, " item"]) -> Float64[np.ndarray, " item"]:
    """1 for the smallest; ties share their mean rank."""
    _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])
