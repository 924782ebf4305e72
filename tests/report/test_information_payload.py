import base64
import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.report.information_tables import MAIN, X, Y, information_rows, published_rows
from tests.report.tables import Shape, as_table, rows
from trustrace.report import information_payload as carrying
from trustrace.report.grids import Address
from trustrace.report.information_payload import information_payload, left_out
from trustrace.report.payload import as_json, payload
from trustrace.report.pivoting import pivot

SHAPE = Shape(datasets=("reliability/world", "toxicity/defined"), n_checkpoints=5, n_blocks=2)


@pytest.fixture(scope="module")
def trace():
    return pivot(as_table([*rows(SHAPE), *information_rows(SHAPE)]))


def _unpacked(text):
    shuffled = np.frombuffer(gzip.decompress(base64.b64decode(text)), dtype=np.uint8)
    return shuffled.reshape(4, -1).T.copy().view("<f4").ravel()


def _grids(trace, content):
    for address in content["grids"]:
        view = trace.information_views[address["view"]]
        at = Address(view=view, **{part: address[part] for part in ("method", "role", "quantity")})
        yield address, trace.information[at]


def test_every_plane_is_found_at_its_place_or_is_one_number(trace):
    content = information_payload(trace)
    numbers, at = _unpacked(content["numbers"]), 0
    for address, grid in _grids(trace, content):
        for name in address["planes"]:
            expected = getattr(grid, name).ravel()
            np.testing.assert_allclose(numbers[at : at + expected.size], expected, rtol=2**-16, equal_nan=True)
            at += expected.size
        for name, constant in address["constants"].items():
            same = np.full(grid.value.shape, math.nan if constant is None else constant)
            np.testing.assert_array_equal(getattr(grid, name), same)
    assert at == numbers.size


def test_the_main_estimator_travels_whole_and_the_others_as_values(trace):
    for address, _ in _grids(trace, information_payload(trace)):
        told = {*address["planes"], *address["constants"]}
        whole = address["role"] == "measured" and "p-value" not in address["quantity"]
        if address["method"] in {MAIN, "spectrum"} and whole:
            assert told == {"value", "lower", "upper", "n", "notes"}
        elif address["role"] == "null":
            assert told == {"value", "lower", "upper"}
        else:
            assert told == {"value"}


def test_a_plane_that_never_differs_takes_no_room(trace):
    content = information_payload(trace)
    ceiling = next(address for address in content["grids"] if address["role"] == "ceiling")
    assert (ceiling["planes"], ceiling["constants"]) == ((), {"value": pytest.approx(0.909)})


def test_where_there_is_no_room_the_main_estimator_stays_and_the_rest_is_named(trace, monkeypatch):
    whole = sum(len(address["planes"]) for address in information_payload(trace)["grids"])
    assert left_out(trace) == []
    monkeypatch.setattr(carrying, "MOST_CELLS", 10)
    content = information_payload(trace)
    assert {address["method"] for address in content["grids"]} == {MAIN, "spectrum"}
    assert sum(len(address["planes"]) for address in content["grids"]) < whole
    assert set(left_out(trace)) >= {"nhsic_100", "nhsic_median", "cka", "ksg"}


def test_calibrated_values_of_other_widths_are_the_last_to_go(trace, monkeypatch):
    cells = sum(len(a["planes"]) * g.value.size for a, g in _grids(trace, information_payload(trace)))
    monkeypatch.setattr(carrying, "MOST_CELLS", cells - 1)
    carried = {(a["method"], a["quantity"]) for a, _ in _grids(trace, information_payload(trace))}
    assert ("nhsic_100", f"{X} calibrated") in carried
    assert ("nhsic_100", X) not in carried


def test_a_peak_is_carried_as_places_on_the_axis(trace):
    phases = information_payload(trace)["views"][0]["phases"]
    peaks = {(phase["site"], phase["quantity"]): phase for phase in phases}
    sites = trace.series[trace.information_views[0].model].sites
    assert len(peaks[sites.index("block_1"), X]["peak"]) == 3
    assert peaks[sites.index("block_1"), Y]["peak"] == []


def test_undefined_numbers_and_lone_protocols_are_json(trace):
    spoiled = [replace(row, value=math.nan, lower=math.nan, note="too few rows") for row in information_rows(SHAPE)]
    for measured in (spoiled, published_rows(SHAPE), information_rows(replace(SHAPE, n_checkpoints=1))):
        content = json.loads(as_json(payload(pivot(as_table(measured)))))
        assert content["information"]["views"]


def test_a_table_without_the_plane_carries_none_of_it():
    assert payload(pivot(as_table(rows(SHAPE))))["information"] is None


def test_equal_tables_give_equal_bytes(trace):
    again = pivot(as_table([*rows(SHAPE), *information_rows(SHAPE)]))
    assert as_json(payload(trace)) == as_json(payload(again))
