import base64
import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.report.tables import Shape, as_table, rows
from trustrace.report.packing import rounded
from trustrace.report.payload import PLANES, as_json, payload
from trustrace.report.pivoting import pivot

SHAPE = Shape(datasets=("reliability/defined", "toxicity/defined"), n_checkpoints=4, n_blocks=1)


@pytest.fixture(scope="module")
def trace():
    return pivot(as_table(rows(SHAPE)))


def _unpacked(text):
    shuffled = np.frombuffer(gzip.decompress(base64.b64decode(text)), dtype=np.uint8)
    return shuffled.reshape(4, -1).T.copy().view("<f4").ravel()


def test_every_grid_is_found_at_its_place_in_the_block(trace):
    content = payload(trace)
    numbers, at = _unpacked(content["numbers"]), 0
    for address in content["grids"]:
        view = next(v for v in trace.views if v.dataset == address["dataset"])
        grid = trace.grid(view, address["method"], address["quantity"], role=address["role"])
        for name in PLANES:
            expected = getattr(grid, name).ravel()
            np.testing.assert_allclose(numbers[at : at + expected.size], expected, rtol=2**-16, equal_nan=True)
            at += expected.size
    assert at == numbers.size


@given(arrays.arrays(np.float32, 20, elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)))
def test_rounding_stays_within_half_of_the_last_kept_bit(numbers):
    np.testing.assert_array_less(np.abs(rounded(numbers) - numbers), np.abs(numbers) * 2.0**-17 + 1e-30)


def test_what_is_not_finite_is_carried_as_it_is():
    numbers = np.array([math.nan, math.inf, -math.inf], dtype="<f4")
    np.testing.assert_array_equal(rounded(numbers), numbers)


@given(st.text())
def test_no_text_can_end_the_element_that_holds_it(text):
    written = as_json({"a": f"</script><!--{text}<script>"})
    assert "<" not in written
    assert written.isascii()
    assert json.loads(written) == {"a": f"</script><!--{text}<script>"}


def test_equal_tables_give_equal_bytes(trace):
    again = pivot(as_table(rows(SHAPE)))
    assert as_json(payload(trace)) == as_json(payload(again))


def test_undefined_floors_are_null_and_not_a_token_json_does_not_have():
    spoiled = [
        replace(row, value=math.nan, note="no test rows") if row.method == "majority" else row for row in rows(SHAPE)
    ]
    content = json.loads(as_json(payload(pivot(as_table(spoiled)))))
    assert {row["value"] for row in content["floors"] if row["method"] == "majority"} == {None}
