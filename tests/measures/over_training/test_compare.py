from dataclasses import replace

import numpy as np
import pytest

from tests.measures.over_training.planted import QUICK, activations, coins, statements_of, stored
from trustrace.core.errors import AlignmentError, IntegrityError, MeasurementError
from trustrace.measures.measure import measure
from trustrace.measures.over_training.alone import Alone
from trustrace.measures.over_training.compare import compare, spread_out
from trustrace.measures.over_training.config import OverTrainingConfig
from trustrace.measures.over_training.views import Design

OVER = OverTrainingConfig(exchanges=499, matrix_draws=100, blocks=4, halvings=1, rank=2, hardest=3)
LABELS = coins(160)
STATEMENTS = statements_of(LABELS, n_groups=40)
EMERGED = 5
STRENGTHS = np.where(np.arange(12) >= EMERGED, 1.2, 0.0)


def series_of(folder, *, strengths=STRENGTHS, seed=0):
    early, late = (activations(LABELS, s, seed=seed + k) for k, s in enumerate((np.zeros_like(strengths), strengths)))
    return [
        stored(folder, place, {"block_0": one, "block_1": other})
        for place, (one, other) in enumerate(zip(early, late, strict=True))
    ]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    series = series_of(tmp_path_factory.mktemp("series"))
    return series, compare(series, STATEMENTS, config=QUICK, over=OVER, seed=0)


def rows_of(compared):
    return compared[1].measurements(dataset="example", position="last", seed=0)


def test_a_concept_that_emerges_at_one_site_is_found_there_and_nowhere_else(compared):
    rows = {(row.site, row.quantity): row for row in rows_of(compared) if row.quantity.startswith("accuracy emergence")}
    found, missing = rows[("block_1", "accuracy emergence step")], rows[("block_0", "accuracy emergence step")]
    assert found.lower <= 1000 * 2**EMERGED <= found.upper <= 4 * found.lower
    assert np.isnan(missing.value)
    assert missing.note.startswith("never")
    assert found.checkpoint == compared[0][-1].checkpoint.key


def test_pairs_across_the_emergence_are_told_apart_and_others_are_not(compared):
    rows = [row for row in rows_of(compared) if row.quantity == "accuracy change q"]
    steps = [one.checkpoint.key for one in compared[0]]
    crossing, other = [], []
    for row in rows:
        source = row.method.split(" from ")[1]
        crosses = row.site == "block_1" and steps.index(source) < EMERGED <= steps.index(row.checkpoint)
        (crossing if crosses else other).append(row.value <= 0.05)
    assert all(crossing)
    assert sum(other) <= 0.1 * (sum(other) + len(crossing))
    assert len(rows) == 2 * 66


def test_accuracies_on_the_diagonal_and_in_the_course_are_those_of_measure(compared):
    series, result = compared
    cells = {
        (c.source, c.target): c.estimate.value
        for c in result.sites[1].cells
        if (c.estimate.quantity, c.estimate.method) == ("transfer accuracy", "logistic own")
    }
    (own,) = [
        row
        for row in measure(series[8], STATEMENTS, config=QUICK, protocol="rigorous", seed=0, sites=["block_1"])
        if (row.quantity, row.method, row.role) == ("accuracy", "logistic", "measured")
    ]
    key = series[8].checkpoint.key
    assert cells[(key, key)] == own.value
    assert np.mean((result.sites[1].log_odds[8] > 0) == LABELS) == own.value


def test_sites_of_the_last_checkpoint_are_compared_with_each_other(compared):
    layers = {
        (c.source, c.target, c.estimate.quantity, c.estimate.method): c.estimate.value for c in compared[1].layers
    }
    assert layers[("block_1", "block_1", "transfer accuracy", "logistic own")] > 0.8
    assert layers[("block_1", "block_0", "transfer auroc", "logistic own")] == pytest.approx(0.5, abs=0.2)


def test_every_number_has_its_place_and_its_n(compared):
    rows = rows_of(compared)
    assert {row.site for row in rows} == {"block_0", "block_1"}
    assert all(row.n == 160 and row.n_groups == 40 for row in rows)
    assert all(row.note for row in rows if np.isnan(row.value) and not row.quantity.startswith("subspace"))
    quantities = {row.quantity for row in rows}
    assert {"transfer accuracy", "transfer auroc", "direction cosine", "subspace overlap"} <= quantities
    assert {"noise tolerance", "forgettings", "never right", "accuracy change p"} <= quantities
    keys = [(r.quantity, r.method, r.role, r.site, r.checkpoint) for r in rows]
    layered = len(compared[1].layers)
    assert len(set(keys)) == len(keys) >= layered


def test_statements_have_their_courses(compared):
    found = compared[1].sites[1].trajectories
    assert [one.row for one in found] == list(range(160))
    learned = [one.learned_at for one in found if one.learned_at is not None]
    assert np.median(learned) == EMERGED


def test_equal_checkpoints_are_named(tmp_path):
    series = series_of(tmp_path, strengths=STRENGTHS[:5])
    again = replace(series[2], path=series[1].path)
    result = compare([*series[:2], again, *series[3:]], STATEMENTS, config=QUICK, over=OVER, seed=0, sites=["block_0"])
    assert result.duplicates == ((series[1].checkpoint.key, series[2].checkpoint.key),)
    assert result.layers == ()


def test_mistakes_are_named(tmp_path):
    series = series_of(tmp_path, strengths=STRENGTHS[:3])

    def ask(some, statements=STATEMENTS, **more):
        return compare(some, statements, config=QUICK, over=OVER, seed=0, **more)

    with pytest.raises(MeasurementError, match="at least two"):
        ask(series[:1])
    with pytest.raises(AlignmentError, match="occurs 2 times"):
        ask([series[0], series[0]])
    with pytest.raises(AlignmentError, match="order of training"):
        ask(series[::-1])
    with pytest.raises(AlignmentError, match="other statements"):
        ask(series, STATEMENTS.take(range(100)))
    with pytest.raises(AlignmentError, match="other statements"):
        ask([series[0], replace(series[1], fingerprint="another")])
    with pytest.raises(AlignmentError, match="widths"):
        ask([series[0], replace(series[1], d_model=5)])
    with pytest.raises(MeasurementError, match="block_9"):
        ask(series, sites=["block_9"])


def test_compared_checkpoints_are_spread_over_the_series_with_its_ends():
    assert spread_out(5, most=40) == [0, 1, 2, 3, 4]
    assert spread_out(101, most=5) == [0, 25, 50, 75, 100]


def test_checkpoints_whose_activations_have_gone_change_no_course_and_are_left_out_of_the_pairs(compared):
    series, whole = compared
    few = OVER.model_copy(update={"matrix_checkpoints": 4})
    design = Design.of(STATEMENTS, config=QUICK, seed=0)
    places = spread_out(len(series), most=4)
    members = [
        one
        if place in places
        else Alone.from_bytes(Alone.of(one, design, config=QUICK).to_bytes(), checkpoint=one.checkpoint)
        for place, one in enumerate(series)
    ]
    wanted = compare(series, STATEMENTS, config=QUICK, over=few, seed=0)
    rows = [
        result.measurements(dataset="example", position="last", seed=0)
        for result in (compare(members, STATEMENTS, config=QUICK, over=few, seed=0), wanted)
    ]
    assert repr(rows[0]) == repr(rows[1])
    assert [one.trajectories for one in wanted.sites] == [one.trajectories for one in whole.sites]
    assert sum(row.quantity == "noise tolerance" for row in rows[0]) == 2 * len(series)
    assert sum(row.quantity == "accuracy change q" for row in rows[0]) == 2 * 6


def test_a_checkpoint_that_equals_another_is_told_even_when_its_activations_have_gone(tmp_path):
    values = activations(LABELS, STRENGTHS[:4])
    series = [stored(tmp_path, place, {"block_0": values[0 if place == 1 else place]}) for place in range(len(values))]
    design = Design.of(STATEMENTS, config=QUICK, seed=0)
    members = [series[0], Alone.of(series[1], design, config=QUICK), *series[2:]]
    found = compare(members, STATEMENTS, config=QUICK, over=OVER, seed=0)
    assert found.duplicates == ((series[0].checkpoint.key, series[1].checkpoint.key),)


def test_what_stands_alone_must_have_been_scored_on_these_rows_and_two_must_be_whole(tmp_path):
    series = series_of(tmp_path, strengths=STRENGTHS[:3])
    design = Design.of(STATEMENTS, config=QUICK, seed=0)
    alone = [Alone.of(one, design, config=QUICK) for one in series]
    with pytest.raises(MeasurementError, match="1 checkpoints with activations"):
        compare([*alone[:2], series[2]], STATEMENTS, config=QUICK, over=OVER, seed=0)
    assert 16 * 2 * 160 < len(alone[0].to_bytes()) < 16 * 2 * 160 + 2048, "the room that a comparison says it takes"
    short = replace(alone[1], log_odds=alone[1].log_odds[:, 1:], spread=alone[1].spread[:, 1:])
    with pytest.raises(AlignmentError, match="was scored on 159 rows"):
        compare([series[0], short, series[2]], STATEMENTS, config=QUICK, over=OVER, seed=0)
    for content in (alone[0].to_bytes()[:200], b"", replace(alone[0], sites=("block_0",)).to_bytes()):
        with pytest.raises(IntegrityError, match="is damaged"):
            Alone.from_bytes(content, checkpoint=alone[0].checkpoint)
