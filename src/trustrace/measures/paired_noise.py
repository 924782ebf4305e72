"""What a curve's noise leaves certain: whether it rises or falls, where it is highest, where it crosses a level.

Every checkpoint is measured on the same statements, so that the noise of two checkpoints is mostly shared. All statements below are about
contrasts (means of some checkpoints less means of others), each divided by its own standard deviation under the joint noise: what
checkpoints share cancels. Many contrasts are looked at together, and the largest is held against the largest in seeded Gaussian draws of
that joint noise ("max-t"), whatever the correlation between checkpoints. As standard deviations are estimated, a t is first turned into
the normal value of the same tail.

The noise is taken as normal, as it nearly is for averages over hundreds of groups. With 15 groups, or with 100 of heavily skewed rows, one
of the two directions is found too often from it alone (simulated: 6 to 12 % at a nominal 5 %).

Weights wobble from checkpoint to checkpoint beyond what the statements explain. Its variance is read from the curve's own roughness and
read anew from each draw, so that the uncertainty of a reading from few checkpoints is in the quantiles (a parametric bootstrap of the t).
The wobble is taken as independent between checkpoints and equally large at all of them. Simulated flat curves of 12 or 24 checkpoints,
wobbling by up to 4 standard errors, are found to rise in 4 to 10 % at a nominal 5 %, where paired noise alone finds 34 to 100 %. From 4 or
5 checkpoints a large wobble is read poorly (9 to 11 %), and a rise is seen that is ten standard errors high in half of all curves.

References:
    Chernozhukov, Chetverikov and Kato (2013), Gaussian approximations and multiplier bootstrap for maxima of sums.
    Gasser, Sroka and Jennen-Steinmetz (1986), Residual variance and residual pattern in nonlinear regression.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import ndtr, ndtri, stdtr, stdtrit

DRAWS = 2000
"""Gaussian draws of the noise of one curve."""

ROUNDING = 1e-9
"""The share of a curve's largest value below which nothing is known: a noise-free curve is compared with it instead of dividing by 0."""

ROUGHNESS_QUANTILE = 0.25
"""The wobble is taken as large as it is if chance made the curve as smooth as this share of curves are: an upper confidence bound. The
likeliest value would be 0 for half of all curves that wobble little, and each of them a false alarm."""

LEAST_WOBBLE = 1 / 16
"""The share of the mean variance of paired noise that the wobble has at least. Checkpoints before learning begins differ by next to
nothing, and a reading of no wobble there would make of next to nothing the largest t of all."""

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
        wobble: The variance of the noise that each checkpoint has for itself, which `factor` has not and `draws` have.
        redrawn: What would be taken for that variance in each draw.
    """

    factor: Float64[np.ndarray, "checkpoint component"]
    draws: Float64[np.ndarray, "checkpoint draw"]
    freedom: float
    wobble: float = 0.0
    redrawn: Float64[np.ndarray, " draw"] = field(default_factory=lambda: np.zeros(DRAWS))

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
        """Of each checkpoint's noise."""
        return np.asarray((self.factor**2).sum(axis=1) + self.wobble)

    def deviations(
        self, factor: Float64[np.ndarray, "contrast component"], length: Float64[np.ndarray, " contrast"]
    ) -> Float64[np.ndarray, "contrast series"]:
        """The standard deviations of contrasts as the curve itself, then as each draw would have them.

        Args:
            factor: The contrasts of `factor`.
            length: The sum of squares of each contrast's coefficients.
        """
        variances = (factor**2).sum(axis=1)[:, None]
        return np.asarray(np.sqrt(variances + length[:, None] * np.append(self.wobble, self.redrawn)))

    def ratios(self) -> Float64[np.ndarray, " draw"]:
        """How much too small a typical standard deviation would be taken in each draw; 1 where it would not."""
        known = float((self.factor**2).sum(axis=1).mean())
        return np.asarray(np.sqrt(np.minimum((known + self.redrawn) / (known + self.wobble), 1.0)))

    def normalized(self, t: float) -> float:
        """The value that a standard normal variable exceeds as often as a contrast's t exceeds `t`."""
        return float(-ndtri(stdtr(self.freedom, -t)))


def with_wobble(noise: PairedNoise, values: PerCheckpoint, *, rng: np.random.Generator) -> PairedNoise:
    """`noise` and what the roughness of `values` has beyond it, as a variance that each checkpoint has for itself.

    A curve's roughness is its trimmed mean squared second difference: 0 for a straight line, little changed by a step or a sharp turn, and
    raised by 6 times the variance of independent noise, less what trimming takes. What paired noise explains is subtracted; the least
    wobble remains.

    Args:
        noise: Of the choice of statements.
        values: At least three.
        rng: Draws the wobble.
    """
    white = rng.standard_normal(noise.draws.shape)
    white -= white.mean(axis=0)
    roughness, explained = _roughness(white), float(_roughness(noise.draws).mean())
    least = LEAST_WOBBLE * float(noise.variances.mean())
    unit, low = float(roughness.mean()), float(np.quantile(roughness, ROUGHNESS_QUANTILE))

    def wobble(series: Float64[np.ndarray, "checkpoint series"]) -> Float64[np.ndarray, " series"]:
        return np.asarray(np.maximum(_roughness(series) / low - explained / unit, least))

    own = float(wobble(values[:, None])[0])
    draws = noise.draws + np.sqrt(own) * white
    return replace(noise, draws=draws, wobble=own, redrawn=wobble(draws))


def rise_and_fall(values: PerCheckpoint, noise: PairedNoise) -> tuple[float, float]:
    """The p-values of "it never rises" and of "it never falls".

    The curve rises where the later part of a stretch averages above its earlier part, the stretch being one that begins with the series
    or ends with it, split anywhere: it gets above where it began, or ends above where it has been. So a dip within a rise is no fall, and
    a bump within a fall no rise. If the truth never rises, no such contrast is positive in truth, whatever the truth is: the p-value is
    valid over the whole hypothesis, and nearly exact for a constant curve without wobble.

    Where no draw comes near, the tail is bounded by concentration: a maximum of standard normal variables exceeds its median by t with
    probability at most Φ(-t), however many they are and however they are correlated. With wobble, that bound is averaged over how much
    too small the standard deviations of a draw are.

    References:
        Dümbgen and Spokoiny (2001), Multiscale testing of qualitative hypotheses.
        Robertson, Wright and Dykstra (1988), Order Restricted Statistical Inference.
        Borell (1975), The Brunn-Minkowski inequality in Gauss space.
    """
    highest, lowest = _extremes(values, noise)
    mirrored = replace(noise, factor=noise.factor[::-1], draws=noise.draws[::-1])
    # The beginning of a series is the end of its mirror image, where a rise is a fall.
    most_fallen, most_risen = _extremes(values[::-1], mirrored)
    rise, fall = np.maximum(highest, -most_risen), np.maximum(-lowest, most_fallen)
    ratios = noise.ratios()
    return _tail(noise.normalized(rise[0]), rise[1:], ratios), _tail(noise.normalized(fall[0]), fall[1:], ratios)


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
        if noise.normalized(above.max()) <= np.quantile(draws.max(axis=0), 1 - tail):
            break
        last -= 1
    return (first if first > low else 0), last


def _may_be_highest(values: PerCheckpoint, noise: PairedNoise, checkpoint: int, level: float) -> bool:
    """Whether no other checkpoint is significantly above this one."""
    others = np.arange(len(values)) != checkpoint
    factor = noise.factor[others] - noise.factor[checkpoint]
    deviations = noise.deviations(factor, np.full(len(factor), 2.0))
    largest = noise.normalized(((values[others] - values[checkpoint]) / deviations[:, 0]).max())
    # The quantile of a maximum is no smaller than that of one variable, which most checkpoints are decided by.
    if largest <= ndtri(level):
        return True
    draws = (noise.draws[others] - noise.draws[checkpoint]) / deviations[:, 1:]
    return bool(largest <= np.quantile(draws.max(axis=0), level))


def _is_below_level(
    values: PerCheckpoint, noise: PairedNoise, checkpoint: int, high: int, share: float, tail: float
) -> bool:
    """Whether `checkpoint` is significantly below the level to cross, whichever one is lowest."""
    above, draws = _above_level(values, noise, checkpoint, high, share)
    critical = np.minimum(stdtrit(noise.freedom, tail), np.quantile(draws, tail, axis=1))
    return bool((above < critical).all())


def _above_level(
    values: PerCheckpoint, noise: PairedNoise, checkpoint: int, high: int, share: float
) -> tuple[Float64[np.ndarray, " candidate"], Float64[np.ndarray, "candidate draw"]]:
    """How far `checkpoint` is above the level to cross, for each checkpoint before `high` as the lowest one."""

    def gap(of: np.ndarray) -> np.ndarray:
        return np.asarray(of[checkpoint] - (1 - share) * of[:high] - share * of[high])

    deviations = noise.deviations(gap(noise.factor), (gap(np.eye(len(values))) ** 2).sum(axis=1))
    return gap(values) / deviations[:, 0], gap(noise.draws) / deviations[:, 1:]


def _extremes(values: PerCheckpoint, noise: PairedNoise) -> tuple[Float64[np.ndarray, " series"], ...]:
    """The largest and smallest t of "later part less earlier part" over stretches to the end; of `values` first, then of each draw."""
    series = np.column_stack([values - values.mean(), noise.draws])
    remaining = np.cumsum(series[::-1], axis=0)[::-1]
    components = np.cumsum(noise.factor[::-1], axis=0)[::-1]
    count = len(values)
    largest, smallest = np.full(series.shape[1], -np.inf), np.full(series.shape[1], np.inf)
    for start in range(count - 1):
        split = np.arange(start + 1, count)
        earlier = 1 / (split - start)[:, None]
        both = 1 / (count - split)[:, None] + earlier
        factor = both * components[split] - earlier * components[start]
        deviations = noise.deviations(factor, both[:, 0])
        t = both * remaining[split]
        t -= earlier * remaining[start]
        t /= deviations
        np.maximum(largest, t.max(axis=0), out=largest)
        np.minimum(smallest, t.min(axis=0), out=smallest)
    return largest, smallest


def _roughness(series: Float64[np.ndarray, "checkpoint series"]) -> Float64[np.ndarray, " series"]:
    """The mean squared second difference of each series, without the largest third of them, or two: as many as one step makes."""
    squares = np.sort((series[:-2] - 2 * series[1:-1] + series[2:]) ** 2, axis=0)
    dropped = max(2, len(squares) // 3)
    return np.asarray(squares[: max(len(squares) - dropped, 1)].mean(axis=0))


def _tail(observed: float, null: Float64[np.ndarray, " draw"], ratios: Float64[np.ndarray, " draw"]) -> float:
    """The p-value of `observed`, given maxima without a change."""
    reached = int((null >= observed).sum())
    p = (1 + reached) / (1 + len(null))
    if reached == 0:
        p = min(p, float(ndtr(np.median(null) - observed * ratios).mean()))
    return max(p, LEAST_P)
