"""What a curve's noise leaves certain: whether it rises or falls, where it is highest, where it crosses a level.

Every checkpoint is measured on the same statements, so that the noise of two checkpoints is mostly shared. All statements below are about
contrasts (means of some checkpoints less means of others), each divided by its own standard deviation under the joint noise: what
checkpoints share cancels. Many contrasts are looked at together, and the largest is held against the largest in seeded Gaussian draws of
that joint noise ("max-t"), whatever the correlation between checkpoints. As standard deviations are estimated, a t is first turned into
the normal value of the same tail.

The noise is taken as normal, as it nearly is for averages over hundreds of groups. With 15 groups, or with 100 of heavily skewed rows, one
of the two directions is found too often from it alone (simulated: 6 to 12 % at a nominal 5 %).

Weights wobble from checkpoint to checkpoint beyond what the statements explain. How much is read from the curve's own roughness, and a
reading from few checkpoints is uncertain: each draw has a wobble of its own, as plausible as the roughness makes it, and the curve's t is
taken anew under each (a generalized p-value, which for one contrast and wobble alone is Student's t).

The wobble is taken as independent between checkpoints and equally large at all of them. Where it is so, simulated flat curves of 5 to 24
checkpoints are found to rise in at most 4 % at a nominal 5 %, and small p-values are as rare as they say. Where it is not, they are not: a
wobble of four standard errors in one half of the training alone, one that lasts (autocorrelation .5), or one of rare large jumps (t with 2
degrees of freedom) is taken for a rise in a third of such curves, and one of the first quarter alone in three quarters.

References:
    Chernozhukov, Chetverikov and Kato (2013), Gaussian approximations and multiplier bootstrap for maxima of sums.
    Gasser, Sroka and Jennen-Steinmetz (1986), Residual variance and residual pattern in nonlinear regression.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import ndtr, ndtri, stdtr

DRAWS = 2000
"""Gaussian draws of the noise of one curve."""

ROUNDING = 1e-9
"""The share of a curve's largest value below which nothing is known: a noise-free curve is compared with it instead of dividing by 0."""

MOST_PLACES = 48
"""Where stretches of a long series begin or are split; a change between two places is seen by the means of their neighbours."""

LEAST_P = 1e-6
"""No smaller probability is claimed: the tail beyond is that of a normal distribution, which replicates only resemble."""

PerCheckpoint = Float64[np.ndarray, " checkpoint"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedNoise:
    """The joint noise of the checkpoints of one curve, less what all of them share.

    Attributes:
        factor: Its covariance is `factor` times its transpose.
        draws: Gaussian draws of it.
        freedom: The degrees of freedom with which a variance is known.
        wobble: Variances of the noise that each checkpoint has for itself, as plausible as they are frequent; `factor` has it not, a draw
            has its own. One 0 where there is none.
    """

    factor: Float64[np.ndarray, "checkpoint component"]
    draws: Float64[np.ndarray, "checkpoint draw"]
    freedom: float
    wobble: Float64[np.ndarray, " wobble"] = field(default_factory=lambda: np.zeros(1))

    @classmethod
    def of(
        cls,
        replicates: Float64[np.ndarray, "replicate checkpoint"],
        *,
        n_groups: int,
        scale: float,
        rng: np.random.Generator,
    ) -> "PairedNoise":
        """Noise as paired bootstrap `replicates` over `n_groups` groups have it, and rounding of values as large as `scale`."""
        deviations = replicates - replicates.mean(axis=0)
        deviations -= deviations.mean(axis=1, keepdims=True)
        # The bootstrap divides by the number of groups where the variance of a mean wants one less.
        covariance = deviations.T @ deviations / (len(replicates) - 1) * (n_groups / (n_groups - 1))
        spread, components = np.linalg.eigh(covariance)
        rounding = max(ROUNDING * scale, np.finfo(np.float64).tiny ** 0.25)
        factor = components * np.sqrt(np.maximum(spread, 0.0) + rounding**2)
        return cls(
            factor=factor,
            draws=factor @ rng.standard_normal((len(factor), DRAWS)),
            freedom=1 / (1 / (len(replicates) - 1) + 1 / (n_groups - 1)),
        )

    @property
    def variances(self) -> PerCheckpoint:
        """Of each checkpoint's noise, with a typical wobble."""
        return np.asarray((self.factor**2).sum(axis=1) + np.median(self.wobble))

    def deviations(
        self, factor: Float64[np.ndarray, "contrast component"], length: Float64[np.ndarray, " contrast"]
    ) -> Float64[np.ndarray, "contrast wobble"]:
        """The standard deviations of contrasts under each wobble.

        Args:
            factor: The contrasts of `factor`.
            length: The sum of squares of each contrast's coefficients.
        """
        return np.asarray(np.sqrt((factor**2).sum(axis=1)[:, None] + length[:, None] * self.wobble))

    def normalized(self, t: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """The value that a standard normal variable exceeds as often as a contrast's t exceeds `t`."""
        return np.asarray(-ndtri(stdtr(self.freedom, -t)))

    def p_value(self, t: Float64[np.ndarray, " wobble"], null: Float64[np.ndarray, " draw"]) -> float:
        """How often the largest t of a draw reaches the curve's own, each draw and the curve under one wobble.

        Where no draw comes near, the tail is bounded by concentration: a maximum of standard normal variables exceeds its median by t
        with probability at most Φ(-t), however many they are and however they are correlated.

        References:
            Borell (1975), The Brunn-Minkowski inequality in Gauss space.
        """
        own = self.normalized(t)
        reached = int((null >= own).sum())
        p = (1 + reached) / (1 + len(null))
        if reached == 0:
            p = min(p, float(ndtr(np.median(null) - own).mean()))
        return max(p, LEAST_P)


def with_wobble(noise: PairedNoise, values: PerCheckpoint, *, rng: np.random.Generator) -> PairedNoise:
    """`noise` and a wobble, as plausible as the roughness of `values` makes it.

    A curve's roughness is its trimmed mean squared second difference: 0 for a straight line, little changed by a step or a sharp turn, and
    for noise that is independent between checkpoints in proportion to its variance. So what the roughness says of that variance is the
    curve's own roughness over that of a draw of unit variance; what paired noise explains is subtracted.

    Args:
        noise: Of the choice of statements.
        values: At least three.
        rng: Draws the wobble.

    References:
        Weerahandi (1993), Generalized confidence intervals.
    """
    white = rng.standard_normal(noise.draws.shape)
    white -= white.mean(axis=0)
    unit = _roughness(rng.standard_normal(noise.draws.shape))
    explained = _roughness(noise.draws).mean() / unit.mean()
    wobble = np.maximum(_roughness(values[:, None]) / unit - explained, 0.0)
    return replace(noise, draws=noise.draws + np.sqrt(wobble) * white, wobble=wobble)


def rise_and_fall(values: PerCheckpoint, noise: PairedNoise) -> tuple[float, float]:
    """The p-values of "it never rises" and of "it never falls".

    The curve rises where the later part of a stretch averages above its earlier part, the stretch being one that begins with the series
    or ends with it, split anywhere: it gets above where it began, or ends above where it has been. So a dip within a rise is no fall, and
    a bump within a fall no rise. If the truth never rises, no such contrast is positive in truth, whatever the truth is: the p-value is
    valid over the whole hypothesis, and nearly exact for a constant curve.

    References:
        Dümbgen and Spokoiny (2001), Multiscale testing of qualitative hypotheses.
        Robertson, Wright and Dykstra (1988), Order Restricted Statistical Inference.
        Tsui and Weerahandi (1989), Generalized p-values in significance testing of hypotheses in the presence of nuisance parameters.
    """
    to_end = _extremes(values, noise)
    # The beginning of a series is the end of its mirror image, where a rise is a fall.
    mirrored = replace(noise, factor=noise.factor[::-1], draws=noise.draws[::-1])
    from_beginning = _extremes(values[::-1], mirrored)
    (rise, null_rise), (fall, null_fall) = (
        [np.maximum(one, other) for one, other in zip(first, second, strict=True)]
        for first, second in zip(to_end, from_beginning[::-1], strict=True)
    )
    return noise.p_value(rise, null_rise), noise.p_value(fall, null_fall)


def highest_checkpoints(
    values: PerCheckpoint, noise: PairedNoise, *, level: float = 0.95
) -> Bool[np.ndarray, " checkpoint"]:
    """A confidence set for the checkpoint where the true curve is highest: all that no other one is significantly above.

    Each is tested by its largest t against all others, at the quantile of that maximum under the noise; the highest one passes with
    probability `level`.

    References:
        Hansen, Lunde and Nason (2011), The model confidence set.
        Mogstad, Romano, Shaikh and Wilhelm (2024), Inference for ranks with applications to mobility across neighbourhoods.
    """
    return np.array([_may_be_highest(values, noise, checkpoint, level) for checkpoint in range(len(values))])


def crossing(
    values: PerCheckpoint, noise: PairedNoise, *, low: int, high: int, share: float, level: float = 0.95
) -> tuple[int, int]:
    """The first and last checkpoint that may be the one from which on, until `high`, the true curve has covered `share` of its rise.

    The level to cross is (1 - share) b + share h, b the lowest true value before `high`, h the one at `high`. Upwards from `low`, a
    checkpoint is passed while it is significantly below that level for every candidate of b; if `low` is not, nothing is known of the
    beginning. Downwards from `high`, a checkpoint is passed while it is significantly above for some candidate, at the quantile of the
    maximum over candidates. Testing in that order and stopping at the first failure needs no further correction: each end is wrong with
    probability at most (1 - level) / 2 if `low` and `high` are where the true curve is lowest and highest.

    References:
        Hsu and Berger (1999), Stepwise confidence intervals without multiplicity adjustment for dose-response and toxicity studies.
    """
    tail = (1 - level) / 2
    first, last = low, high
    while first < high and _is_below_level(values, noise, first, high, share, tail):
        first += 1
    while last > low:
        above, draws = _above_level(values, noise, last - 1, high, share)
        if noise.p_value(above.max(axis=0), draws.max(axis=0)) > tail:
            break
        last -= 1
    return (first if first > low else 0), last


def _may_be_highest(values: PerCheckpoint, noise: PairedNoise, checkpoint: int, level: float) -> bool:
    """Whether no other checkpoint is significantly above this one."""
    others = np.arange(len(values)) != checkpoint
    above = values[others] - values[checkpoint]
    if above.max() <= 0:
        return True
    factor = noise.factor[others] - noise.factor[checkpoint]
    deviations = noise.deviations(factor, np.full(len(factor), 2.0))
    draws = (noise.draws[others] - noise.draws[checkpoint]) / deviations
    return noise.p_value((above[:, None] / deviations).max(axis=0), draws.max(axis=0)) > 1 - level


def _is_below_level(
    values: PerCheckpoint, noise: PairedNoise, checkpoint: int, high: int, share: float, tail: float
) -> bool:
    """Whether `checkpoint` is significantly below the level to cross, whichever one is lowest."""
    above, _ = _above_level(values, noise, checkpoint, high, share)
    return bool((stdtr(noise.freedom, above).mean(axis=1) < tail).all())


def _above_level(
    values: PerCheckpoint, noise: PairedNoise, checkpoint: int, high: int, share: float
) -> tuple[Float64[np.ndarray, "candidate wobble"], Float64[np.ndarray, "candidate draw"]]:
    """By what t `checkpoint` is above the level to cross, for each checkpoint before `high` as the lowest one; and so in each draw."""

    def gap(of: np.ndarray) -> np.ndarray:
        return np.asarray(of[checkpoint] - (1 - share) * of[:high] - share * of[high])

    deviations = noise.deviations(gap(noise.factor), (gap(np.eye(len(values))) ** 2).sum(axis=1))
    return gap(values)[:, None] / deviations, gap(noise.draws) / deviations


def _extremes(values: PerCheckpoint, noise: PairedNoise) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The largest t of "later part less earlier part" over stretches to the end: of `values` under each wobble, and of each draw.

    Then the same of "earlier part less later part".
    """
    series = (values - values.mean())[:, None], noise.draws
    remaining = [np.cumsum(one[::-1], axis=0)[::-1] for one in series]
    components = np.cumsum(noise.factor[::-1], axis=0)[::-1]
    count = len(values)
    widths = max(1, len(noise.wobble)), noise.draws.shape[1]
    largest = [np.full(width, -np.inf) for width in widths]
    smallest = [np.full(width, np.inf) for width in widths]
    places = np.unique(np.linspace(0, count, min(count, MOST_PLACES) + 1).round().astype(int))[:-1]
    for start in places[:-1]:
        split = places[places > start]
        earlier = 1 / (split - start)[:, None]
        both = 1 / (count - split)[:, None] + earlier
        deviations = noise.deviations(both * components[split] - earlier * components[start], both[:, 0])
        for sums, high, low in zip(remaining, largest, smallest, strict=True):
            t = (both * sums[split] - earlier * sums[start]) / deviations
            np.maximum(high, t.max(axis=0), out=high)
            np.minimum(low, t.min(axis=0), out=low)
    return (largest[0], largest[1]), (-smallest[0], -smallest[1])


def _roughness(series: Float64[np.ndarray, "checkpoint series"]) -> Float64[np.ndarray, " series"]:
    """The mean squared second difference of each series, without the largest fifth of them, or the two that a step makes."""
    squares = np.sort((series[:-2] - 2 * series[1:-1] + series[2:]) ** 2, axis=0)
    dropped = max(2, len(squares) // 5)
    return np.asarray(squares[: max(len(squares) - dropped, 1)].mean(axis=0))
