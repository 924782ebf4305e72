import math
from dataclasses import replace

import pytest

from tests.report.steering_tables import TARGET, TOXIC, TRUST, SteeringShape, steering_rows, write_steering_run
from trustrace.report.run_folder import read_run
from trustrace.report.steering_findings import findings
from trustrace.report.steering_folder import read_steering
from trustrace.report.steering_runs import CHANGE, PLAIN, steering_run
from trustrace.report.steering_sentences import claim, details, shown, verdict


def _found(folder, shape=None, **parts):
    path = write_steering_run(folder / "run", shape or SteeringShape(), **parts)
    run = steering_run(read_run(path), read_steering(path))
    return run, findings(run)


def _words(run, finding):
    return " ".join([verdict(finding), claim(finding), *details(run, finding)]).replace("\u00a0", " ")


def test_the_table_names_targets_aims_sources_and_abilities(tmp_path):
    run, _ = _found(tmp_path)
    assert run.targets == (TARGET,)
    assert [aim.contrast for aim in run.aims] == [TRUST, TOXIC]
    assert [(one.task, one.quantity, one.better) for one in run.abilities] == [
        ("truthfulqa_mc1", "accuracy", "higher"),
        ("toxigen", "toxic", "lower"),
        ("lambada", "perplexity", "lower"),
        ("arc_easy", "accuracy", "higher"),
    ]
    assert [source.tokens_seen for source in run.sources] == [0, 10_000_000, 100_000_000]
    kinds = {family.kind: family.is_control for family in run.families.values()}
    assert kinds == {"mass_mean": False, "random_0": True, "random_1": True, "random_2": True, "instruction": False}


def test_a_planted_effect_is_found_and_lies_beyond_random_directions(tmp_path):
    run, (truth, toxic) = _found(tmp_path)
    for finding in (truth, toxic):
        assert finding.verdict == "better"
        assert finding.best.family.source.endswith("step_00100")
        assert (finding.best.setting.site, finding.best.setting.alpha) == ("block_1", 1.0)
        assert finding.as_good == ()
        assert len(finding.beyond) == 3
    words = _words(run, truth)
    assert "none of 3 random directions does as well" in words
    assert "goes from 0.400 [0.350, 0.450] to 0.600 [0.550, 0.650]: change +0.200 [0.180, 0.220], p = 0.0005" in words
    assert (
        "mass mean of 100 M tokens at block_1, alpha 1, 0.600 there (unsteered 0.400), the best of 3 vectors there"
        in words
    )
    assert "15 of 18 settings stayed within the bound" in words
    assert "perplexity 4.500 to 4.980 (+0.480 [0.180, 0.780], p = 0.0005): it suffers." in words
    assert "less than steering gives" in words
    assert "No instruction was tried" in _words(run, toxic)


@pytest.mark.parametrize(
    ("shape", "expected", "words"),
    [
        (SteeringShape(random_gain=0.5), "no better than random", "no more than random directions do"),
        (SteeringShape(gain=0.0), "no better than chance", "No effect that is told from chance"),
        (SteeringShape(gain=-0.2), "worse", "Steering makes it worse"),
        (SteeringShape(n_random=0), "uncontrolled", "no random direction was tried"),
        (SteeringShape(shuffled_gain=0.18), "hardly better", "lies within the vector's own interval"),
        (SteeringShape(shuffled_gain=0.5), "no better than shuffled", "it is not the label that helps"),
        (
            SteeringShape(shuffled_gain=0.5, random_gain=0.5),
            "no better than random",
            "no more than random directions do",
        ),
        (
            SteeringShape(n_random=0, n_lost=2),
            "uncontrolled",
            "of 2 random directions none had a setting within the bound",
        ),
    ],
)
def test_what_may_not_be_claimed_is_not_claimed(tmp_path, shape, expected, words):
    run, found = _found(tmp_path, shape)
    assert [finding.verdict for finding in found] == [expected, expected]
    assert all(words in _words(run, finding) for finding in found)


def test_random_directions_and_shuffled_labels_are_told_apart(tmp_path):
    run, (truth, _) = _found(tmp_path, SteeringShape(shuffled_gain=0.1, n_lost=1))
    words = _words(run, truth)
    assert "none of 3 random directions and 3 directions of shuffled labels does as well" in words
    assert "would hold the first place in up to 3 of 7 cases" in words
    assert "1 random direction had no setting within the bound, and no number here." in words
    assert "3 random directions went through the same choice of site and strength: 0.410 to 0.430" in words
    assert "3 directions of shuffled labels went through the same choice of site and strength: 0.433 to 0.500" in words
    assert "No direction of shuffled labels was tried" not in words


@pytest.mark.parametrize(
    ("cosine", "said"), [(-0.9, "what the label adds to that axis cannot be told"), (0.1, "it is not the label")]
)
def test_shuffled_labels_that_are_the_vector_itself_say_nothing_of_the_label(tmp_path, cosine, said):
    shape = SteeringShape(shuffled_gain=0.5, shuffled_cosine=cosine)
    run, (truth, _) = _found(tmp_path, shape)
    assert truth.verdict == "no better than shuffled"
    assert run.targets == (TARGET,)
    assert said in verdict(truth)
    assert f"have a median size of {abs(cosine):.2f}" in _words(run, truth)


def test_without_shuffled_labels_it_is_said_what_random_directions_cannot_show(tmp_path):
    run, (truth, _) = _found(tmp_path)
    assert "No direction of shuffled labels was tried" in _words(run, truth)


def test_the_vector_told_of_is_chosen_by_the_development_half_and_not_by_the_test(tmp_path):
    """The last checkpoint is made the worst in development; on the test half it stays the best."""
    last = "step_00100"
    rows = [
        replace(row, value=0.1) if row.dataset == "truthfulqa_mc1/development" and last in row.vector else row
        for row in steering_rows(SteeringShape())
    ]
    _, (truth, _) = _found(tmp_path, rows=rows)
    values = {choice.family.source[-10:]: choice.effect.steered.value for choice in truth.vectors}
    assert max(values, key=values.get) == last
    assert truth.best.family.source.endswith("step_00010")


def test_a_tie_with_a_random_direction_counts_for_the_random_direction(tmp_path):
    rows = steering_rows(SteeringShape())
    best = max(row.value for row in rows if row.dataset == "truthfulqa_mc1/test" and row.quantity == "accuracy")
    tied = [
        replace(row, value=best)
        if (row.dataset, row.quantity) == ("truthfulqa_mc1/test", "accuracy") and row.vector == f"random_1:{TRUST}"
        else row
        for row in rows
    ]
    _, (truth, _) = _found(tmp_path, rows=tied)
    assert truth.verdict == "no better than random"
    assert [control.family.kind for control in truth.as_good] == ["random_1"]


def test_which_way_is_better_comes_from_the_searches_and_else_from_the_glossary(tmp_path):
    path = write_steering_run(tmp_path / "run")
    assert steering_run(read_run(path), read_steering(path)).aims[1].ability.better == "lower"
    for unit in (path / "units").glob("search-*"):
        (unit / "chosen.json").write_text('{"better": "higher"}')
    assert steering_run(read_run(path), read_steering(path)).aims[1].ability.better == "higher"
    for unit in (path / "units").glob("search-*"):
        (unit / "chosen.json").write_text("[")
    assert steering_run(read_run(path), read_steering(path)).aims[1].ability.better == "lower"


def test_a_method_that_the_study_names_is_the_one_that_is_shown(tmp_path):
    rows = steering_rows(SteeringShape())
    other = [replace(row, method="parsed", value=0.9) for row in rows if row.dataset.startswith("truthfulqa_mc1")]
    run, _ = _found(tmp_path / "first", rows=[*rows, *other])
    assert run.aims[0].ability.method == "log_probability"
    contrasts = [{"dataset": {"name": TRUST}, "task": {"name": "x"}, "quantity": "accuracy", "method": "parsed"}]
    run, _ = _found(tmp_path / "named", rows=[*rows, *other], study_changes={"contrasts": contrasts})
    assert run.aims[0].ability.method == "parsed"
    assert run.aims[0].ability.task == "truthfulqa_mc1"


def test_two_targets_are_told_apart(tmp_path):
    run, found = _found(tmp_path, SteeringShape(targets=("a@main", "b@main")))
    assert [(one.target, one.aim.contrast) for one in found] == [
        ("a@main", TRUST),
        ("a@main", TOXIC),
        ("b@main", TRUST),
        ("b@main", TOXIC),
    ]
    assert run.at("b@main", run.abilities[0], PLAIN).checkpoint == "b@main"


def test_nothing_within_the_bound_is_said_to_be_so(tmp_path):
    rows = [
        row
        for row in steering_rows(SteeringShape())
        if not row.vector or row.dataset in ("lambada/development",) or row.quantity == "separation"
    ]
    plain = [row for row in steering_rows(SteeringShape(n_sources=1)) if row.vector.startswith("instruction")]
    run, found = _found(tmp_path, rows=[*rows, *plain])
    assert found[0].best is None
    assert "Nothing was chosen: no setting stayed within the bound on perplexity." in _words(run, found[0])


def test_undefined_numbers_are_called_undefined_and_never_reach_a_verdict(tmp_path):
    rows = [
        replace(row, value=math.nan, lower=math.nan, upper=math.nan)
        if row.quantity == f"accuracy{CHANGE}" and row.vector.startswith("mass_mean")
        else row
        for row in steering_rows(SteeringShape())
    ]
    run, (truth, _) = _found(tmp_path, rows=rows)
    assert truth.verdict == "no better than chance"
    assert "change undefined" in _words(run, truth)


def test_rows_that_claim_one_place_are_counted_and_the_first_is_shown(tmp_path):
    rows = steering_rows(SteeringShape())
    run, _ = _found(tmp_path, rows=[*rows, replace(rows[0], value=0.99)])
    assert run.n_doubled == 1
    assert run.at(TARGET, run.abilities[0], PLAIN, half="development").value == rows[0].value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (-0.0, "0.000"),
        (-0.25, "\u22120.250"),
        (12.345, "12.35"),
        (312.04, "312.0"),
        (5e-4, "5.0e\u221204"),
    ],
)
def test_numbers_have_the_precision_that_a_reader_needs(value, text):
    assert shown(value) == text


def test_what_is_no_number_is_undefined():
    assert shown(math.nan) == shown(None) == "undefined"
