from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.report.steering_tables import SteeringShape, steering_rows, write_steering_run
from trustrace.report.canvas import drawing_style
from trustrace.report.run_folder import read_run
from trustrace.report.steering_drawing import (
    checkpoints_figure,
    dose_figure,
    front_figure,
    radar_figure,
    trade_off_figure,
)
from trustrace.report.steering_figures import write_steering_figures
from trustrace.report.steering_findings import findings
from trustrace.report.steering_folder import read_steering
from trustrace.report.steering_runs import steering_run


def _run(folder, shape=None, **parts):
    path = write_steering_run(folder / "run", shape, **parts)
    run = steering_run(read_run(path), read_steering(path))
    return run, findings(run)


@pytest.fixture(scope="module")
def steered(tmp_path_factory):
    return _run(tmp_path_factory.mktemp("run"))


def test_every_figure_is_there_as_png_and_pdf(tmp_path, steered):
    run, found = steered
    written = write_steering_figures(run, found[:1], tmp_path)
    stems = [file.stem for file in written.of_findings[0]]
    assert stems == [f"{kind}_reliability_defined" for kind in ("dose", "front", "checkpoints", "radar")]
    assert [file.stem for file in written.of_targets.values()] == ["trade_offs"]
    expected = {f"{stem}.{kind}" for stem in [*stems, "trade_offs"] for kind in ("png", "pdf")}
    assert {path.name for path in tmp_path.iterdir()} == expected
    with Image.open(tmp_path / "radar_reliability_defined.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_the_lines_of_a_dose_are_the_numbers_of_the_table(steered):
    run, (truth, _) = steered
    with drawing_style():
        figure = dose_figure(run, truth)
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "best vector"]
    known = {
        row.alpha: row.value
        for row in steering_rows(SteeringShape())
        if (row.dataset, row.quantity, row.vector, row.site)
        == ("truthfulqa_mc1/development", "accuracy", truth.best.setting.vector, "block_1")
    }
    assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == pytest.approx({0.0: 0.4, **known})
    assert [panel.get_yscale() for panel in figure.axes] == ["linear", "linear", "log", "log"]


def test_the_front_has_a_panel_for_each_cost_and_rings_what_none_beats(steered):
    run, (truth, _) = steered
    with drawing_style():
        figure = front_figure(run, truth)
    assert [panel.get_xlabel() for panel in figure.axes] == ["LAMBADA, last word: perplexity", "ARC, easy: accuracy"]
    rings = [line for line in figure.axes[0].get_lines() if line.get_label() == "beaten by none"]
    best = truth.best.effect.steered.value
    assert [float(ring.get_ydata()[0]) for ring in rings] == [best]


def test_the_radar_reaches_its_rim_where_the_best_vector_is_best_of_all(steered):
    run, (truth, _) = steered
    with drawing_style():
        figure = radar_figure(run, truth)
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "best vector"]
    places = dict(
        zip(
            [" ".join(text.get_text().split("\n")[:2]) for text in figure.axes[0].get_xticklabels()],
            line.get_ydata(),
            strict=False,
        )
    )
    assert places["TruthfulQA MC1: accuracy"] == pytest.approx(1.0)
    assert places["LAMBADA, last word: perplexity"] < 0.3


def test_checkpoints_are_drawn_beside_their_correlation(steered):
    run, (truth, _) = steered
    with drawing_style():
        figure = checkpoints_figure(run, truth)
    assert figure.axes[0].get_title("left") == "r = 0.980 [0.970, 0.990], n = 200"
    (line,) = [line for line in figure.axes[1].get_lines() if line.get_label() == "by checkpoint"]
    assert np.allclose(line.get_ydata(), [0.6, 0.7, 0.8])


@pytest.mark.parametrize(
    "shape",
    [
        SteeringShape(n_random=0, instruction=False),
        SteeringShape(n_sources=1, n_random=1),
        SteeringShape(general=False),
    ],
)
def test_whatever_is_missing_the_rest_is_drawn(tmp_path, shape):
    run, found = _run(tmp_path, shape)
    with drawing_style():
        for draw in (dose_figure, front_figure, checkpoints_figure, radar_figure):
            assert draw(run, found[0]) is not None
        assert trade_off_figure(run, found) is not None


def test_what_was_not_measured_is_not_drawn(tmp_path):
    rows = [row for row in steering_rows(SteeringShape()) if not row.vector or row.quantity == "separation"]
    told = [row for row in steering_rows(SteeringShape()) if row.vector.startswith("instruction")]
    run, found = _run(tmp_path, rows=[*rows, *told])
    with drawing_style():
        assert dose_figure(run, found[0]) is None
        assert checkpoints_figure(run, found[0]) is None
        assert trade_off_figure(run, found) is None
        assert front_figure(run, found[0]) is not None


def test_names_with_signs_of_markup_are_drawn_as_they_are(tmp_path):
    rows = [
        replace(row, site="$x_{" if row.site else "") for row in steering_rows(SteeringShape()) if row.site != "block_0"
    ]
    run, found = _run(tmp_path, rows=rows)
    with drawing_style():
        dose_figure(run, found[0]).canvas.draw()
