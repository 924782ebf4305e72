import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from tests.report.information_tables import X, Y, information_rows, published_rows
from tests.report.tables import Shape, as_table, rows
from trustrace.report.canvas import drawing_style, spaced
from trustrace.report.figures import write_figures
from trustrace.report.pivoting import pivot
from trustrace.report.plane_drawing import _apart, information, plane

SHAPE = Shape(datasets=("reliability/world",), n_checkpoints=6, n_blocks=2)


def _stems(folder, measured):
    return {file.stem for file in write_figures(pivot(as_table(measured)), folder)}


@pytest.fixture(scope="module")
def trace():
    return pivot(as_table(information_rows(SHAPE)))


def _panels(figure, name):
    return [panel for panel in figure.axes if name in panel.get_title("left")]


def test_both_figures_are_there_as_png_and_pdf(tmp_path):
    stems = _stems(tmp_path, information_rows(SHAPE))
    assert stems == {"information_reliability_world", "plane_reliability_world"}
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")}
    with Image.open(tmp_path / "information_reliability_world.png") as image:
        assert image.width > 700
        assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_figures_of_probes_stay_beside_those_of_the_plane(tmp_path):
    alone = _stems(tmp_path / "alone", rows(SHAPE))
    both = _stems(tmp_path / "both", [*rows(SHAPE), *information_rows(SHAPE)])
    assert both - alone == {"information_reliability_world", "plane_reliability_world"}
    assert alone <= both


def test_equal_tables_give_equal_files(tmp_path):
    for folder in ("first", "second"):
        _stems(tmp_path / folder, information_rows(SHAPE))
    for path in sorted((tmp_path / "first").iterdir()):
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_the_lines_are_the_numbers_of_the_table(trace):
    view = trace.information_views[0]
    with drawing_style():
        figure = information(trace, view)
    sites = trace.series[view.model].sites
    drawn = [line.get_ydata() for panel in figure.axes for line in panel.get_lines() if line.get_label() == "I(T;X)"]
    expected = trace.dependence(view, "nhsic_50", X).value[:6]
    assert len(drawn) == len(sites)
    np.testing.assert_array_equal(np.transpose(drawn), expected)


def test_a_peak_is_marked_where_it_was_found_and_nowhere_else(trace):
    with drawing_style():
        figure = information(trace, trace.information_views[0])
    marked = [
        panel.get_title("left")
        for panel in figure.axes
        if any("peak" in line.get_label() for line in panel.get_lines())
    ]
    assert marked == ["block_1", "final_norm"]


def test_the_site_that_is_the_moving_x_says_so(trace):
    with drawing_style():
        figure = information(trace, trace.information_views[0])
    assert len(_panels(figure, "X itself")) == 1


def test_a_ceiling_far_above_is_told_and_does_not_squeeze_the_curve():
    low = [
        replace(row, value=0.02, lower=0.01, upper=0.03) if (row.quantity, row.role) == (Y, "measured") else row
        for row in information_rows(SHAPE)
    ]
    trace = pivot(as_table(low))
    with drawing_style():
        figure = information(trace, trace.information_views[0])
    panels = [panel for panel in figure.axes if panel.texts]
    assert [panel.texts[0].get_text() for panel in panels] == ["ceiling 0.91"]
    assert panels[0].get_ylim()[1] < 0.5


def test_calibrated_planes_share_one_range_that_holds_zero(trace):
    with drawing_style():
        figure = plane(trace, trace.information_views[0])
    panels = _panels(figure, "calibrated")
    assert len(panels) == 2
    assert len({(panel.get_xlim(), panel.get_ylim()) for panel in panels}) == 1
    assert panels[0].get_xlim()[0] <= 0


@pytest.mark.parametrize(
    "change", ["published", "one checkpoint", "undefined", "only x", "only y", "only geometry", "no width"]
)
def test_whatever_of_it_was_measured_is_drawn(tmp_path, change):
    measured = {
        "published": lambda: published_rows(SHAPE),
        "one checkpoint": lambda: information_rows(replace(SHAPE, n_checkpoints=1)),
        "undefined": lambda: [
            replace(row, value=math.nan, lower=math.nan, upper=math.nan, note="constant")
            if row.site == "block_1" or row.role == "ceiling"
            else row
            for row in information_rows(SHAPE)
        ],
        "only x": lambda: [row for row in information_rows(SHAPE) if row.quantity.startswith(X)],
        "only y": lambda: [row for row in information_rows(SHAPE) if row.quantity.startswith(Y)],
        "only geometry": lambda: [row for row in information_rows(SHAPE) if row.method == "spectrum"],
        "no width": lambda: [row for row in information_rows(SHAPE) if row.method == "cka"],
    }[change]()
    stems = _stems(tmp_path, measured)
    with_plane = change not in {"only x", "only y", "only geometry"}
    assert ("plane_reliability_world" in stems) == with_plane
    assert ("information_reliability_world" in stems) == (change != "only geometry")


def test_protocols_get_files_of_their_own(tmp_path):
    stems = _stems(tmp_path, [*information_rows(SHAPE), *published_rows(SHAPE)])
    assert {"plane_reliability_world_rigorous", "plane_reliability_world_published"} <= stems


def test_many_sites_are_thinned_to_what_a_page_can_show(tmp_path):
    measured = information_rows(replace(SHAPE, n_blocks=20, n_checkpoints=2), others=False, widths=("nhsic_50",))
    assert len(_stems(tmp_path, measured)) == 2


def test_spaced_places_hold_the_ends_and_what_must_be_seen():
    assert spaced(5, 12) == [0, 1, 2, 3, 4]
    places = spaced(33, 12, always=17)
    assert len(places) == 12
    assert {0, 17, 32} <= set(places)


def test_names_are_moved_apart_and_stay_within_the_panel():
    moved = _apart([0.5, 0.5, 0.97, 0.99], gap=0.05)
    assert all(later - earlier >= 0.05 - 1e-9 for earlier, later in pairwise(moved))
    assert max(moved) <= 1
