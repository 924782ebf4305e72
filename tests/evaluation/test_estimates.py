"""Numbers, intervals and tests from items, against numpy and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from trustrace.core.errors import AlignmentError
from trustrace.core.measurements import Estimate
from trustrace.evaluation.estimates import changes, estimates, value_of
from trustrace.evaluation.outcomes import Graded, Outcome, Statistic


def graded(
    values: object, *, groups: tuple[str, ...] | None = None, statistic: Statistic = "mean", **extra: object
) -> Graded:
    items = np.asarray(values, dtype=np.float64)
    items = items[:, None] if items.ndim == 1 else items
    own = groups or tuple(f"item {i}" for i in range(len(items)))
    return Graded(quantity="truth", method="judge", values=items, groups=own, statistic=statistic, **extra)  # type: ignore[arg-type]


def outcome(*graded: Graded) -> Outcome:
    return Outcome(dataset="toy", graded=graded)


def drawn(n: int, rate: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < rate).astype(float)


def test_a_mean_is_a_mean_and_its_interval_the_binomial_one() -> None:
    values = drawn(400, 0.3, 0)
    (found,) = estimates(outcome(graded(values)), seed=0, draws=4000)
    assert found.value == pytest.approx(values.mean())
    expected = stats.binomtest(int(values.sum()), 400).proportion_ci(method="wilson")
    assert found.lower == pytest.approx(expected.low, abs=0.006)
    assert found.upper == pytest.approx(expected.high, abs=0.006)
    assert (found.n, found.n_groups) == (400, 400)


def test_copies_of_items_in_a_group_do_not_narrow_the_interval() -> None:
    values = drawn(100, 0.5, 1)
    (alone,) = estimates(outcome(graded(values)), seed=0)
    names = tuple(f"g{i}" for i in range(100))
    (copied,) = estimates(outcome(graded(np.repeat(values, 5), groups=tuple(np.repeat(names, 5)))), seed=0)
    assert copied.n == 500
    assert copied.upper - copied.lower == pytest.approx(alone.upper - alone.lower, rel=0.15)


def test_a_perplexity_is_the_exponential_of_summed_losses_over_summed_tokens() -> None:
    rng = np.random.default_rng(2)
    tokens = rng.integers(1, 50, 60).astype(float)
    losses = tokens * rng.uniform(1, 3, 60)
    items = graded(np.column_stack([losses, tokens]), statistic="exp_ratio")
    assert value_of(items) == pytest.approx(math.exp(losses.sum() / tokens.sum()))
    (found,) = estimates(outcome(items), seed=0)
    assert found.lower < found.value < found.upper


def test_the_product_of_means_is_not_the_mean_of_products() -> None:
    values = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    assert value_of(graded(values, statistic="product_of_means")) == pytest.approx(0.25)
    assert value_of(graded(values.prod(axis=1))) == pytest.approx(0.25)
    skewed = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert value_of(graded(skewed, statistic="product_of_means")) == pytest.approx(0.25)
    assert value_of(graded(skewed.prod(axis=1))) == 0.0


def test_undefined_items_are_left_out_and_counted() -> None:
    (found,) = estimates(outcome(graded([1.0, np.nan, 0.0, 1.0], note="by hand")), seed=0)
    assert found.value == pytest.approx(2 / 3)
    assert (found.n, found.note) == (3, "by hand; 1 of 4 items undefined")


@pytest.mark.parametrize("statistic", ["exp_ratio", "ratio"])
def test_an_infinite_loss_is_an_infinite_number_and_is_not_left_out(statistic: Statistic) -> None:
    plain = np.column_stack([np.arange(1.0, 6.0), np.full(5, 2.0)])
    broken = plain.copy()
    broken[3, 0] = np.inf
    (found,) = estimates(outcome(graded(broken, statistic=statistic)), seed=0)
    assert (found.value, found.n, found.note) == (math.inf, 5, "")
    assert all(map(math.isnan, (found.lower, found.upper)))
    for after, before, sign in ((broken, plain, 1), (plain, broken, -1)):
        one, other = (outcome(graded(values, statistic=statistic)) for values in (after, before))
        change, p = changes(one, other, seed=0)
        assert (change.value, change.n) == (sign * math.inf, 5)
        assert math.isnan(p.value)


def test_a_loss_too_large_for_an_exponential_is_infinite_too() -> None:
    (found,) = estimates(outcome(graded(np.array([[4e3, 1.0], [5e3, 1.0]]), statistic="exp_ratio")), seed=0)
    assert found.value == math.inf


def test_an_infinite_part_of_a_mean_is_left_out_and_counted() -> None:
    (found,) = estimates(outcome(graded([1.0, math.inf, 0.0])), seed=0)
    assert (found.value, found.note) == (0.5, "1 of 3 items undefined")


def test_no_defined_item_is_an_undefined_number() -> None:
    (found,) = estimates(outcome(graded([np.nan, np.nan])), seed=0)
    assert math.isnan(found.value)
    assert (found.n, found.n_groups) == (0, 0)


@pytest.mark.parametrize("n", [2, 10, 57])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_share_of_nothing_is_not_known_exactly(n: int, value: float) -> None:
    (found,) = estimates(outcome(graded(np.full(n, value))), seed=0)
    exact = stats.binomtest(int(n * value), n).proportion_ci(method="exact")
    assert (found.lower, found.upper) == pytest.approx((exact.low, exact.high))


def test_a_change_is_paired() -> None:
    """Items differ a lot from each other, and little between the two: only a paired test sees it."""
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 5, 200)
    before, after = graded(hard), graded(hard + 0.3 + rng.normal(0, 0.5, 200))
    change, p = changes(outcome(after), outcome(before), seed=0)
    assert (change.quantity, p.quantity) == ("truth_change", "truth_change_p")
    difference = after.values[:, 0] - hard
    assert change.value == pytest.approx(difference.mean())
    expected = stats.t.interval(0.95, 199, difference.mean(), stats.sem(difference))
    assert (change.lower, change.upper) == pytest.approx(expected, abs=0.02)
    assert p.value < 0.001


def test_p_values_agree_with_scipy_s_permutation_test() -> None:
    rng = np.random.default_rng(4)
    before, after = rng.normal(size=40), rng.normal(0.25, 1, size=40)
    _, p = changes(outcome(graded(after)), outcome(graded(before)), seed=0, exchanges=20_000)
    expected = stats.permutation_test(
        (after, before), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=20_000, rng=rng
    )
    assert p.value == pytest.approx(expected.pvalue, abs=0.015)


@pytest.mark.parametrize("statistic", ["mean", "ratio", "exp_ratio", "product_of_means"])
def test_p_values_of_two_runs_of_one_model_are_uniform(statistic: Statistic) -> None:
    found = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        shared = rng.uniform(1, 2, (60, 2))
        one, other = (shared + rng.uniform(0, 1, (60, 2)) for _ in range(2))
        groups = tuple(f"g{i // 2}" for i in range(60))
        pair = [outcome(graded(items, groups=groups, statistic=statistic)) for items in (one, other)]
        if statistic == "mean":
            pair = [outcome(graded(items[:, 0], groups=groups)) for items in (one, other)]
        found.append(changes(*pair, seed=seed, draws=10, exchanges=300)[1].value)
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_a_model_against_itself_has_not_changed() -> None:
    items = graded(np.random.default_rng(5).normal(size=30))
    change, p = changes(outcome(items), outcome(items), seed=0)
    assert (change.value, change.lower, change.upper, p.value) == (0.0, 0.0, 0.0, 1.0)


def test_verdicts_that_never_differ_may_differ_on_items_that_were_not_asked() -> None:
    items = graded(drawn(30, 0.5, 5))
    change, _ = changes(outcome(items), outcome(items), seed=0)
    doubt = 1 - 0.025 ** (1 / 30)
    assert (change.value, change.lower, change.upper) == (0.0, pytest.approx(-doubt), pytest.approx(doubt))


@pytest.mark.parametrize("n_groups", [5, 10, 30])
def test_intervals_of_few_groups_hold_what_they_promise(n_groups: int) -> None:
    hits = 0
    for seed in range(400):
        values = np.random.default_rng(seed).normal(size=n_groups)
        (found,) = estimates(outcome(graded(values)), seed=seed, draws=1500)
        hits += found.lower <= 0 <= found.upper
    assert hits / 400 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_the_observed_exchange_counts_among_those_that_are_drawn() -> None:
    n = 30
    _, p = changes(outcome(graded(np.ones(n))), outcome(graded(np.zeros(n))), seed=0, exchanges=99)
    assert p.value == pytest.approx(1 / 100)


def test_changes_are_over_items_that_both_answered() -> None:
    after, before = graded([1.0, np.nan, 1.0, 0.0]), graded([0.0, 1.0, np.nan, 0.0])
    change, _ = changes(outcome(after), outcome(before), seed=0)
    assert (change.value, change.n) == (0.5, 2)


def test_one_group_has_a_value_and_no_interval() -> None:
    items = graded([1.0, 0.0], groups=("g", "g"))
    (found,) = estimates(outcome(items), seed=0)
    assert found.value == 0.5
    assert math.isnan(found.lower)
    other = graded([0.0, 0.0], groups=("g", "g"))
    change, p = changes(outcome(items), outcome(other), seed=0)
    assert change.value == 0.5
    assert all(map(math.isnan, (change.lower, change.upper, p.value)))
    assert all("one group alone" in row.note for row in (found, change, p))


def test_other_items_are_not_compared() -> None:
    with pytest.raises(AlignmentError, match="same items"):
        changes(outcome(graded([1.0, 0.0])), outcome(graded([1.0, 0.0], groups=("a", "b"))), seed=0)


@pytest.mark.parametrize("statistic", ["pearson", "spearman"])
def test_correlations_are_scipy_s(statistic: Statistic) -> None:
    rng = np.random.default_rng(6)
    x = rng.integers(0, 12, 80).astype(float)
    y = np.exp(x / 4 + rng.normal(size=80))
    (found,) = estimates(outcome(graded(np.column_stack([x, y]), statistic=statistic)), seed=0)
    expected = stats.pearsonr(x, y) if statistic == "pearson" else stats.spearmanr(x, y)
    assert found.value == pytest.approx(expected.statistic)
    assert found.lower < found.value < found.upper


def test_a_correlation_with_what_does_not_vary_is_undefined() -> None:
    (found,) = estimates(outcome(graded(np.column_stack([np.ones(9), np.arange(9.0)]), statistic="pearson")), seed=0)
    assert math.isnan(found.value)


def test_the_area_under_the_curve_is_scikit_learn_s_and_its_change_is_tested() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, 120).astype(float)
    noise = rng.normal(size=(2, 120))
    scores = [noise[0], labels * 1.5 + noise[1]]
    before, after = (outcome(graded(np.column_stack([labels, one]), statistic="auroc")) for one in scores)
    assert estimates(after, seed=0)[0].value == pytest.approx(roc_auc_score(labels, scores[1]))
    change, p = changes(after, before, seed=0)
    assert change.value == pytest.approx(roc_auc_score(labels, scores[1]) - roc_auc_score(labels, scores[0]))
    assert p.value < 0.01
    assert changes(after, after, seed=0)[1].value == 1.0


@pytest.mark.parametrize("statistic", ["pearson", "spearman"])
def test_correlations_are_exchanged_item_by_item(statistic: Statistic) -> None:
    """The two models' answers differ in spread: of Pearson's correlation answers are swapped, of Spearman's each model's own ranks."""
    rng = np.random.default_rng(8)
    truth = rng.normal(size=40)
    one = np.column_stack([truth + rng.normal(size=40), truth])
    other = np.column_stack([np.exp(3 * (truth + 2 * rng.normal(size=40))), truth])
    correlate = stats.pearsonr if statistic == "pearson" else stats.spearmanr

    def difference(mine: np.ndarray, theirs: np.ndarray) -> float:
        return float(correlate(mine[:, 0], mine[:, 1]).statistic - correlate(theirs[:, 0], theirs[:, 1]).statistic)

    observed, drawn_differences = difference(one, other), []
    seen = [one, other] if statistic == "pearson" else [stats.rankdata(items, axis=0) for items in (one, other)]
    for _ in range(2000):
        rows = rng.integers(0, 2, 40)[:, None] == 1
        drawn_differences.append(difference(np.where(rows, *seen[::-1]), np.where(rows, *seen)))
    expected = np.mean(np.abs(drawn_differences) >= abs(observed))
    pair = (outcome(graded(items, statistic=statistic)) for items in (one, other))
    assert changes(*pair, seed=0)[1].value == pytest.approx(expected, abs=0.06)


def test_an_increasing_change_of_all_scores_changes_no_p_value_of_a_rank_correlation() -> None:
    rng = np.random.default_rng(10)
    truth = rng.normal(size=60)
    before, after = (truth + noise * rng.normal(size=60) for noise in (2.0, 0.5))

    def change(*, scores: np.ndarray) -> list[Estimate]:
        of, reference = (
            outcome(graded(np.column_stack([one, truth]), statistic="spearman")) for one in (scores, before)
        )
        return changes(of, reference, seed=0)

    as_it_is = change(scores=after)
    assert as_it_is[1].value < 0.02
    for other in (after + 50.0, np.exp(after), -np.exp(-3 * after)):
        moved = change(scores=other)
        assert [row.value for row in moved] == pytest.approx([row.value for row in as_it_is], abs=1e-12)
    # Without a difference in ranks there is none, whatever the scores are.
    assert (
        changes(
            *(outcome(graded(np.column_stack([one, truth]), statistic="spearman")) for one in (np.exp(before), before)),
            seed=0,
        )[1].value
        == 1.0
    )


def test_an_offset_of_all_scores_changes_no_p_value_of_an_area() -> None:
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 2, 80).astype(float)
    before = labels + rng.normal(size=80)
    after = before + 0.7 * labels
    plain, shifted = (outcome(graded(np.column_stack([labels, after + by]), statistic="auroc")) for by in (0.0, 50.0))
    reference = outcome(graded(np.column_stack([labels, before]), statistic="auroc"))
    assert changes(plain, reference, seed=0) == changes(shifted, reference, seed=0)
    assert changes(plain, reference, seed=0)[1].value < 0.02
