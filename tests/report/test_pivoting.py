from dataclasses import replace

import numpy as np
import pytest

from tests.report.tables import MODEL, Shape, as_table, checkpoints, rows
from trustrace.core.draws import generator
from trustrace.core.errors import RunError
from trustrace.report.grids import UNMEASURED
from trustrace.report.pivoting import pivot

SMALL = Shape(datasets=("reliability/defined", "privacy/defined"), n_checkpoints=5, n_blocks=2)


@pytest.fixture(scope="module")
def measured():
    return rows(SMALL)


@pytest.fixture(scope="module")
def trace(measured):
    return pivot(as_table(measured))


def test_every_row_of_a_model_stands_in_its_own_cell_and_nothing_else_does(measured, trace):
    of_models = [row for row in measured if row.checkpoint]
    for row in of_models:
        series = trace.series[MODEL]
        column = [checkpoint.key for checkpoint in series.columns].index(row.checkpoint)
        view = next(view for view in trace.views if view.dataset == row.dataset)
        role = "control" if row.role == "control" else "measured"
        grid = trace.grid(view, row.method, row.quantity, role=role)
        cell = column, series.sites.index(row.site)
        got = [plane[cell] for plane in (grid.value, grid.lower, grid.upper, grid.n, grid.n_groups)]
        np.testing.assert_array_equal(got, [row.value, row.lower, row.upper, row.n, row.n_groups])
    filled = sum(int((grid.notes != UNMEASURED).sum()) for grid in trace.grids.values())
    assert filled == len(of_models)


def test_the_order_of_rows_changes_nothing(measured, trace):
    order = generator(0, "row order").permutation(len(measured))
    shuffled = pivot(as_table([measured[place] for place in order]))
    assert (shuffled.series, shuffled.views, set(shuffled.grids)) == (trace.series, trace.views, set(trace.grids))
    for address, grid in trace.grids.items():
        np.testing.assert_array_equal(shuffled.grids[address].value, grid.value)


def test_sites_run_from_input_to_output_and_checkpoints_from_early_to_late(trace):
    series = trace.series[MODEL]
    assert series.sites == ("embed", "block_0", "block_1", "final_norm")
    assert [checkpoint.key for checkpoint in series.checkpoints] == [
        checkpoint.key for checkpoint in checkpoints(SMALL)
    ]


def test_an_untrained_twin_is_a_column_apart_and_not_a_moment_of_the_series(trace):
    series = trace.series[MODEL]
    assert [twin.revision for twin in series.initialisations] == ["random_init_0"]
    assert series.columns[-1] is series.initialisations[0]


def test_control_labels_never_share_a_grid_with_real_ones(trace):
    view = trace.views[0]
    real, control = (trace.grid(view, "logistic", "accuracy", role=role).value for role in ("measured", "control"))
    assert np.nanmax(control) < np.nanmax(real)


@pytest.mark.parametrize(
    "change", [{"protocol": "published"}, {"position": "mean"}, {"seed": 1}, {"method": "logistic, unscaled"}]
)
def test_what_differs_in_protocol_position_seed_or_probe_is_never_mixed(measured, change):
    doubled = measured + [
        replace(row, value=row.value + 1, **change) for row in measured if row.checkpoint and row.method == "logistic"
    ]
    both = pivot(as_table(doubled))
    alone = pivot(as_table(measured))
    for address, grid in alone.grids.items():
        np.testing.assert_array_equal(both.grids[address].value, grid.value)


def test_two_rows_for_one_place_are_refused_by_name(measured):
    twice = [*measured, replace(measured[-1], value=0.1)]
    with pytest.raises(
        RunError, match=r"2 rows claim .* final_norm of acme--tiny-llama@random_init_0, protocol rigorous, seed 0"
    ):
        pivot(as_table(twice))


def test_an_undefined_number_keeps_its_note_and_an_absent_one_is_told_apart(measured):
    row = next(row for row in measured if row.checkpoint and row.quantity == "auroc" and row.site == "block_0")
    others = [other for other in measured if other is not row]
    absent = pivot(as_table(others))
    undefined = pivot(as_table([*others, replace(row, value=float("nan"), note="one class in the test rows")]))
    view = absent.views[0]
    cell = 0, 1
    assert absent.grid(view, row.method, "auroc").notes[cell] == UNMEASURED
    assert np.isnan(absent.grid(view, row.method, "auroc").value[cell])
    assert undefined.notes[undefined.grid(view, row.method, "auroc").notes[cell]] == "one class in the test rows"


def test_sites_of_another_tool_follow_the_known_ones(measured):
    renamed = [replace(row, site="attention_3") if row.site == "block_0" else row for row in measured]
    assert pivot(as_table(renamed)).series[MODEL].sites == ("embed", "block_1", "final_norm", "attention_3")


def test_an_empty_table_is_an_empty_trace():
    trace = pivot(as_table([]))
    assert (trace.views, trace.datasets, trace.text_floors, dict(trace.grids)) == ((), (), (), {})


def test_the_view_to_show_unasked_is_rigorous_at_the_last_token():
    shape = replace(SMALL, datasets=("privacy/defined",), n_checkpoints=2)
    tables = [
        rows(replace(shape, protocol=protocol, position=position))
        for protocol in ("published", "rigorous")
        for position in ("mean", "last")
    ]
    views = pivot(as_table([row for table in tables for row in table])).views
    assert [(view.protocol, view.position) for view in views] == [
        ("rigorous", "last"),
        ("rigorous", "mean"),
        ("published", "last"),
        ("published", "mean"),
    ]
