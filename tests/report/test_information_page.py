from dataclasses import replace

import pytest

from tests.report import test_page as pages
from tests.report.information_tables import information_rows, published_rows
from tests.report.tables import MANIFEST, STUDY, Shape, rows, write_run
from trustrace.report import information_payload as carrying
from trustrace.report.page import write_report

SHAPE = Shape(datasets=("reliability/world", "toxicity/defined"), n_checkpoints=5, n_blocks=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("run") / "books", [*rows(SHAPE), *information_rows(SHAPE)])
    write_report(run)
    return run


@pytest.fixture(scope="module")
def document(run):
    return pages.Document((run / "report" / "index.html").read_text("utf-8"))


def _report(folder, measured, **parts):
    return pages.Document(pages._text(folder, measured, **parts))


def test_the_page_with_a_plane_is_well_formed_and_navigable_without_sight(document):
    assert document.open == []
    assert [link["text"] for link in document.all("a") if link.get("href") == "#information"] == ["Information plane"]
    assert len(document.all("caption")) == len(document.all("table"))
    assert {element.get("scope") for element in document.all("th")} <= {"col", "colgroup", "row"}
    identities = [element["id"] for element in document.elements if "id" in element]
    assert len(identities) == len(set(identities))
    for element in document.elements:
        for target in element.get("aria-labelledby", "").split():
            assert target in identities


def test_every_dataset_has_its_slider_its_verdict_and_its_shapes(document):
    articles = [element for element in document.all("article") if element["class"] == "information"]
    assert [article["data-dataset"] for article in articles] == ["reliability/world", "toxicity/defined"]
    sliders = [element for element in document.all("input") if element.get("type") == "range"]
    assert len(sliders) == 2
    for article in articles:
        assert "at 3 of 4 sites with the moving X, calibrated at 1 of 4; at 3 of 5 sites with X held fixed" in " ".join(
            article["text"].split()
        )


def test_the_counts_of_all_datasets_stand_in_one_table(document):
    overview = next(table for table in document.all("table") if table.get("class") == "shapes")
    for title in ("Reliability (world)", "Toxicity (defined)"):
        assert f"{title}3 of 41 of 43 of 50 of 53 of 50 of 55 of 55 of 5" in overview["text"]


def test_sites_are_told_in_sentences(document):
    assert "block_2: I(T;X) with the moving X rises then falls: peak at 25.1" in document.words.replace(" :", ":")


def test_figures_for_a_paper_are_linked_and_lie_beside_the_page(run, document):
    links = [element["href"] for element in document.all("a") if not element["href"].startswith("#")]
    assert {"figures/information_reliability_world.pdf", "figures/plane_toxicity_defined.png"} <= set(links)
    assert all((run / "report" / link).is_file() for link in links)


def test_each_name_of_the_plane_is_explained_and_none_is_called_information_in_nats(document):
    titles = {element["text"].strip() for element in document.all("dt")}
    for title in (
        "I(T;X), moving X",
        "I(T;X), X held fixed (token identity)",
        "nHSIC, σ = 200",
        "CKA, debiased",
        "KSG nats",
        "Effective rank",
        "null (shuffled pairs)",
        "ceiling",
        "calibrated",
        "permutation p",
        "phase",
    ):
        assert title in titles
    assert "not mutual information in nats" in document.words
    assert "No description of this is known" not in document.words


def test_the_plane_adds_nothing_to_quantities_and_probes_that_can_be_chosen(document):
    headings = [element["text"] for element in document.all("h3")]
    for heading in ("Quantities", "Probes"):
        assert heading in headings
    probes = [element for element in document.all("tr") if element.get("data-method")]
    assert {row["data-method"] for row in probes} == {"logistic", "mass_mean", "whitened_mean"}


def test_a_page_without_a_plane_does_not_speak_of_one(tmp_path):
    document = _report(tmp_path, rows(SHAPE))
    assert "Information plane" not in document.words
    assert not [element for element in document.elements if element.get("id") == "information"]


def test_a_table_with_a_plane_alone_gives_a_page_that_says_so(tmp_path):
    document = _report(tmp_path, information_rows(SHAPE))
    assert "This run holds no number of a probe; the information plane stands below." in document.words
    assert "5 checkpoints (0 tokens to 2.15" in document.words
    assert "2 datasets, rigorous protocol" in document.words


def test_published_numbers_alone_are_shown_and_not_judged(tmp_path):
    document = _report(tmp_path, published_rows(SHAPE))
    assert "was not judged in this run" in document.words
    assert "published protocol" in document.words


def test_what_the_page_has_no_room_for_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(carrying, "MOST_CELLS", 0)
    document = _report(tmp_path, information_rows(SHAPE))
    assert "every estimator. Left out, or carried in part: nHSIC, σ = 100" in document.words


def test_two_seeds_are_told_apart(tmp_path):
    document = _report(tmp_path, [*information_rows(SHAPE), *(replace(row, seed=1) for row in information_rows(SHAPE))])
    blocks = [element for element in document.all("div") if element.get("class") == "phases"]
    assert sorted(block["data-view"] for block in blocks) == ["0", "1", "2", "3"]
    assert "Seed 1." in document.words


def test_hostile_sites_notes_and_names_are_shown_as_text(tmp_path):
    hostile = [
        replace(
            row,
            dataset=pages.HOSTILE,
            checkpoint=row.checkpoint.replace("acme", pages.HOSTILE),
            site=pages.HOSTILE if row.site == "block_1" else row.site,
            note=pages.HOSTILE if row.role == "null" or row.quantity.endswith("shape") else row.note,
            method=pages.HOSTILE if row.method == "cka" else row.method,
        )
        for row in information_rows(replace(SHAPE, datasets=("toxicity/defined",)))
    ]
    document = _report(tmp_path, hostile, study=STUDY, manifest=MANIFEST)
    assert document.open == []
    assert not document.all("img")
    assert len(document.all("script")) == 3
