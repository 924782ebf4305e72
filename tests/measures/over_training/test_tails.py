"""p-values beyond the largest draw: an exact law, nulls for which they are too large, and whole matrices of cells."""

import numpy as np
import pytest
from scipy.stats import f as ratio
from scipy.stats import false_discovery_control, norm

from trustrace.measures.over_training.tails import counted_p, upper_p

MANY = 10**12
"""Pairs: next to no rounding."""


def area_of(t):
    return norm.cdf(t)


def test_the_tail_is_the_f_distribution_of_an_exponential_over_the_mean_of_others():
    t = np.random.default_rng(0).pareto(3.0, size=199) * 0.2 + 0.2
    logs = np.log(np.sort(t)[-40:])
    own = 4.0
    expected = 40 / 200 * ratio.sf((np.log(own) - logs[0]) / (logs[1:] - logs[0]).mean(), 2, 78)
    assert t.max() < own
    assert expected < 1 / 200
    assert upper_p(area_of(t), area_of(own), pairs=MANY) == pytest.approx(expected, rel=1e-6)
    assert upper_p(area_of(-t), area_of(own), pairs=MANY) == pytest.approx(expected, rel=1e-6)


def test_where_a_draw_reaches_and_where_there_are_few_values_the_count_stands():
    draws = area_of(0.1 * np.random.default_rng(0).normal(size=199))
    reached = 0.5 + np.sort(np.abs(draws - 0.5))[-2]
    assert upper_p(draws, reached, pairs=MANY) == counted_p(draws, reached) == pytest.approx(3 / 200)
    assert upper_p(draws, 1.0, pairs=3600) < 1e-4
    assert upper_p(draws, 1.0, pairs=3600, extends=False) == 1 / 200
    assert upper_p(draws[:7], 1.0, pairs=3600) == 1 / 8


def test_draws_that_are_all_equal_say_nothing_about_what_is_a_step_or_two_away():
    draws = np.full(199, 0.8)
    assert upper_p(draws, 0.802, pairs=1000) == 1 / 200
    assert upper_p(draws, 0.2, pairs=1000) == 1.0
    assert upper_p(np.full(199, 0.5), 0.6, pairs=1000) == 1 / 200


@pytest.mark.parametrize(
    "drawn",
    [
        lambda rng, size: 0.2 * rng.normal(size=size),
        lambda rng, size: 0.02 * rng.standard_cauchy(size=size),
        lambda rng, size: 0.3 * rng.exponential(size=size),
        # Random directions where labels lie along one of two axes.
        lambda rng, size: 2 * np.cos(np.pi * rng.random(size)),
    ],
    ids=["Gaussian", "ratio of Gaussians", "exponential", "with an end"],
)
def test_no_level_is_reached_more_often_than_it_says(drawn):
    """Far below the smallest p-value that 99 draws can count: the far tenth of 20,000 tries."""
    rng = np.random.default_rng(1)
    tries = drawn(rng, (20_000, 100))
    far = np.argsort(-np.abs(tries[:, 0]))[:2000]
    p = np.array([upper_p(area_of(row[1:]), area_of(row[0]), pairs=MANY) for row in tries[far]])
    for level in (0.05, 0.005, 0.001, 0.0002):
        assert (p <= level).sum() <= 20_000 * level + 3 * np.sqrt(20_000 * level)


def test_planted_pairs_are_found_among_hundreds_of_idle_ones_and_idle_ones_are_not():
    """361 cells of 199 draws each; idle cells share the noise of their source and target. Counts alone find nothing of this."""
    rng = np.random.default_rng(2)
    planted = np.zeros((19, 19), dtype=bool)
    planted[13:18, 13:18] = True
    wrong, power, counted = [], [], 0
    for matrix in range(20):
        some = planted.ravel() & (matrix % 2 == 0)
        shared = rng.normal(size=19)
        z = 0.6 * shared[:, None] + 0.6 * shared[None] + np.sqrt(1 - 0.72) * rng.normal(size=(19, 19))
        own = area_of(0.13 * z.ravel() + np.where(some, 1.5, 0.0))
        nulls = area_of(0.13 * rng.normal(size=(361, 199)))
        p = [upper_p(draws, one, pairs=3600) for draws, one in zip(nulls, own, strict=True)]
        q = false_discovery_control(p)
        wrong.append((q[~some] <= 0.05).sum() / max((q <= 0.05).sum(), 1))
        power += (q[some] <= 0.05).tolist()
        counts = [counted_p(draws, one) for draws, one in zip(nulls, own, strict=True)]
        counted += int((false_discovery_control(counts)[some] <= 0.05).sum())
    assert np.mean(power) >= 0.95
    assert counted <= 0.1 * len(power)
    assert np.mean(wrong) <= 0.05 + 2 * np.std(wrong) / np.sqrt(20)
