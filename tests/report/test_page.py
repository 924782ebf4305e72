import json
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pyarrow.parquet as pq
import pytest

from tests.report.tables import AUDITS, MANIFEST, MODEL, STUDY, Shape, rows, write_run
from trustrace.core.errors import MissingExtraError, RunError
from trustrace.core.sites import sites_of
from trustrace.report.page import _plotly, page_text, write_report
from trustrace.report.pivoting import pivot
from trustrace.report.run_folder import read_run

SHAPE = Shape(datasets=("reliability/defined", "toxicity/defined"), n_checkpoints=6, n_blocks=2)
VOID = {"meta", "link", "img", "br", "input", "hr", "line", "circle", "polyline", "polygon"}
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>{{ 7*7 }}</textarea><!-- \u2028"


class Document(HTMLParser):
    """Elements with their attributes, the text of each, and whether every tag that opens closes."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open[-1]["tag"] == tag, f"</{tag}> closes <{self.open[-1]['tag']}>"
            self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1]["tag"] not in {"script", "style"}:
            self.text.append(data)
        for element in self.open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def _report(folder, measured=None, **parts):
    return Document(_text(folder, rows(SHAPE) if measured is None else measured, **parts))


def _text(folder, measured, **parts):
    run = read_run(write_run(folder, measured, **parts))
    return page_text(run, pivot(run.table))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("run") / "books", rows(SHAPE), audits=AUDITS)
    write_report(run)
    return run


@pytest.fixture(scope="module")
def document(run):
    return Document((run / "report" / "index.html").read_text("utf-8"))


def test_the_page_stands_alone_and_can_reach_nothing(run):
    text = (run / "report" / "index.html").read_text("utf-8")
    markup = re.sub(r'<script type="(application/json|text/plain)".*?</script>', "", text, flags=re.S)
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", markup)
    policy = next(
        element["content"]
        for element in Document(text).all("meta")
        if element.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert len(text) < 3_000_000


def test_the_page_never_offers_to_upload_the_chart(run):
    assert "showSendToCloud: false" in (run / "report" / "index.html").read_text("utf-8")


def test_equal_runs_give_equal_pages(tmp_path):
    assert _text(tmp_path / "books", rows(SHAPE)) == _text(tmp_path / "again" / "books", rows(SHAPE))


def test_the_report_is_written_where_asked_and_figures_lie_beside_it(run, tmp_path):
    assert (run / "report" / "figures" / "overview.pdf").is_file()
    assert (
        write_report(write_run(tmp_path / "run", []), out=tmp_path / "elsewhere")
        == tmp_path / "elsewhere" / "index.html"
    )
    assert [path.name for path in (tmp_path / "elsewhere").iterdir() if path.is_file()] == ["index.html"]


def test_every_link_of_the_page_leads_to_a_file(run, document):
    links = [element["href"] for element in document.all("a") if not element["href"].startswith("#")]
    assert len(links) == 10
    assert all((run / "report" / link).is_file() for link in links)


def test_the_page_is_well_formed_and_navigable_without_sight(document):
    assert document.open == []
    assert document.all("html")[0]["lang"] == "en"
    assert [len(document.all(tag)) for tag in ("title", "h1", "main")] == [1, 1, 1]
    levels = [int(element["tag"][1]) for element in document.elements if re.fullmatch(r"h[1-6]", element["tag"])]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    identities = [element["id"] for element in document.elements if "id" in element]
    assert len(identities) == len(set(identities))
    for element in document.elements:
        for target in element.get("aria-labelledby", "").split():
            assert target in identities
        if element.get("href", "").startswith("#"):
            assert element["href"][1:] in identities
    for table in document.all("table"):
        assert table["text"].strip()
    assert len(document.all("caption")) == len(document.all("table"))
    assert {element.get("scope") for element in document.all("th")} <= {"col", "row"}


def test_the_summary_says_in_words_what_the_table_holds(document):
    assert re.search(
        r"Reliability \(defined\) Becomes readable at block_\d after [\d.]+\sM tokens: 0\.\d\d \[0\.\d\d, 0\.\d\d\], n = 960, "
        r"strongest floor 0\.\d\d \(",
        document.words,
    )
    assert "rigorous protocol" in document.words
    assert (
        "6 checkpoints (0 tokens to 2.15\u00a0B tokens), 4 sites" in document.words
        or "6 checkpoints (0 tokens to 2.15 B tokens), 4 sites" in document.words
    )


def test_the_summary_tells_the_course_of_accuracy_where_it_was_judged(tmp_path):
    measured = rows(SHAPE)
    last = max((row for row in measured if row.step is not None), key=lambda row: row.step)
    said = {"shape": (0.004, "rises"), "rise q": (0.004, ""), "onset": (2e8, "")}
    courses = [
        replace(
            last,
            quantity=f"accuracy {part}",
            method="logistic",
            role="measured",
            dataset=SHAPE.datasets[0],
            site=site.name,
            value=value,
            lower=value / 2,
            upper=value * 2,
            note=note,
        )
        for site in sites_of(SHAPE.n_blocks)
        for part, (value, note) in said.items()
    ]
    words = _report(tmp_path / "run", [*measured, *courses]).words
    pattern = r"accuracy at \w+ rises from 200\sM tokens \(95 % interval 100\sM to 400\sM\) on, q = 0.004\."
    assert re.search(pattern, words.replace("\u00a0", " "))
    assert "accuracy shape" not in words


def test_every_number_of_the_best_sites_is_one_of_the_table(run, document):
    known = {
        f"{row[plane]:.3f}"
        for row in pq.read_table(run / "measurements.parquet").to_pylist()
        for plane in ("value", "lower", "upper")
    }
    shown = [number for cell in document.all("td") for number in re.findall(r"\d\.\d{3}\b", cell["text"])]
    assert len(shown) > 40
    assert set(shown) <= known


def test_each_quantity_probe_floor_and_protocol_is_explained(document):
    titles = [element["text"].split("  ")[0] for element in document.all("dt")]
    for title in (
        "Accuracy",
        "AUROC",
        "Log loss",
        "Selectivity",
        "Description length",
        "Logistic probe",
        "majority",
        "rigorous",
    ):
        assert any(shown.startswith(title) for shown in titles), title


def test_the_audit_shows_what_was_found_by_urgency_and_what_was_clean(tmp_path):
    clean = {"check": "exact_duplicates", "severity": "info", "count": 0, "of": 9, "sentence": "None.", "examples": []}
    example = {"row": 3, "label": 1, "text": "=1+1 <b>"}
    found = [
        clean,
        {**clean, "check": "a", "severity": "warning", "count": 2, "sentence": "Two."},
        {**clean, "severity": "error", "count": 1, "sentence": "One.", "examples": [example]},
    ]
    document = _report(tmp_path, audits=[{"dataset": "mine", "n": 1200, "n_groups": 9, "findings": found}])
    assert document.words.index("One.") < document.words.index("Two.")
    assert "1,200 rows in 9 groups." in document.words
    assert "row 3, label 1: =1+1 <b>" in document.words
    assert "Clean: exact duplicates." in document.words


def test_hostile_names_notes_and_statements_are_shown_as_text(tmp_path):
    measured = [
        replace(
            row,
            dataset=HOSTILE if row.dataset == "toxicity/defined" else row.dataset,
            checkpoint=row.checkpoint.replace(MODEL, HOSTILE),
            note=HOSTILE if row.quantity == "auroc" else "",
            site=HOSTILE if row.site == "block_0" else row.site,
        )
        for row in rows(SHAPE)
    ]
    audits = [
        {
            "dataset": HOSTILE,
            "findings": [
                {"check": HOSTILE, "severity": HOSTILE, "count": 1, "of": 1, "sentence": HOSTILE, "examples": [HOSTILE]}
            ],
        }
    ]
    failures = [{"unit": HOSTILE, "error": HOSTILE, "message": HOSTILE}]
    manifest = {
        **MANIFEST,
        "failures": failures,
        HOSTILE: HOSTILE,
        "datasets": {HOSTILE: {"meaning": {"one": HOSTILE, "zero": "b", "desired": 1}}},
    }
    document = _report(
        tmp_path,
        measured,
        study={**STUDY, "name": HOSTILE, HOSTILE: [HOSTILE, {"a": HOSTILE}]},
        manifest=manifest,
        audits=audits,
    )
    assert document.open == []
    assert [element.get("type", "script") for element in document.all("script")] == [
        "application/json",
        "text/plain",
        "script",
    ]
    assert not document.all("img")
    assert document.all("h1")[0]["text"] == HOSTILE
    assert document.words.count("<script>alert('x')</script>") > 10
    assert "49" not in document.all("h1")[0]["text"]
    content = json.loads(document.all("script")[0]["text"])
    assert HOSTILE in {dataset["name"] for dataset in content["datasets"]}


def test_the_nonce_of_scripts_depends_on_what_the_run_holds(tmp_path):
    pages = [_report(tmp_path, rows(replace(SHAPE, n_checkpoints=count))) for count in (2, 3)]
    assert len({page.all("script")[2]["nonce"] for page in pages}) == 2


def test_failed_units_are_told_first(tmp_path):
    failures = [{"unit": "ckpt_3 x privacy", "error": "ModelError", "message": "truncated"}]
    document = _report(tmp_path, manifest={**MANIFEST, "failures": failures})
    assert "1 unit of this run failed" in document.words
    assert "ckpt_3 x privacy ModelError: truncated" in document.words
    assert document.words.index("1 unit of this run failed") < document.words.index("Becomes readable")


def test_places_that_were_not_measured_are_counted(tmp_path):
    last = max(row.tokens_seen or 0 for row in rows(SHAPE))
    kept = [row for row in rows(SHAPE) if (row.dataset, row.tokens_seen) != ("toxicity/defined", last)]
    assert "were not measured" not in _report(tmp_path).words
    assert (
        "4 of 24 places (checkpoint and site) were not measured under the rigorous protocol."
        in _report(tmp_path, kept).words
    )


def test_notes_are_listed_with_how_many_numbers_carry_them(tmp_path):
    measured = [
        replace(row, value=math.nan, note="did not converge") if row.quantity == "ece" else row for row in rows(SHAPE)
    ]
    count = sum(bool(row.note) for row in measured)
    assert f"{count} numbers: did not converge" in _report(tmp_path, measured).words


def test_what_the_labels_mean_stands_beside_the_figures(tmp_path):
    meaning = {"one": "a true answer", "zero": "a false one", "desired": 1}
    document = _report(tmp_path, manifest={**MANIFEST, "datasets": {"reliability/defined": {"meaning": meaning}}})
    assert "1 means a true answer; 0 means a false one; 1 is desired." in document.words


def test_an_empty_table_gives_a_page_that_says_so(tmp_path):
    document = _report(tmp_path, [])
    assert "This run holds no probe accuracy yet" in document.words
    assert "nothing to draw" in document.words


def test_floors_alone_give_a_page_that_says_so(tmp_path):
    document = _report(tmp_path, [row for row in rows(SHAPE) if not row.checkpoint])
    assert "nothing to draw" in document.words


def test_one_checkpoint_and_no_audit_still_make_a_page(tmp_path):
    document = _report(tmp_path, rows(replace(SHAPE, n_checkpoints=1)))
    assert "the only checkpoint" in document.words
    assert "No dataset was audited in this run" in document.words


def test_two_protocols_stand_in_columns_of_their_own(tmp_path):
    published = [replace(row, protocol="published") for row in rows(SHAPE) if row.quantity != "selection_log_loss"]
    document = _report(tmp_path, [*rows(SHAPE), *published])
    headers = [element["text"] for element in document.all("th") if element.get("scope") == "col"]
    assert headers.count("Protocol") == 2
    assert "no site chosen" in document.words
    assert "Becomes readable" in document.words
    assert "first 80 % of the file" in document.words


@pytest.mark.parametrize("missing", ["measurements.parquet", "study.json", "manifest.json"])
def test_an_incomplete_run_is_refused_by_the_name_of_what_is_missing(tmp_path, missing):
    run = write_run(tmp_path, [])
    (run / missing).unlink()
    with pytest.raises(RunError, match=missing):
        write_report(run)


@pytest.mark.parametrize("broken", ["measurements.parquet", "study.json", "manifest.json", "audit.json"])
def test_a_broken_file_is_refused_by_name(tmp_path, broken):
    run = write_run(tmp_path, [], audits=[])
    (run / broken).write_bytes(b"PAR1 {")
    with pytest.raises(RunError, match=broken):
        write_report(run)


def test_a_table_of_something_else_is_refused(tmp_path):
    run = write_run(tmp_path, [])
    pq.write_table(pq.read_table(run / "measurements.parquet").drop_columns(["role"]), run / "measurements.parquet")
    with pytest.raises(RunError, match=r"columns \['role'\] are missing"):
        write_report(run)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such run folder"):
        write_report(tmp_path / "absent")


def test_a_report_that_cannot_be_written_says_where(tmp_path):
    run = write_run(tmp_path / "run", [])
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file could not be written"):
        write_report(run, out=tmp_path / "file")


@pytest.mark.parametrize("package", ["jinja2", "plotly.offline", "matplotlib"])
def test_a_missing_extra_is_named_with_the_way_to_install_it(tmp_path, monkeypatch, package):
    _plotly.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'trustrace\[report\]'"):
        write_report(write_run(tmp_path, []))
