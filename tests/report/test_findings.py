import math
from dataclasses import replace

import pytest

from tests.report.tables import Shape, as_table, rows
from trustrace.report.findings import UNCHOSEN, chosen_sites, finding, focus_site, strongest
from trustrace.report.pivoting import pivot
from trustrace.report.sentences import claim, details, number, with_interval

SHAPE = Shape(datasets=("reliability/defined",), n_checkpoints=8, n_blocks=2)


@pytest.fixture(scope="module")
def measured():
    return rows(SHAPE)


def _found(measured, **arguments):
    trace = pivot(as_table(measured))
    return finding(trace, trace.views[0], **arguments)


def _with(measured, change, **where):
    def fits(row):
        return all(getattr(row, name) == value for name, value in where.items())

    return [replace(row, **change(row)) if fits(row) else row for row in measured]


def test_the_best_site_is_chosen_inside_training_rows_and_never_by_a_test_score(measured):
    tempted = _with(
        measured, lambda _: {"value": 0.999, "lower": 0.99}, site="final_norm", quantity="accuracy", role="measured"
    )
    trace, plain = pivot(as_table(tempted)), pivot(as_table(measured))
    assert chosen_sites(trace, trace.views[0]).tolist() == chosen_sites(plain, plain.views[0]).tolist()
    assert finding(trace, trace.views[0]).final.site != "final_norm"


def test_the_lowest_selection_loss_wins_and_a_tie_goes_to_the_shallower_site(measured):
    flat = _with(measured, lambda _: {"value": 0.5}, quantity="selection_log_loss")
    assert _found(flat).final.site == "embed"
    best = _with(flat, lambda _: {"value": 0.4}, quantity="selection_log_loss", site="block_1")
    assert _found(best).final.site == "block_1"


def test_the_first_checkpoint_above_every_floor_is_the_one_a_plain_loop_finds(measured):
    found = _found(measured)
    by_hand = None
    for checkpoint in dict.fromkeys(
        row.checkpoint for row in measured if row.checkpoint and "random" not in row.checkpoint
    ):
        here = [
            row
            for row in measured
            if row.checkpoint == checkpoint and row.method == "logistic" and row.role == "measured"
        ]
        site = min((row for row in here if row.quantity == "selection_log_loss"), key=lambda row: row.value).site
        accuracy = {row.site: row for row in here if row.quantity == "accuracy"}
        text = [row.value for row in measured if not row.checkpoint and row.quantity == "accuracy"]
        twin = [
            row.value
            for row in measured
            if "random_init" in row.checkpoint
            and (row.site, row.quantity, row.method, row.role) == (site, "accuracy", "logistic", "floor")
        ]
        if accuracy[site].lower > max([*text, *twin, accuracy["embed"].value]):
            by_hand = (checkpoint, site)
            break
    assert by_hand == (found.first.checkpoint.key, found.first.site)


@pytest.mark.parametrize(
    "raised",
    [{"method": "char_ngrams", "role": "floor"}, {"site": "embed"}, {"checkpoint": "acme--tiny-llama@random_init_0"}],
)
def test_each_kind_of_floor_alone_can_deny_emergence(measured, raised):
    assert _found(measured).first is not None
    assert _found(_with(measured, lambda _: {"value": 0.97}, quantity="accuracy", **raised)).first is None


def test_nothing_emerges_from_a_table_at_chance(measured):
    flat = _with(measured, lambda row: {"value": 0.5, "lower": 0.47, "upper": 0.53}, quantity="accuracy")
    found = _found(flat)
    assert found.first is None
    assert claim(found) == "Not readable above every floor at any of 8 checkpoints."
    assert details(found)[0].startswith("At the last checkpoint")


def test_without_an_interval_or_a_floor_nothing_is_claimed(measured):
    bare = [replace(row, lower=math.nan, upper=math.nan) for row in measured]
    assert "No interval was measured" in claim(_found(bare))
    lone = [row for row in measured if row.role == "measured" and row.site != "embed"]
    assert "No floor was measured" in claim(_found(lone))


def test_without_a_loss_inside_training_rows_no_site_is_chosen_and_the_range_is_told(measured):
    published = [replace(row, protocol="published") for row in measured if row.quantity != "selection_log_loss"]
    trace = pivot(as_table(published))
    assert focus_site(trace, trace.views[0]) == UNCHOSEN
    found = finding(trace, trace.views[0])
    assert "No site is chosen" in claim(found)
    last = [
        row for row in published if row.checkpoint == found.final_range[0].checkpoint.key and row.quantity == "accuracy"
    ]
    values = [row.value for row in last if row.method == "logistic" and row.role == "measured"]
    assert (found.final_range[0].value, found.final_range[1].value) == (min(values), max(values))
    assert f"between {with_interval(*_ends(found.final_range[0]))} ({found.final_range[0].site})" in details(found)[0]


def _ends(reading):
    return reading.value, reading.lower, reading.upper


def test_the_claim_names_place_time_number_interval_n_and_floor(measured):
    found = _found(measured)
    first, floor = found.first, strongest(found.floors[found.onset])
    assert claim(found) == (
        f"Becomes readable at {first.site} after {_tokens(first)}: {first.value:.2f} [{first.lower:.2f}, {first.upper:.2f}], n = 960, "
        f"strongest floor {floor.value:.2f} (character n-grams)."
    )
    assert details(found)[0] == f"It stays above every floor at all {len(found.later)} later checkpoints."


def _tokens(reading):
    return f"{reading.checkpoint.tokens_seen / 1e6:.3g}\u00a0M tokens"


def test_a_fall_back_to_the_floors_is_told(measured):
    found = _found(measured)
    last = found.final.checkpoint.key
    fallen = _found(_with(measured, lambda _: {"value": 0.5, "lower": 0.47}, checkpoint=last, quantity="accuracy"))
    assert (
        details(fallen)[0] == f"It does so at {len(found.later) - 1} of {len(found.later)} later checkpoints as well."
    )


def test_one_checkpoint_is_called_the_only_one():
    alone = [
        row for row in rows(SHAPE) if row.tokens_seen is None or row.tokens_seen > 2e9 or "random" in row.checkpoint
    ]
    found = _found(alone)
    assert claim(found).startswith("Readable at block_1, at the only checkpoint (2.15\u00a0B tokens): 0.")
    assert details(found) == ()


def test_a_probe_without_a_selection_loss_borrows_the_logistic_probes_choice(measured):
    assert _found(measured, method="mass_mean").final.site == _found(measured).final.site


def test_undefined_numbers_are_called_undefined():
    assert number(math.nan) == "undefined"
    assert with_interval(0.5, math.nan, math.nan) == "0.50"
    assert with_interval(-0.25, -0.3, 0.1) == "\u22120.25 [\u22120.30, 0.10]"
