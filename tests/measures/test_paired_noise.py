import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.measures.curves import correlated
from trustrace.measures.paired_noise import (
    DRAWS,
    MOST_PLACES,
    PairedNoise,
    crossing,
    highest_checkpoints,
    rise_and_fall,
    with_wobble,
)

CURVE = st.lists(st.floats(-3, 3), min_size=4, max_size=9).map(np.array)


def noise_of(n: int, *, seed: int = 0, replicates: int = 400, n_groups: int = 1000, covariance=None) -> PairedNoise:
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(correlated(n, kept=0.6) if covariance is None else covariance)
    return PairedNoise.of(rng.standard_normal((replicates, n)) @ root.T, n_groups=n_groups, scale=1.0, rng=rng)


def rising_contrasts(n: int) -> np.ndarray:
    """Later part less earlier part of every stretch that begins with the series or ends with it."""
    rows = []
    for begin, end in [(0, end) for end in range(2, n + 1)] + [(begin, n) for begin in range(1, n - 1)]:
        for split in range(begin + 1, end):
            row = np.zeros(n)
            row[begin:split], row[split:end] = -1 / (split - begin), 1 / (end - split)
            rows.append(row)
    return np.array(rows)


def in_normal_units(t, noise: PairedNoise):
    return stats.norm.isf(stats.t.sf(t, noise.freedom))


def simulated_p(truth: np.ndarray, covariance: np.ndarray, *, curves: int, replicates: int):
    rng = np.random.default_rng(7)
    root = np.linalg.cholesky(covariance)
    p = []
    for _ in range(curves):
        values = truth + root @ rng.standard_normal(len(truth))
        draws = values + rng.standard_normal((replicates, len(truth))) @ root.T
        p.append(rise_and_fall(values, PairedNoise.of(draws, n_groups=1000, scale=1.0, rng=rng)))
    return np.array(p)


def test_noise_has_the_covariance_of_the_replicates_less_what_is_shared():
    rng = np.random.default_rng(0)
    replicates = rng.standard_normal((500, 6)) * np.arange(1, 7) + 100 * rng.standard_normal((500, 1))
    noise = PairedNoise.of(replicates, n_groups=301, scale=1.0, rng=rng)
    expected = np.cov(replicates - replicates.mean(axis=1, keepdims=True), rowvar=False) * 301 / 300
    np.testing.assert_allclose(noise.factor @ noise.factor.T, expected, atol=1e-9)
    np.testing.assert_allclose(noise.variances, np.diag(expected))
    np.testing.assert_allclose(np.cov(noise.draws), expected, atol=0.15 * expected.max())
    assert noise.freedom == pytest.approx(1 / (1 / 499 + 1 / 300))


@settings(max_examples=30, deadline=None)
@given(CURVE, st.integers(0, 5))
def test_p_values_are_those_of_all_contrasts_written_out(values, seed):
    noise = noise_of(len(values), seed=seed)
    contrasts = rising_contrasts(len(values))
    scaled = contrasts / np.sqrt(np.einsum("ci,ij,cj->c", contrasts, noise.factor @ noise.factor.T, contrasts))[:, None]
    for direction, p in zip((scaled, -scaled), rise_and_fall(values, noise), strict=True):
        observed = in_normal_units((direction @ values).max(), noise)
        null = (direction @ noise.draws).max(axis=0)
        reached = (null >= observed).sum()
        expected = (1 + reached) / (1 + DRAWS)
        if reached == 0:
            expected = max(1e-6, min(expected, stats.norm.sf(observed - np.median(null))))
        assert p == pytest.approx(expected, abs=1.5 / DRAWS * (reached > 0), rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(CURVE, st.integers(0, 5), st.lists(st.floats(0, 3), min_size=9, max_size=9))
def test_no_curve_that_never_rises_makes_a_rise_more_likely_than_a_constant_does(values, seed, steps):
    noise = noise_of(len(values), seed=seed)
    falling = -np.cumsum(steps)[: len(values)]
    constant, with_falls = rise_and_fall(values, noise)[0], rise_and_fall(values + falling, noise)[0]
    assert with_falls >= constant - 1e-9
    assert rise_and_fall(values - falling, noise)[1] >= rise_and_fall(values, noise)[1] - 1e-9


@settings(max_examples=30, deadline=None)
@given(CURVE, st.integers(0, 5))
def test_a_curve_upside_down_or_backwards_swaps_rise_and_fall(values, seed):
    noise = noise_of(len(values), seed=seed)
    backwards = PairedNoise(factor=noise.factor[::-1], draws=noise.draws[::-1], freedom=noise.freedom)
    overturned = PairedNoise(factor=-noise.factor, draws=-noise.draws, freedom=noise.freedom)
    rise, fall = rise_and_fall(values, noise)
    assert rise_and_fall(values[::-1], backwards) == pytest.approx((fall, rise), abs=1.5 / DRAWS)
    assert rise_and_fall(-values, overturned) == pytest.approx((fall, rise), abs=1.5 / DRAWS)
    assert rise_and_fall(values + 5, noise) == pytest.approx((rise, fall), abs=1.5 / DRAWS)


def test_a_dip_within_a_rise_is_no_fall_but_an_end_below_the_peak_is():
    checkpoint = np.arange(25)
    noise = noise_of(25, covariance=correlated(25, kept=0.9))
    dip = checkpoint - 6.0 * (checkpoint == 12)
    rise, fall = rise_and_fall(dip, noise)
    assert rise == 1e-6
    assert fall > 0.5
    assert rise_and_fall(checkpoint - 6.0 * (checkpoint >= 23), noise)[1] < 1e-4
    assert rise_and_fall(-dip, noise)[0] > 0.5


@pytest.mark.parametrize("kept", [0.01, 0.9, 0.99])
def test_flat_curves_with_correlated_noise_raise_nominal_false_alarms(kept):
    p = simulated_p(np.zeros(20), correlated(20, kept=kept), curves=200, replicates=400)
    for alarms in ((p < 0.05).sum(axis=0), (p > 0.95).sum(axis=0)):
        assert (stats.binom.ppf(0.001, 200, 0.05) <= alarms).all()
        assert (alarms <= stats.binom.ppf(0.999, 200, 0.05)).all()


def test_few_replicates_raise_no_more_false_alarms():
    p = simulated_p(np.zeros(20), correlated(20, kept=0.01), curves=200, replicates=30)
    assert ((p < 0.05).sum(axis=0) <= stats.binom.ppf(0.999, 200, 0.05)).all()


@pytest.mark.parametrize("count", [15, 30])
def test_few_groups_raise_no_more_false_alarms_in_a_cluster_bootstrap(count):
    rng = np.random.default_rng(3)
    alarms = np.zeros(2, dtype=int)
    for _ in range(200):
        groups = rng.standard_normal((count, 16)) + rng.standard_normal((count, 1))
        values = groups.mean(axis=0)
        replicates = rng.multinomial(count, np.full(count, 1 / count), size=400) @ groups / count
        noise = PairedNoise.of(replicates, n_groups=count, scale=float(np.abs(values).max()), rng=rng)
        alarms += np.array(rise_and_fall(values, noise)) < 0.05
    assert (alarms <= stats.binom.ppf(0.999, 200, 0.05)).all()


def wobbling_p(truth: np.ndarray, wobble: float, *, curves: int):
    """p-values of rise and fall with paired noise of variance 1 at each checkpoint, and the typical wobble read, each per curve."""
    rng = np.random.default_rng(5)
    p, found = [], []
    for _ in range(curves):
        values = truth + np.hypot(1, wobble) * rng.standard_normal(len(truth))
        draws = values + rng.standard_normal((200, len(truth)))
        noise = PairedNoise.of(draws, n_groups=1000, scale=1.0, rng=rng)
        noise = with_wobble(noise, values, rng=rng)
        p.append(rise_and_fall(values, noise))
        found.append(np.median(noise.wobble))
    return np.array(p), np.array(found)


@pytest.mark.parametrize("n", [6, 12, 24])
@pytest.mark.parametrize("wobble", [0, 1, 2, 4])
def test_checkpoints_that_wobble_raise_no_more_false_alarms(n, wobble):
    p, _ = wobbling_p(np.zeros(n), wobble, curves=100)
    assert ((p < 0.05).sum(axis=0) <= stats.binom.ppf(0.999, 100, 0.05)).all()


@pytest.mark.parametrize(("n", "wobble"), [(6, 4), (12, 2)])
def test_where_checkpoints_wobble_small_p_values_are_as_rare_as_they_say(n, wobble):
    p, _ = wobbling_p(np.zeros(n), wobble, curves=300)
    for level in (0.005, 0.0005):
        assert ((p < level).sum(axis=0) <= stats.binom.ppf(0.9999, 300, level)).all()


@pytest.mark.parametrize(("n", "paired"), [(6, 0.01), (16, 0.01), (16, 0.5)])
def test_the_true_wobble_is_as_plausible_as_the_share_of_draws_beyond_it_says(n, paired):
    rng = np.random.default_rng(11)
    shares = []
    for _ in range(150):
        values = np.hypot(2, paired) * rng.standard_normal(n)
        noise = PairedNoise.of(values + paired * rng.standard_normal((200, n)), n_groups=1000, scale=1.0, rng=rng)
        shares.append((with_wobble(noise, values, rng=rng).wobble > 4).mean())
    assert stats.kstest(shares, "uniform").pvalue > 0.005


def test_a_broad_rise_then_fall_and_a_sudden_rise_are_found_where_checkpoints_wobble():
    checkpoint = np.arange(24)
    broad, _ = wobbling_p(np.interp(checkpoint, [0, 4, 12, 23], [0, 0, 16, 4]), 1, curves=25)
    assert (broad < 0.05).all(axis=1).mean() > 0.9
    sudden, _ = wobbling_p(np.where(checkpoint < 12, 0.0, 12.0), 1, curves=25)
    assert (sudden[:, 0] < 0.05).mean() > 0.9
    assert (sudden[:, 1] < 0.05).sum() <= stats.binom.ppf(0.999, 25, 0.05)


def test_a_step_hardly_adds_to_the_wobble_and_a_smooth_curve_has_none():
    flat = wobbling_p(np.zeros(40), 4, curves=20)[1]
    stepped = wobbling_p(np.where(np.arange(40) < 20, 0.0, 400.0), 4, curves=20)[1]
    assert np.median(flat) == pytest.approx(4**2, rel=0.3)
    assert np.median(stepped) <= 1.3 * np.median(flat)
    line = 3.0 * np.arange(12)
    for smooth in (line, np.where(line < 12, 0.0, 50.0)):
        assert not with_wobble(noise_of(12), smooth, rng=np.random.default_rng(0)).wobble.any()


def test_checkpoints_that_hardly_differ_before_learning_begins_do_not_hide_a_late_rise():
    rng = np.random.default_rng(1)
    spread = np.where(np.arange(19) < 12, 1e-3, 1.0)
    values = np.interp(np.arange(19), [12, 17], [0, 15]) + spread * rng.standard_normal(19)
    noise = PairedNoise.of(values + spread * rng.standard_normal((200, 19)), n_groups=100, scale=15.0, rng=rng)
    rise, fall = rise_and_fall(values, with_wobble(noise, values, rng=rng))
    assert rise < 1e-3
    assert fall > 0.05


def shaken(values: np.ndarray, *, seed: int) -> PairedNoise:
    """Noise with a wobble that the roughness of `values` tells, and none where it tells none."""
    return with_wobble(noise_of(len(values), seed=seed), values, rng=np.random.default_rng(seed))


def p_of(t: np.ndarray, null: np.ndarray, noise: PairedNoise) -> float:
    """The share of draws whose largest t reaches the curve's own."""
    return (1 + (null.max(axis=0) >= in_normal_units(t.max(axis=0), noise)).sum()) / (1 + DRAWS)


@settings(max_examples=20, deadline=None)
@given(CURVE, st.integers(0, 5))
def test_with_wobble_p_values_are_those_of_all_contrasts_written_out(values, seed):
    noise = shaken(9 * values, seed=seed)
    contrasts = rising_contrasts(len(values))
    known = np.einsum("ci,ij,cj->c", contrasts, noise.factor @ noise.factor.T, contrasts)
    deviations = np.sqrt(known[:, None] + (contrasts**2).sum(axis=1)[:, None] * noise.wobble)
    for direction, p in zip((contrasts, -contrasts), rise_and_fall(9 * values, noise), strict=True):
        expected = p_of((direction @ values * 9)[:, None] / deviations, direction @ noise.draws / deviations, noise)
        if expected > 1 / (1 + DRAWS):
            assert p == pytest.approx(expected, abs=1.5 / DRAWS)
        else:
            assert p <= expected


def test_a_long_series_is_looked_at_in_places_and_a_late_rise_still_found():
    rng = np.random.default_rng(2)
    for truth, rises in ((np.zeros(200), False), (np.where(np.arange(200) < 190, 0.0, 3.0), True)):
        values = truth + rng.standard_normal(200)
        noise = PairedNoise.of(values + rng.standard_normal((300, 200)), n_groups=1000, scale=1.0, rng=rng)
        assert len(truth) > MOST_PLACES
        assert (rise_and_fall(values, noise)[0] < 0.01) == rises


@pytest.mark.parametrize("truth", [np.minimum(np.arange(20), 6) * 20.0, (np.arange(20) // 7) * 20.0])
def test_rises_and_stairs_are_not_called_falling_more_often_than_nominal(truth):
    p = simulated_p(truth, correlated(20), curves=100, replicates=400)
    assert (p[:, 0] < 1e-3).all()
    assert (p[:, 1] < 0.05).sum() <= stats.binom.ppf(0.999, 100, 0.05)


def test_a_small_sudden_change_is_seen_through_large_noise_that_checkpoints_share():
    truth = np.where(np.arange(20) < 17, 0.0, -1.0)
    p = simulated_p(truth, correlated(20, kept=0.99, shift=25.0), curves=40, replicates=400)
    assert (p[:, 1] < 0.01).mean() > 0.9
    assert (p[:, 0] > 0.05).mean() > 0.9


@settings(max_examples=60, deadline=None)
@given(st.floats(-4, 4))
def test_of_two_checkpoints_the_lower_one_may_be_highest_until_a_paired_t_test_says_no(gap):
    noise = noise_of(2, replicates=40, n_groups=60)
    deviation = np.sqrt(((noise.factor[1] - noise.factor[0]) ** 2).sum())
    kept = highest_checkpoints(np.array([0.0, gap]) * deviation, noise)
    # The code looks at sampled draws, which are off by 1.5 points at most.
    for own, p in zip(kept, (stats.t.sf(gap, noise.freedom), stats.t.cdf(gap, noise.freedom)), strict=True):
        assert own == (p >= 0.05) or abs(p - 0.05) < 0.015


@pytest.mark.parametrize("wobbles", [False, True])
@settings(max_examples=30, deadline=None)
@given(values=CURVE, seed=st.integers(0, 5))
def test_the_set_of_highest_checkpoints_is_that_of_all_comparisons_written_out(wobbles, values, seed):
    values = 6 * values if wobbles else values
    noise = shaken(values, seed=seed) if wobbles else noise_of(len(values), seed=seed)
    covariance = noise.factor @ noise.factor.T
    kept = highest_checkpoints(values, noise)
    for own in range(len(values)):
        others = [other for other in range(len(values)) if other != own]
        t, draws = [], []
        for other in others:
            known = covariance[own, own] + covariance[other, other] - 2 * covariance[own, other]
            deviation = np.sqrt(known + 2 * noise.wobble)
            t.append((values[other] - values[own]) / deviation)
            draws.append((noise.draws[other] - noise.draws[own]) / deviation)
        p = p_of(np.array(t), np.array(draws), noise)
        assert kept[own] == (p > 0.05) or abs(p - 0.05) < 2 / DRAWS
    assert kept[np.argmax(values)]


@pytest.mark.parametrize("wobbles", [False, True])
@settings(max_examples=30, deadline=None)
@given(values=CURVE, seed=st.integers(0, 5), share=st.floats(0.1, 0.9), amplitude=st.sampled_from([0.5, 4.0]))
def test_a_crossing_is_bounded_by_the_checkpoints_that_are_surely_below_and_above(
    wobbles, values, seed, share, amplitude
):
    values = amplitude * values
    noise = shaken(values, seed=seed) if wobbles else noise_of(len(values), seed=seed)
    high = int(np.argmax(values))
    low = int(np.argmin(values[: high + 1]))

    def t_and_draws(checkpoint):
        rows = np.zeros((high, len(values)))
        for candidate, row in enumerate(rows):
            row[checkpoint] += 1
            row[candidate] -= 1 - share
            row[high] -= share
        known = np.einsum("ci,ij,cj->c", rows, noise.factor @ noise.factor.T, rows)
        deviations = np.sqrt(known[:, None] + (rows**2).sum(axis=1)[:, None] * noise.wobble)
        return (rows @ values)[:, None] / deviations, rows @ noise.draws / deviations

    first, last = low, high
    while first < high and (stats.t.cdf(t_and_draws(first)[0], noise.freedom).mean(axis=1) < 0.025).all():
        first += 1
    while last > low and p_of(*t_and_draws(last - 1), noise) <= 0.025:
        last -= 1
    assert crossing(values, noise, low=low, high=high, share=share) == (first if first > low else 0, last)


def test_where_even_the_lowest_checkpoint_is_not_surely_below_a_crossing_may_come_first():
    noise = noise_of(5)
    assert crossing(np.array([0.2, 0.0, 0.5, 1.0, 0.9]), noise, low=1, high=3, share=0.25) == (0, 3)
    assert crossing(np.array([20.0, 0.0, 50.0, 100.0, 90.0]), noise, low=1, high=3, share=0.25) == (2, 2)


def test_a_curve_without_noise_is_known_exactly():
    rng = np.random.default_rng(0)
    values = np.array([0.0, 0.0, 1.0, 3.0, 2.0])
    noise = PairedNoise.of(np.tile(values, (50, 1)), n_groups=100, scale=3.0, rng=rng)
    assert rise_and_fall(values, noise) == (1e-6, 1e-6)
    assert highest_checkpoints(values, noise).tolist() == [False, False, False, True, False]
    assert crossing(values, noise, low=0, high=3, share=0.25) == (2, 2)
    constant = PairedNoise.of(np.tile(np.zeros(5), (50, 1)), n_groups=100, scale=0.0, rng=rng)
    assert min(rise_and_fall(np.zeros(5), constant)) > 0.9
    assert highest_checkpoints(np.zeros(5), constant).all()
