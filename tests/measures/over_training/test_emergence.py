import numpy as np
import pytest
from scipy.optimize import curve_fit

from tests.measures.curves import noisy
from trustrace.measures.dynamics import course_of
from trustrace.measures.over_training.changes import change, closest, log_training, logistic_rises, steps
from trustrace.measures.over_training.emergence import emergence, level_crossing

TOKENS = 1e6 * 2.0 ** np.arange(16)
COVARIANCE = 0.02**2 * (0.6 * np.eye(16) + 0.4)


def curve(truth, rng, name="d", **changes):
    return noisy(
        truth,
        rng=rng,
        covariance=COVARIANCE,
        name=name,
        training=TOKENS,
        quantity="accuracy",
        method="logistic",
        **changes,
    )


def told(curves, floor=0.5, margin=0.05):
    rows = emergence(curves, [floor] * len(curves), margin=margin, seed=0)
    return [{row.quantity.removeprefix("accuracy emergence "): row for row in one} for one in rows]


def step_at(place, low=0.5, high=0.8):
    return np.where(np.arange(16) >= place, high, low)


def test_a_planted_step_lies_in_every_interval_as_often_as_promised():
    rng = np.random.default_rng(0)
    covered = {"level": 0, "half": 0, "step": 0}
    for repeat in range(40):
        place = int(rng.integers(3, 13))
        (got,) = told([curve(step_at(place, high=0.62), rng, name=str(repeat))])
        for kind in covered:
            covered[kind] += got[kind].lower <= TOKENS[place] <= got[kind].upper
    # At a coverage of 95 %, fewer than 34 of 40 happen once in 200.
    assert min(covered.values()) >= 34


def test_the_midpoint_of_a_planted_logistic_rise_lies_in_its_interval_as_often_as_promised():
    rng = np.random.default_rng(1)
    covered, widths = 0, []
    for repeat in range(40):
        middle = rng.uniform(5, 10)
        truth = 0.5 + 0.25 / (1 + np.exp(-(np.arange(16) - middle) / 1.2))
        (got,) = told([curve(truth, rng, name=str(repeat))])
        covered += got["logistic"].lower <= 1e6 * 2**middle <= got["logistic"].upper
        widths.append(np.log2(got["logistic"].upper / got["logistic"].lower))
    assert covered >= 34
    assert np.median(widths) < 4


def test_the_logistic_midpoint_is_that_of_scipys_least_squares():
    rng = np.random.default_rng(2)
    t = np.log(TOKENS)
    y = 0.5 + 0.3 / (1 + np.exp(-(t - t[7] - 0.3) / 0.9)) + 0.005 * rng.normal(size=16)
    expected, _ = curve_fit(lambda t, a, h, t0, w: a + h / (1 + np.exp(-(t - t0) / w)), t, y, p0=[0.5, 0.3, t[8], 1.0])
    grid = logistic_rises(TOKENS)
    (best,), fitted = closest(y[:, None], grid, np.ones(16))
    assert np.log(grid.places[best]) == pytest.approx(expected[2], abs=(t[-1] - t[0]) / 80)
    assert np.sqrt(np.mean((fitted[:, 0] - y) ** 2)) < 0.01


def test_the_closest_step_has_the_smallest_sum_of_squares_of_all():
    rng = np.random.default_rng(3)
    y, weights = np.sort(rng.random(9)) + 0.3 * rng.random(9), rng.uniform(0.5, 2, size=9)
    grid = steps(np.arange(9.0))

    def residual(split):
        sides = [slice(0, split), slice(split, 9)]
        return sum(np.sum(weights[s] * (y[s] - np.average(y[s], weights=weights[s])) ** 2) for s in sides)

    (best,), fitted = closest(y[:, None], grid, weights)
    assert grid.places[best] == min(range(1, 9), key=residual)
    assert np.sum(weights * (y - fitted[:, 0]) ** 2) == pytest.approx(residual(int(grid.places[best])))


def test_a_change_downwards_is_no_emergence():
    _, fitted = closest(np.linspace(1, 0, 8)[:, None], steps(np.arange(8.0)), np.ones(8))
    assert np.ptp(fitted) == 0


def test_a_concept_that_never_comes_is_said_never_to_come():
    rng = np.random.default_rng(4)
    got = told([curve(np.full(16, 0.5), rng, name=str(repeat)) for repeat in range(20)])
    named = [one["half"].note.startswith("never") for one in got]
    assert sum(named) >= 19
    assert all(
        np.isnan(one["level"].value) and one["level"].note.startswith("never") for one in got if one["half"].note
    )


def test_a_concept_that_is_there_from_the_start_is_said_to_be():
    rng = np.random.default_rng(5)
    (got,) = told([curve(np.full(16, 0.9), rng)])
    assert got["level"].value == got["level"].lower == got["level"].upper == TOKENS[0]
    assert got["level"].note.startswith("from the start")
    assert got["step"].note.startswith("from the start")
    assert np.isnan(got["step"].value)


def test_a_crossing_at_the_very_end_has_no_upper_end_unless_it_is_certain():
    rng = np.random.default_rng(6)
    truth = np.concatenate([np.full(15, 0.5), [0.56]])
    sure, unsure = (
        level_crossing(curve(truth, rng, values=truth), threshold=threshold) for threshold in (0.505, 0.555)
    )
    assert sure.upper == TOKENS[-1]
    assert np.isnan(unsure.upper)
    assert "no upper end" in unsure.note


def test_a_series_that_begins_untrained_has_a_place_for_its_first_checkpoint():
    t = log_training(np.array([0.0, 2.0, 8.0, 16.0]))
    assert np.exp(t[0]) == pytest.approx(0.5)
    assert np.isfinite(logistic_rises(np.array([0.0, 2.0, 8.0, 16.0])).shapes).all()


def test_too_few_checkpoints_are_said_to_be_too_few():
    rng = np.random.default_rng(7)
    short = noisy(
        np.array([0.5, 0.6, 0.9]), rng=rng, covariance=1e-4 * np.eye(3), quantity="accuracy", method="logistic"
    )
    (got,) = told([short])
    assert "4 are needed" in got["step"].note
    assert np.isfinite(got["level"].value)


def test_more_noise_widens_the_interval_of_a_change():
    rng = np.random.default_rng(8)
    widths = []
    for noise in (0.5, 2.0):
        truth = 0.5 + 0.25 / (1 + np.exp(-(np.arange(16) - 8) / 1.5))
        one = noisy(truth, rng=rng, covariance=noise**2 * COVARIANCE, training=TOKENS, values=truth)
        place = change(course_of(one, seed=0), logistic_rises(TOKENS))
        widths.append(np.log(place.upper / place.lower))
    assert widths[1] > 2 * widths[0]
