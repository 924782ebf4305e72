import math
from dataclasses import replace

import pytest

from tests.report.information_tables import FINAL, MAIN, PEAK, X, Y, information_rows, published_rows
from tests.report.tables import Shape, as_table, rows
from trustrace.core.errors import RunError
from trustrace.report.axis import checkpoint_axis
from trustrace.report.information import (
    GEOMETRY,
    P_VALUE,
    is_information,
    main_method,
    methods_of,
    phase_part,
    x_quantities,
)
from trustrace.report.phase_sentences import beside, columns, count, moment_text, q_text, sentence, verdict
from trustrace.report.phases import judged, peak_place
from trustrace.report.pivoting import pivot

SHAPE = Shape(datasets=("reliability/world",), n_checkpoints=8, n_blocks=4)


@pytest.fixture(scope="module")
def measured():
    return information_rows(SHAPE)


@pytest.fixture(scope="module")
def trace(measured):
    return pivot(as_table([*rows(SHAPE), *measured]))


@pytest.fixture(scope="module")
def found(trace):
    return judged(trace, trace.information_views[0])


def _judged(measured):
    trace = pivot(as_table(measured))
    return judged(trace, trace.information_views[0])


def _with(measured, change, **where):
    def fits(row):
        return all(getattr(row, name) == value for name, value in where.items())

    return [replace(row, **change) if fits(row) else row for row in measured]


def test_numbers_of_the_plane_never_stand_among_those_of_probes(trace):
    alone = pivot(as_table(rows(SHAPE)))
    assert set(trace.grids) == set(alone.grids)
    assert trace.views == alone.views
    assert {address.quantity for address in trace.information} >= {X, Y, f"{X} calibrated", f"{Y}{P_VALUE}", *GEOMETRY}


def test_rows_on_phases_are_no_grid(trace, measured):
    told = {row.quantity for row in measured if phase_part(row.quantity)}
    assert len(told) == 9 * 7
    assert not told & {address.quantity for address in (*trace.grids, *trace.information)}
    assert len(trace.phases) == 9 * 6


def test_a_table_without_the_plane_has_none():
    trace = pivot(as_table(rows(SHAPE)))
    assert (trace.information_views, trace.phases, dict(trace.information)) == ((), (), {})


@pytest.mark.parametrize(
    ("quantity", "part"),
    [
        ("I(T;X) shape", ("I(T;X)", "shape")),
        ("I(T;X_tokens) calibrated fall q", ("I(T;X_tokens) calibrated", "fall q")),
        ("I(T;X) p-value", None),
        ("accuracy peak", ("accuracy", "peak")),
        ("effective_rank", None),
    ],
)
def test_what_is_said_of_a_whole_course_is_known_by_its_name(quantity, part):
    assert phase_part(quantity) == part


def test_only_dependence_and_geometry_belong_to_the_plane():
    assert all(map(is_information, (X, FINAL, f"{Y} calibrated", *GEOMETRY)))
    assert not any(map(is_information, ("accuracy", "v_information", "information_bound")))


def test_the_main_estimator_is_the_first_width_of_the_table_unless_phases_name_another(measured):
    without = [row for row in measured if not phase_part(row.quantity)]
    reordered = sorted(without, key=lambda row: row.method != "nhsic_200")
    trace = pivot(as_table(reordered))
    assert main_method(trace, trace.information_views[0]) == "nhsic_200"
    named = [replace(row, method="nhsic_400") if phase_part(row.quantity) else row for row in measured]
    trace = pivot(as_table(named))
    assert main_method(trace, trace.information_views[0]) == "nhsic_400"
    trace = pivot(as_table([row for row in measured if row.method == "cka"]))
    assert main_method(trace, trace.information_views[0]) == "cka"


def test_estimators_and_inputs_stand_in_the_order_of_the_table(trace):
    view = trace.information_views[0]
    assert methods_of(trace, view)[:3] == ("nhsic_50", "nhsic_100", "nhsic_200")
    assert "spectrum" not in methods_of(trace, view)
    assert x_quantities(trace, view) == [X, FINAL, "I(T;X_tokens)"]


def test_a_phase_holds_the_numbers_of_its_rows(found):
    phase = found["block_2", X, False]
    assert (phase.shape, phase.q, phase.method, phase.unit) == ("rises then falls", 0.01, MAIN, "tokens")
    assert phase.tests == {"rise p": 0.002, "rise q": 0.01, "fall p": 0.002, "fall q": 0.01}
    assert phase.peak.value == pytest.approx(10**PEAK)
    assert (phase.peak.lower, phase.peak.upper) == pytest.approx((0.5 * 10**PEAK, 1.7 * 10**PEAK))
    assert math.isnan(found["block_2", FINAL, True].peak.value)


def test_a_peak_stands_at_its_logarithm_on_the_axis(trace, found):
    axis = checkpoint_axis(trace.series[trace.information_views[0].model].checkpoints)
    assert peak_place(found["block_2", X, False], axis)[0] == pytest.approx(PEAK)
    assert peak_place(found["block_2", FINAL, True], axis) is None
    assert peak_place(replace(found["block_2", X, False], unit="steps"), axis) is None


def test_two_rows_on_the_same_phase_are_refused_by_name(measured):
    twice = [*measured, next(row for row in measured if row.quantity == "I(T;X) peak")]
    with pytest.raises(RunError, match=r"2 rows claim I\(T;X\) peak \(nhsic_50\) of reliability/world at embed"):
        pivot(as_table(twice))


def test_sites_are_counted_as_planted_and_the_moving_x_itself_is_not(found):
    assert str(count(found, X, is_calibrated=False)) == "4 of 5"
    assert str(count(found, X, is_calibrated=True)) == "2 of 5"
    assert str(count(found, FINAL, is_calibrated=True)) == "0 of 6"
    assert str(count(found, Y, is_calibrated=False)) == "6 of 6"


def test_the_verdict_sets_the_moving_x_beside_what_calibration_and_a_fixed_x_leave_of_it(found):
    assert verdict(found).split("; ") == [
        "Two phases of I(T;X), a rise and then a fall, at 4 of 5 sites with the moving X, calibrated at 2 of 5",
        "at 4 of 6 sites with X held fixed (final embedding), calibrated at 0 of 6",
        "at 4 of 6 sites with X held fixed (token identity), calibrated at 0 of 6. "
        "Where it shows with the moving X, the effective rank falls as well at 3 of 4. "
        "I(T;Y) rises and does not fall at 6 of 6 sites, calibrated at 6 of 6.",
    ]


def test_a_site_is_told_with_peak_interval_and_q(found):
    assert sentence(found, "block_2").startswith(
        "I(T;X) with the moving X rises then falls: peak at 25.1\u00a0M tokens (95 % interval 12.6\u00a0M to 42.7\u00a0M), falls "
        "afterwards, q = 0.010; calibrated it rises then falls: peak at"
    )
    assert "I(T;X) with X held fixed (final embedding) rises then falls" in sentence(found, "block_2")
    assert "calibrated it shows neither rise nor fall, q = 0.400." in sentence(found, "block_2")
    assert "(X itself)" in sentence(found, "block_0")


def test_of_a_site_where_all_is_flat_nothing_is_said(measured):
    flat = [
        replace(row, note="flat", value=0.5) if row.quantity.endswith("shape") and row.site == "embed" else row
        for row in measured
    ]
    assert sentence(_judged(flat), "embed") == ""
    assert sentence(_judged(flat), "block_1")


def test_a_peak_that_is_undefined_says_why(measured):
    spoiled = _with(
        measured,
        {"value": math.nan, "lower": math.nan, "upper": math.nan, "note": "two peaks"},
        quantity="I(T;X) peak",
    )
    phase = _judged(spoiled)["block_2", X, False]
    assert beside(phase) == ("peak: two peaks", "q = 0.010")
    assert "rises then falls, q = 0.010" in sentence(_judged(spoiled), "block_2")


def test_a_curve_that_could_not_be_judged_counts_neither_for_nor_against(measured):
    reason = "undefined: 3 checkpoints have a value, 4 are needed"
    spoiled = _with(measured, {"value": math.nan, "note": reason}, quantity="I(T;X) shape", site="block_1")
    found = _judged(spoiled)
    assert str(count(found, X, is_calibrated=False)) == "3 of 4"
    assert f"I(T;X) with the moving X is not judged ({reason})" in sentence(found, "block_1")


def test_phases_of_other_quantities_are_neither_shown_nor_taken_for_numbers(measured):
    others = [replace(row, quantity=row.quantity.replace("effective_rank", "auroc")) for row in measured]
    trace = pivot(as_table(others))
    assert not [a for a in (*trace.grids, *trace.information) if phase_part(a.quantity)]
    assert {phase.quantity for phase in trace.phases} == {X, FINAL, "I(T;X_tokens)", Y}


def test_steps_are_the_unit_where_no_tokens_are_known(measured):
    phase = _judged([replace(row, tokens_seen=None) for row in measured])["block_2", X, False]
    assert moment_text(phase.peak, phase.unit).startswith("25.1\u00a0M steps")


def test_only_the_raw_phases_of_one_quantity_are_enough(measured):
    alone = _judged([row for row in measured if not phase_part(row.quantity) or phase_part(row.quantity)[0] == X])
    assert columns(alone) == [(X, False)]
    assert verdict(alone) == "Two phases of I(T;X), a rise and then a fall, at 4 of 5 sites with the moving X."


def test_published_numbers_alone_have_no_phase_and_no_null():
    trace = pivot(as_table(published_rows(SHAPE)))
    assert judged(trace, trace.information_views[0]) == {}
    assert {address.role for address in trace.information} == {"measured"}
    assert main_method(trace, trace.information_views[0]) == "nhsic_50"


@pytest.mark.parametrize(("q", "text"), [(0.01, "q = 0.010"), (0.0004, "q < 0.001"), (1.0, "q = 1.000")])
def test_a_q_value_is_never_told_as_zero(q, text):
    assert q_text(q) == text
