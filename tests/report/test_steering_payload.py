import base64
import gzip
import json
import math
from dataclasses import replace

import pytest

from tests.report.steering_tables import SteeringShape, steering_rows, write_steering_run
from trustrace.report.payload import as_json
from trustrace.report.run_folder import read_run
from trustrace.report.steering_charts import control_range, dose_chart, in_focus, radar
from trustrace.report.steering_findings import findings
from trustrace.report.steering_folder import read_steering
from trustrace.report.steering_payload import COLUMNS, steering_payload
from trustrace.report.steering_runs import steering_run


def _run(folder, **parts):
    path = write_steering_run(folder / "run", **parts)
    run = steering_run(read_run(path), read_steering(path))
    return run, findings(run)


def _book(content):
    columns = json.loads(gzip.decompress(base64.b64decode(content["steering"]["book"])))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    run, found = _run(tmp_path_factory.mktemp("run"))
    return json.loads(as_json(steering_payload(run, found)))


@pytest.fixture(scope="module")
def known():
    return {
        (row.checkpoint, row.dataset, row.quantity, row.vector, row.site, row.alpha): row
        for row in steering_rows(SteeringShape())
    }


def test_every_number_that_the_page_carries_is_a_row_of_the_table(content, known):
    book = _book(content)
    assert len(book) > 100
    for row in book:
        place = tuple(row[name] for name in ("checkpoint", "dataset", "quantity", "vector", "site", "alpha"))
        for name in ("value", "lower", "upper", "n"):
            assert row[name] == pytest.approx(getattr(known[place], name), rel=1e-8)
    assert len({json.dumps(row) for row in book}) == len(book)
    assert set(COLUMNS) == set(book[0])


def test_a_line_holds_every_strength_of_its_vector_at_its_site(content, known):
    book, article = _book(content), content["steering"]["articles"][0]
    line = next(
        one for one in article["dose"]["lines"] if one["vector"].endswith("step_00100") and one["site"] == "block_0"
    )
    assert [alpha for alpha, *_ in line["doses"]] == [-0.5, 0.5, 1.0]
    for alpha, aimed, cost in line["doses"]:
        assert book[cost]["dataset"] == "lambada/development"
        assert book[cost]["alpha"] == alpha
        if alpha == 1.0:
            assert aimed is None  # It passed the bound, so it was not tried on the task.
        else:
            assert (book[aimed]["dataset"], book[aimed]["quantity"]) == ("truthfulqa_mc1/development", "accuracy")
            assert book[aimed]["alpha"] == alpha
    assert line["chosen"] is None
    plain = article["dose"]["plain"]
    assert (plain[0], book[plain[1]]["value"], book[plain[2]]["value"]) == (0.0, 0.4, 4.5)


def test_points_of_the_front_are_of_the_test_half_and_carry_their_role(content):
    book, article = _book(content), content["steering"]["articles"][0]
    groups = [point["group"] for point in article["front"]]
    assert groups == ["plain", *["vector"] * 3, *["control"] * 3, "instruction"]
    for point in article["front"]:
        assert [book[place]["dataset"].rpartition("/")[2] for place in point["numbers"]] == ["test"] * 4
        assert all(
            [book[place]["vector"], book[place]["site"], book[place]["alpha"]] == point["setting"]
            for place in point["numbers"]
        )
    assert [point["is_on_front"] for point in article["front"]] == [False, False, False, True, *[False] * 4]
    assert article["best"] == article["front"][3]["setting"]


def test_checkpoints_bring_their_separation_and_the_correlation(content):
    book, article = _book(content), content["steering"]["articles"][0]
    (course,) = article["courses"]
    assert [content["steering"]["sources"][place]["label"] for place, *_ in course["points"]] == [
        "0 tokens",
        "10.0\u00a0M tokens",
        "100\u00a0M tokens",
    ]
    for source, separation, steered in course["points"]:
        key = content["steering"]["sources"][source]["key"]
        assert (book[separation]["checkpoint"], book[separation]["quantity"]) == (key, "separation")
        assert key in book[steered]["vector"]
    assert book[course["correlation"]]["value"] == 0.98


def test_a_radar_places_the_better_end_outwards_and_names_its_range(content):
    article = content["steering"]["articles"][1]
    axes = {axis["title"]: (axis["worst"], axis["best"]) for axis in article["radar"]["axes"]}
    assert axes["ToxiGen: toxic"] == ("0.300", "0.100")
    assert axes["LAMBADA, last word: perplexity"][1] == "4.500"
    best = next(shape for shape in article["radar"]["shapes"] if shape["name"] == "best vector")
    places = dict(zip(axes, best["places"], strict=True))
    assert places["ToxiGen: toxic"] == 1
    assert places["LAMBADA, last word: perplexity"] < 0.1
    assert len(article["radar"]["controls"]) == 3


def test_the_band_of_controls_is_their_lowest_and_highest_at_the_site_in_focus(tmp_path):
    run, (truth, _) = _run(tmp_path)
    chart = dose_chart(run, truth)
    assert in_focus(chart, truth).site == "block_1"
    known = {
        (row.vector, row.alpha): row.value
        for row in steering_rows(SteeringShape())
        if (row.dataset, row.quantity, row.site) == ("truthfulqa_mc1/development", "accuracy", "block_1")
    }
    for alpha, low, high in control_range(chart, "block_1", is_cost=False):
        values = [known[f"random_{place}:{truth.aim.contrast}", alpha] for place in range(3)]
        assert (low, high) == (min(values), max(values))


def test_fewer_than_three_abilities_make_no_radar(tmp_path):
    rows = [row for row in steering_rows(SteeringShape(general=False)) if not row.dataset.startswith("toxigen")]
    run, found = _run(tmp_path, shape=SteeringShape(general=False), rows=rows)
    assert len(run.abilities) == 2
    assert radar(run, found[0]).axes == ()


def test_undefined_numbers_travel_as_null(tmp_path):
    rows = [
        replace(row, value=math.nan, lower=math.inf) if row.dataset == "arc_easy/test" else row
        for row in steering_rows(SteeringShape())
    ]
    run, found = _run(tmp_path, rows=rows)
    book = _book(json.loads(as_json(steering_payload(run, found))))
    assert {row["value"] for row in book if row["dataset"] == "arc_easy/test"} == {None}
    assert "arc_easy" not in {axis.ability.task for axis in radar(run, found[0]).axes}
