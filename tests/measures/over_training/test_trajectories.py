import numpy as np
import pytest

from trustrace.core.errors import MeasurementError
from trustrace.measures.over_training.trajectories import (
    NEVER,
    forgettings,
    hardest,
    learned_at,
    trajectories,
    trajectory_estimates,
)
from trustrace.measures.scoring import Sample

COURSES = {
    "1111": ("always right", 0, 0),
    "0011": ("learned", 2, 0),
    "0101": ("learned", 3, 1),
    "1010": ("lost", None, 2),
    "0100": ("lost", None, 1),
    "0000": ("never right", None, 0),
}


def table(*courses):
    return np.array([[mark == "1" for mark in course] for course in courses]).T


def sample_of(n, draws=400):
    return Sample.of(np.ones(n, dtype=int), tuple(f"group_{row // 2}" for row in range(n)), draws=draws, seed=0)


def told(hits, sample):
    return {(one.quantity, one.method, one.role): one for one in trajectory_estimates(hits, sample)}


def test_every_course_is_called_by_its_name():
    hits = table(*COURSES)
    log_odds = np.where(hits, 1.0, -1.0)
    found = trajectories(log_odds, np.ones(6, dtype=int), np.arange(6) * 10)
    assert [(one.kind, one.learned_at, one.forgettings) for one in found] == list(COURSES.values())
    assert [one.row for one in found] == [0, 10, 20, 30, 40, 50]
    assert [one.right for one in found] == hits.sum(axis=0).tolist()


def test_counting_step_by_step_says_the_same():
    hits = np.random.default_rng(0).random((9, 200)) < 0.7
    for course, at, lost in zip(hits.T, learned_at(hits), forgettings(hits), strict=True):
        events, first, was = 0, NEVER, False
        for place, now in enumerate(course):
            events += was and not now
            first = (first if first != NEVER else place) if now else NEVER
            was = now
        assert (at, lost) == (first, events)


def test_predictions_of_label_0_are_right_where_the_log_odds_are_negative():
    log_odds = np.array([[-2.0, 2.0], [-1.0, 1.0]])
    found = trajectories(log_odds, np.array([0, 0]), np.arange(2))
    assert [one.kind for one in found] == ["always right", "never right"]
    assert [one.margin for one in found] == [1.5, -1.5]


def test_the_hardest_are_right_least_often_and_among_equals_most_surely_wrong():
    log_odds = np.array([[3.0, -1.0, -4.0, 1.0], [3.0, -1.0, -4.0, -0.5]])
    found = trajectories(log_odds, np.ones(4, dtype=int), np.arange(4))
    assert [one.row for one in hardest(found, most=3)] == [2, 1, 3]


def test_forgettings_of_shuffled_checkpoints_are_what_simulation_gives():
    rng = np.random.default_rng(0)
    hits = rng.random((12, 300)) < rng.random(300)
    drawn = [forgettings(rng.permuted(hits, axis=0)).mean() for _ in range(300)]
    got = told(hits, sample_of(300))[("forgettings", "logistic shuffled", "control")]
    assert got.value == pytest.approx(np.mean(drawn), abs=0.01)


def test_forgettings_and_shares_among_strangers_are_what_simulation_gives():
    rng = np.random.default_rng(1)
    hits = rng.random((5, 400)) < np.array([0.3, 0.5, 0.6, 0.8, 0.7])[:, None]
    drawn = [rng.permuted(hits, axis=1) for _ in range(400)]
    got = told(hits, sample_of(400))
    assert got[("forgettings", "logistic strangers", "control")].value == pytest.approx(
        np.mean([forgettings(one).mean() for one in drawn]), abs=0.01
    )
    assert got[("always right", "logistic", "control")].value == pytest.approx(
        np.mean([one.all(axis=0).mean() for one in drawn]), abs=0.005
    )
    assert got[("never right", "logistic", "control")].value == pytest.approx(
        np.mean([(~one).all(axis=0).mean() for one in drawn]), abs=0.005
    )


def test_statements_that_flicker_at_their_own_rate_forget_as_often_as_shuffled_ones():
    rng = np.random.default_rng(2)
    rates = rng.random(600).repeat(2)
    got = told(rng.random((10, 1200)) < rates, sample_of(1200))
    beyond = got[("forgettings beyond shuffled", "logistic", "measured")]
    assert beyond.lower < 0 < beyond.upper


def test_statements_that_are_learned_and_kept_forget_less_than_shuffled_ones():
    rng = np.random.default_rng(3)
    hits = np.arange(10)[:, None] >= rng.integers(0, 10, size=200)
    beyond = told(hits, sample_of(200))[("forgettings beyond shuffled", "logistic", "measured")]
    assert beyond.upper < 0


def test_the_four_shares_add_up_to_all_and_have_intervals():
    hits = np.random.default_rng(4).random((4, 300)) < 0.6
    got = told(hits, sample_of(300))
    shares = [got[(name, "logistic", "measured")] for name in ("always right", "learned", "lost", "never right")]
    assert sum(one.value for one in shares) == pytest.approx(1)
    assert all(one.lower < one.value < one.upper and one.n_groups == 150 for one in shares)


def test_one_checkpoint_is_no_course():
    with pytest.raises(MeasurementError, match="at least two"):
        trajectory_estimates(np.ones((1, 10), dtype=bool), sample_of(10))
