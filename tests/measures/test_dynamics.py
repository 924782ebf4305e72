import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.measures.curves import correlated, noisy, told
from trustrace.core.errors import MeasurementError
from trustrace.measures.dynamics import Curve, phases

CHECKPOINT = np.arange(25)
TRUTHS = {
    "rises then falls": np.interp(CHECKPOINT, [0, 4, 12, 24], [0, 0, 8, 2]),
    "rises": np.interp(CHECKPOINT, [0, 4, 12, 24], [0, 0, 8, 8]),
    "falls": np.interp(CHECKPOINT, [0, 10, 24], [8, 1, 1]),
    "falls then rises": np.interp(CHECKPOINT, [0, 10, 24], [8, 0, 7]),
    "flat": np.full(25, 3.0),
}


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", TRUTHS)
def test_a_clear_curve_is_called_by_its_shape(shape):
    told_of = told(*(noisy(TRUTHS[shape], rng=rng_of(seed), name=str(seed)) for seed in range(20)))
    # At a false discovery rate of 5 %, one in twenty may be given a turn that it has not.
    assert sum(rows["shape"].note == shape for rows in told_of) >= 18
    for rows in told_of:
        assert list(rows) == ["shape", "rise p", "rise q", "fall p", "fall q", "peak", "onset"]
        assert all(row.method == "nhsic_50" and (row.n, row.n_groups) == (2000, 1000) for row in rows.values())
        assert (rows["rise q"].value <= 0.05) == ("rises" in rows["shape"].note)
        assert (rows["fall q"].value <= 0.05) == ("falls" in rows["shape"].note)


def test_the_value_of_a_shape_is_the_q_value_that_decides_it():
    rows = dict(zip(TRUTHS, told(*(noisy(TRUTHS[name], rng=rng_of(), name=name) for name in TRUTHS)), strict=True))
    for name, decide in {"rises then falls": max, "falls then rises": max, "flat": min}.items():
        assert rows[name]["shape"].value == decide(rows[name]["rise q"].value, rows[name]["fall q"].value)
    assert rows["rises"]["shape"].value == rows["rises"]["rise q"].value
    assert rows["falls"]["shape"].value == rows["falls"]["fall q"].value


def test_peak_and_onset_are_told_only_where_the_shape_has_them_and_else_say_why():
    rows = dict(zip(TRUTHS, told(*(noisy(TRUTHS[name], rng=rng_of(), name=name) for name in TRUTHS)), strict=True))
    assert rows["rises then falls"]["peak"].note == rows["rises then falls"]["onset"].note == ""
    assert "not passed" in rows["rises"]["peak"].note
    assert "no rise" in rows["falls"]["peak"].note
    for shape, quantity in [("flat", "peak"), ("flat", "onset"), ("falls", "onset"), ("falls then rises", "peak")]:
        row = rows[shape][quantity]
        assert np.isnan([row.value, row.lower, row.upper]).all()
        assert row.note
    assert np.isfinite(rows["falls then rises"]["onset"].value)


@pytest.mark.parametrize("peak", [1, 6, 12, 18, 23])
def test_the_interval_of_a_peak_covers_the_true_one(peak):
    truth = np.interp(CHECKPOINT, [0, peak, 24], [0, 8, 2]) if peak < 24 else CHECKPOINT / 3
    covered = [
        rows["peak"].lower <= peak * 1e9 <= rows["peak"].upper
        for rows in told(*(noisy(truth, rng=rng_of(seed), name=str(seed)) for seed in range(25)))
    ]
    assert np.mean(covered) >= 0.9


@pytest.mark.parametrize("begin", [0, 3, 12, 20])
@pytest.mark.parametrize("amplitude", [6, 20])
def test_the_interval_of_an_onset_covers_the_first_quarter_of_the_true_rise(begin, amplitude):
    truth = amplitude * np.interp(CHECKPOINT, [begin, 24], [0, 1])
    onset = int(np.argmax(truth >= amplitude / 4 - 1e-9))
    covered, widths = [], []
    for rows in told(*(noisy(truth, rng=rng_of(seed), name=str(seed)) for seed in range(25))):
        row = rows["onset"]
        if np.isfinite(row.value):
            covered.append(row.lower <= onset * 1e9 <= row.upper)
            widths.append((row.upper - row.lower) / 1e9)
    assert len(covered) >= 20
    assert np.mean(covered) >= 0.9
    assert np.mean(widths) < (20 if amplitude == 6 else 8)


def test_a_sudden_onset_and_a_sharp_peak_are_found_to_the_checkpoint():
    truth = np.where(CHECKPOINT < 9, 0.0, 20.0) - 3.0 * np.abs(CHECKPOINT - 15)
    truth[:9] = truth[:9].min()
    for rows in told(*(noisy(truth, rng=rng_of(seed), name=str(seed)) for seed in range(20))):
        assert rows["peak"].value == rows["peak"].lower == rows["peak"].upper == 15e9
        assert rows["onset"].value == rows["onset"].lower == rows["onset"].upper == 9e9


def test_the_onset_of_a_curve_that_first_dips_is_that_of_the_rise_after_the_dip():
    truth = 20 * np.interp(CHECKPOINT, [0, 3, 15, 24], [0.4, 0, 1, 0.2])
    rows = told(noisy(truth, rng=rng_of()))[0]
    assert rows["shape"].note == "rises then falls"
    assert 5e9 <= rows["onset"].lower <= rows["onset"].value <= rows["onset"].upper <= 9e9


def test_flat_curves_make_almost_no_discoveries_together():
    curves = [noisy(np.zeros(25), rng=rng_of(seed), name=str(seed)) for seed in range(100)]
    rows = told(*curves)
    assert sum(row["rise p"].value < 0.05 or row["fall p"].value < 0.05 for row in rows) >= 1
    assert sum(row["shape"].note != "flat" for row in rows) <= 2


@pytest.mark.parametrize("wobble", [1, 4])
def test_wobble_from_checkpoint_to_checkpoint_is_no_phase(wobble):
    shaken = {"covariance": np.eye(24), "draws": 200}
    flat = [wobble * rng_of(1000 + seed).standard_normal(24) for seed in range(20)]
    plateau = [truth + 12.0 * np.interp(np.arange(24), [2, 10], [0, 1]) for truth in flat]
    for truths, shape in ((flat, "flat"), (plateau, "rises")):
        rows = [told(noisy(truth, rng=rng_of(seed), **shaken))[0] for seed, truth in enumerate(truths)]
        wrong = sum("falls" in row["shape"].note or (shape == "flat" != row["shape"].note) for row in rows)
        assert wrong <= stats.binom.ppf(0.999, 20, 0.05)


def test_the_intervals_of_peak_and_onset_cover_where_checkpoints_wobble():
    truth = 30 * np.interp(CHECKPOINT, [2, 14, 24], [0, 1, 0.2])
    onset = int(np.argmax(truth >= 7.5 - 1e-9))
    rows = [
        told(noisy(truth + 2 * rng_of(1000 + seed).standard_normal(25), rng=rng_of(seed), covariance=np.eye(25)))[0]
        for seed in range(25)
    ]
    for name, true in (("peak", 14e9), ("onset", onset * 1e9)):
        assert np.mean([row[name].lower <= true <= row[name].upper for row in rows]) >= 0.9
        assert np.mean([row[name].upper - row[name].lower for row in rows]) < 9e9


def test_rising_curves_are_called_falling_no_more_often_than_the_false_discovery_rate():
    truth = np.interp(CHECKPOINT, [0, 6], [0, 10])
    rows = told(*(noisy(truth, rng=rng_of(seed), name=str(seed)) for seed in range(50)))
    assert all(row["rise q"].value < 0.05 for row in rows)
    assert sum(row["fall p"].value < 0.05 for row in rows) <= stats.binom.ppf(0.999, 50, 0.05)
    assert sum(row["shape"].note != "rises" for row in rows) <= stats.binom.ppf(0.999, 50, 0.05)


def test_q_values_are_benjamini_and_hochbergs_within_one_quantity_and_method():
    amplitudes = np.linspace(0, 4, 12)
    curves = [noisy(a * CHECKPOINT / 24, rng=rng_of(i), name=str(i)) for i, a in enumerate(amplitudes)]
    others = [noisy(np.zeros(25), rng=rng_of(i), name=str(i), quantity="I(T;Y)") for i in range(5)]
    alone = told(*curves)
    p = np.array([[row["rise p"].value, row["fall p"].value] for row in alone]).ravel()
    order = np.argsort(p)
    stepped = p[order] * len(p) / np.arange(1, len(p) + 1)
    expected = np.empty_like(p)
    expected[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1)
    got = np.array([[row["rise q"].value, row["fall q"].value] for row in alone]).ravel()
    np.testing.assert_allclose(got, expected)
    assert repr(told(*curves, *others)[: len(curves)]) == repr(alone)


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_curves_changes_no_number(order):
    curves = [noisy(a * CHECKPOINT / 24, rng=rng_of(i), name=str(i)) for i, a in enumerate([0, 1, 2, 3, 4, 8])]
    straight, shuffled = phases(curves, seed=1), phases([curves[i] for i in order], seed=1)
    assert [curve for curve, _ in shuffled] == [curves[i] for i in order]
    for place, i in enumerate(order):
        assert repr(shuffled[place][1]) == repr(straight[i][1])


def test_numbers_depend_on_the_seed_and_on_nothing_else():
    curve = noisy(CHECKPOINT / 12, rng=rng_of())
    assert repr(told(curve)) == repr(told(curve))
    assert told(curve)[0]["rise p"].value != told(curve, seed=1)[0]["rise p"].value


def test_a_shift_that_all_checkpoints_share_is_no_change_and_hides_none():
    shaken = correlated(25, shift=10_000.0)
    rows = told(
        noisy(np.zeros(25), rng=rng_of(), covariance=shaken),
        noisy(TRUTHS["rises then falls"], rng=rng_of(1), covariance=shaken),
    )
    assert [row["shape"].note for row in rows] == ["flat", "rises then falls"]


def test_checkpoints_without_a_value_are_left_out_and_counted():
    curve = noisy(TRUTHS["rises then falls"], rng=rng_of())
    values, replicates = curve.values.copy(), curve.replicates.copy()
    values[3], replicates[7, 20] = np.nan, np.nan
    kept = np.delete(CHECKPOINT, [3, 20])
    holed = noisy(curve.values, rng=rng_of(), values=values, replicates=replicates)
    without = noisy(
        TRUTHS["rises then falls"][kept],
        rng=rng_of(),
        training=curve.training[kept],
        values=curve.values[kept],
        replicates=curve.replicates[:, kept],
    )
    got, expected = told(holed)[0], told(without)[0]
    assert got["rise p"].note == "2 of 25 checkpoints have no value and are left out"
    assert got["shape"] == expected["shape"]
    assert got["peak"] == expected["peak"]
    assert got["onset"] == expected["onset"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"values": np.array([0.0, np.nan, 1.0, 2.0])}, "3 checkpoints"),
        ({"values": np.full(4, np.nan)}, "0 checkpoints"),
        ({"n_groups": 1}, "one group"),
        ({"replicates": np.zeros((1, 4))}, "two replicates"),
    ],
)
def test_a_curve_of_which_nothing_can_be_said_says_why(changes, reason):
    undefined = noisy(np.zeros(4), rng=rng_of(), **changes)
    steep = noisy(TRUTHS["rises"], rng=rng_of())
    rows, beside = told(undefined, steep)
    for row in rows.values():
        assert np.isnan([row.value, row.lower, row.upper]).all()
        assert reason in row.note
    assert repr(beside) == repr(told(steep)[0])


def test_no_curves_have_no_phases():
    assert phases([], seed=0) == []


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (np.full(6, 0.7), "flat"),
        (np.zeros(6), "flat"),
        (0.1 + 1e-16 * np.arange(6), "flat"),
        (np.array([0.0, 0, 2, 4, 3, 2]), "rises then falls"),
    ],
)
def test_a_curve_without_noise_is_taken_as_it_is(values, shape):
    curve = noisy(values, rng=rng_of(), values=values, replicates=np.tile(values, (50, 1)))
    rows = told(curve)[0]
    assert rows["shape"].note == shape
    if shape == "rises then falls":
        assert rows["peak"].value == rows["peak"].lower == rows["peak"].upper == 3e9
        assert rows["onset"].value == rows["onset"].lower == rows["onset"].upper == 2e9


def test_an_interval_holds_its_estimate():
    for seed in range(15):
        truth = rng_of(seed).standard_normal(25).cumsum()
        for row in (told(noisy(truth, rng=rng_of(seed)))[0][name] for name in ("peak", "onset")):
            assert np.isnan(row.value) or row.lower <= row.value <= row.upper


@pytest.mark.parametrize("training", [np.zeros(25), np.append(np.arange(24.0), 3.0)])
def test_checkpoints_out_of_order_are_refused_by_name(training):
    with pytest.raises(MeasurementError, match=r"I\(T;X\) of d at block_3 \(nhsic_50\).*do not ascend"):
        noisy(np.zeros(25), rng=rng_of(), training=training)


@pytest.mark.parametrize(("spike", "ends"), [(2, (2e9, 12e9)), (22, (12e9, 22e9))])
def test_a_lone_spike_higher_than_the_mode_widens_the_interval_of_the_peak(spike, ends):
    truth = 40.0 - 3.0 * np.abs(CHECKPOINT - 12)
    truth[spike] = 45
    peak = told(noisy(truth, rng=rng_of()))[0]["peak"]
    assert peak.value == 12e9
    assert (peak.lower, peak.upper) == ends


def test_the_larger_turn_names_a_shape_even_where_the_smaller_one_is_measured_more_precisely():
    truth = 40 * np.interp(CHECKPOINT, [0, 3, 15, 24], [0.3, 0, 1, 0.2])
    growing = np.diag(np.linspace(0.2, 3, 25) ** 2)
    assert told(noisy(truth, rng=rng_of(), covariance=growing))[0]["shape"].note == "rises then falls"


def test_a_rise_that_the_closest_fit_does_not_have_has_no_onset():
    truth = np.interp(CHECKPOINT, [0, 6, 12, 24], [100, 0, 75, -400])
    onset = told(noisy(truth, rng=rng_of()))[0]["onset"]
    assert np.isnan([onset.value, onset.lower, onset.upper]).all()
    assert "closest has no rise" in onset.note


def test_four_checkpoints_suffice():
    curve = noisy(np.array([0.0, 20.0, 40.0, 10.0]), rng=rng_of())
    assert isinstance(curve, Curve)
    assert told(curve)[0]["shape"].note == "rises then falls"
