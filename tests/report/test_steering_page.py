import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.report.steering_tables import TRUST, SteeringShape, steering_rows, write_steering_run
from tests.report.test_page import HOSTILE, Document
from trustrace.report.page import steering_text, write_report
from trustrace.report.run_folder import read_run
from trustrace.report.steering_findings import findings
from trustrace.report.steering_folder import read_steering
from trustrace.report.steering_runs import steering_run


def _text(path):
    run, beside = read_run(path), read_steering(path)
    steered = steering_run(run, beside)
    return steering_text(run, steered, findings(steered), beside)


def _report(folder, shape=None, **parts):
    return Document(_text(write_steering_run(folder / "run", shape, **parts)))


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return _report(tmp_path_factory.mktemp("run"))


def test_a_steering_run_gets_the_page_of_its_own_with_figures_beside_it(tmp_path):
    rows = [row for row in steering_rows(SteeringShape()) if row.dataset.startswith(("truthfulqa", "lambada"))]
    run = write_steering_run(tmp_path / "run", rows=[row for row in rows if row.vector.startswith(("", "mass"))])
    page = write_report(run)
    document = Document(page.read_text("utf-8"))
    assert "What a model is steered with" not in document.words
    assert [link["text"] for link in document.all("a") if link.get("href") == "#tradeoffs"] == ["Trade-offs"]
    links = [element["href"] for element in document.all("a") if not element["href"].startswith("#")]
    assert "figures/dose_reliability_defined.pdf" in links
    assert "figures/trade_offs.png" in links
    assert all((page.parent / link).is_file() for link in links)


def test_the_page_is_well_formed_and_navigable_without_sight(document):
    assert document.open == []
    assert [len(document.all(tag)) for tag in ("title", "h1", "main")] == [1, 1, 1]
    levels = [int(element["tag"][1]) for element in document.elements if re.fullmatch(r"h[1-6]", element["tag"])]
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    identities = [element["id"] for element in document.elements if "id" in element]
    assert len(identities) == len(set(identities))
    for element in document.elements:
        for target in element.get("aria-labelledby", "").split():
            assert target in identities
        if element.get("href", "").startswith("#"):
            assert element["href"][1:] in identities
    assert len(document.all("caption")) == len(document.all("table"))
    assert {element.get("scope") for element in document.all("th")} <= {"col", "row"}


def test_the_page_stands_alone_and_can_reach_nothing(tmp_path):
    text = _text(write_steering_run(tmp_path / "run"))
    markup = re.sub(r'<script type="(application/json|text/plain)".*?</script>', "", text, flags=re.S)
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", markup)
    assert "default-src 'none'" in text
    assert len(text) < 3_000_000


def test_equal_runs_give_equal_pages(tmp_path):
    first, again = (write_steering_run(tmp_path / name / "run") for name in ("first", "again"))
    assert _text(first) == _text(again)


def test_the_findings_are_told_in_words_with_how_many_comparisons_stand_behind_them(document):
    assert (
        "Steering helps, and none of 3 random directions does as well; vectors that mean nothing would hold "
        "the first place in up to 3 of 6 cases. Accuracy on TruthfulQA MC1 goes from" in document.words
    )
    compared = sum(
        row.quantity in ("accuracy_change_p", "toxic_change_p") and row.vector.startswith(f"mass_mean:{contrast}")
        for contrast, task in ((TRUST, "truthfulqa_mc1/test"), ("toxicity/defined", "toxigen/test"))
        for row in steering_rows(SteeringShape())
        if row.dataset == task
    )
    every = sum(
        row.quantity.endswith("_change_p") and row.dataset.endswith("/test") for row in steering_rows(SteeringShape())
    )
    assert f"{compared} vectors were compared with the unsteered model" in document.words
    assert f"{every} p-values of the test half stand in the table" in document.words
    assert "without correction for their number" in document.words


def test_the_methods_stand_against_the_abilities_as_in_the_papers_tables(document):
    table = next(one for one in document.all("table") if "the number of each ability" in one["text"])
    text = " ".join(table["text"].split())
    for name in ("unsteered", "instruction", "mass mean of 0", "mass mean of 100", "random directions"):
        assert name in text
    assert "ToxiGen: toxic (lower is better)" in text
    assert "lowest to highest of 30.410 to 0.430" in text
    assert "best on the development half block_1, alpha 10.600 \u25b2 [0.550, 0.650]" in text


def test_every_number_of_the_tables_is_one_of_the_run(document):
    known = {
        f"{abs(number):.3f}"
        for row in steering_rows(SteeringShape())
        for number in (row.value, row.lower, row.upper)
        if number == number
    }
    shown = {
        number
        for cell in document.all("td")
        for number in re.findall(r"(?<![\d.])\d\.\d{3}(?!\d)", re.sub("p = .*", "", cell["text"]))
    }
    assert len(shown) > 20
    assert shown <= known


def test_trade_offs_tell_a_price_from_a_gain_by_more_than_colour(document):
    table = next(one for one in document.all("table") if "under the best vector of each contrast" in one["text"])
    text = " ".join(table["text"].split())
    assert "+0.200 \u25b2 [0.180, 0.220] p = 0.0005" in text
    assert "+0.480 \u25bc [0.180, 0.780] p = 0.0005" in text
    assert {one["aria-label"] for one in document.all("i")} == {"better", "worse"}


def test_sources_stand_against_targets(tmp_path):
    document = _report(tmp_path, SteeringShape(targets=("a@main", "b@main")))
    table = next(one for one in document.all("table") if "by the checkpoint that the vector comes from" in one["text"])
    assert "Reliability (defined) \u2192 a@main" in table["text"]
    assert "Toxicity (defined) \u2192 b@main" in table["text"]
    assert len([one for one in document.all("article") if one["class"] == "steering"]) == 4


def test_answers_to_one_item_stand_together_in_the_order_of_perplexity(document):
    items = [one["text"] for one in document.all("div") if one.get("class") == "item"]
    assert len(items) == 2 * 3
    first = " ".join(items[0].split())
    assert first.startswith("questionQuestion 0?")
    perplexities = [float(number) for number in re.findall(r"perplexity (\d\.\d+)", first)]
    assert perplexities == sorted(perplexities)
    assert len(perplexities) == 5
    assert "Answer 0 of nobody" in first
    assert "Answer 0 of random_0:reliability/defined" in first
    assert "(best)" in first


def test_each_quantity_is_explained_and_notes_are_counted(document):
    titles = {element["text"].strip() for element in document.all("dt")}
    for title in ("Accuracy", "Toxic", "Perplexity", "Separation", "Random directions", "Development and test"):
        assert title in titles
    count = sum(row.note == "one item undefined" for row in steering_rows(SteeringShape()))
    assert f"{count} numbers: one item undefined" in document.words


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (SteeringShape(n_random=0), "no random direction was tried"),
        (SteeringShape(instruction=False), "No instruction was tried in the place of steering."),
        (SteeringShape(n_sources=1, n_random=1), "not even the one random direction that was tried does as well"),
        (SteeringShape(general=False), "4.500 to"),
    ],
)
def test_whatever_is_missing_still_makes_a_page_that_says_so(tmp_path, shape, words):
    document = _report(tmp_path, shape)
    assert document.open == []
    assert words in document.words


def test_an_empty_table_gives_a_page_that_says_so(tmp_path):
    document = _report(tmp_path, rows=[])
    assert "This run holds no number of a steered model yet" in document.words
    assert "There is nothing to draw" in document.words


def test_a_run_without_a_plan_or_answers_makes_a_page_without_answers(tmp_path):
    run = write_steering_run(tmp_path / "run")
    (run / "plan.json").unlink()
    document = Document(_text(run))
    assert not [one for one in document.all("div") if one.get("class") == "item"]
    broken = write_steering_run(tmp_path / "broken")
    for file in (broken / "units").glob("*/samples.jsonl"):
        file.write_bytes(b"\xff{not json")
    assert not [one for one in Document(_text(broken)).all("div") if one.get("class") == "item"]


def test_failed_units_are_told_first(tmp_path):
    failures = [{"unit": "test-x", "error": "ModelError", "message": "truncated"}]
    document = _report(tmp_path, manifest={"failures": failures})
    assert "test-x ModelError: truncated" in document.words


def test_a_task_whose_test_failed_leaves_a_dash_and_no_number(tmp_path):
    rows = [row for row in steering_rows(SteeringShape()) if row.dataset != "arc_easy/test" or not row.vector]
    table = next(one for one in _report(tmp_path, rows=rows).all("table") if "number of each ability" in one["text"])
    assert "\u2013" in table["text"]


def test_hostile_names_answers_and_notes_are_shown_as_text(tmp_path):
    rows = [
        replace(
            row,
            site=HOSTILE if row.site == "block_1" else row.site,
            vector=row.vector.replace("mass_mean", HOSTILE).replace("block_1", HOSTILE),
            method=HOSTILE if row.dataset.startswith("arc_easy") else row.method.replace("mass_mean", HOSTILE),
            note=HOSTILE,
            dataset=row.dataset.replace("arc_easy", HOSTILE),
            checkpoint=row.checkpoint.replace("tuned", HOSTILE).replace("acme", HOSTILE),
        )
        for row in steering_rows(SteeringShape())
    ]
    run = write_steering_run(
        tmp_path / "run",
        SteeringShape(targets=(f"{HOSTILE}@main",)),
        rows=rows,
        study_changes={"name": HOSTILE, HOSTILE: [HOSTILE]},
    )
    for file in (run / "units").glob("*/samples.jsonl"):
        samples = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        file.write_text(
            "\n".join(json.dumps({**one, "response": HOSTILE, HOSTILE: HOSTILE}) for one in samples), "utf-8"
        )
    document = Document(_text(run))
    assert document.open == []
    assert [element.get("type", "script") for element in document.all("script")] == [
        "application/json",
        "text/plain",
        "script",
    ]
    assert not document.all("img")
    assert document.all("h1")[0]["text"] == HOSTILE
    assert document.words.count("<script>alert('x')</script>") > 10
