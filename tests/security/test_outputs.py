"""What hostile texts become in pages and tables: texts."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import html

from tests.report.tables import AUDITS, Shape, rows, write_run
from trustrace.core.cells import csv_cell, markdown_cell
from trustrace.report.page import page_text
from trustrace.report.pivoting import pivot
from trustrace.report.run_folder import read_run
from trustrace.studies.comparing import Compared, Comparison
from trustrace.studies.side_by_side import as_csv, as_markdown

HUGE = html.HTMLParser(huge_tree=True)
SHAPE = Shape(datasets=("reliability/defined",), n_checkpoints=3, n_blocks=1)
HOSTILE = (
    "<script>planted()</script>",
    "</script><script>planted()</script>",
    "'\"><img src=x onerror=planted()>",
    "<svg/onload=planted()>",
    "javascript:planted()",
    "</style><style>*{display:none}</style>",
    "\u2028planted()\u2029",
    "\u202etxt.exe",
    "{{ 7 * 7 }}{% for x in y %}",
    "]]>--><!--",
    "x" * 1_000_000,
)


def shape_of(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every element of a page with the names of its attributes."""
    parsed = html.document_fromstring(text, parser=HUGE)
    return [(one.tag, tuple(sorted(one.attrib))) for one in parsed.iter() if isinstance(one.tag, str)]


def page(folder: Path, hostile: str) -> str:
    measured = [
        replace(row, note=hostile if row.quantity == "auroc" else "", dataset=row.dataset + hostile)
        for row in rows(SHAPE)
    ]
    finding = {"check": "x", "severity": "error", "count": 1, "sentence": hostile, "examples": [hostile]}
    audits = [*AUDITS, {"dataset": hostile, "findings": [finding]}]
    failed = [{"unit": hostile, "error": hostile, "message": hostile}]
    run = read_run(
        write_run(
            folder,
            measured,
            study={"name": hostile, hostile: hostile},
            manifest={"failures": failed, "x": hostile},
            audits=audits,
        )
    )
    return page_text(run, pivot(run.table))


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: repr(text[:24]))
def test_no_element_and_no_attribute_of_a_page_is_made_of_what_a_run_holds(tmp_path: Path, hostile: str) -> None:
    harmless = page(tmp_path / "harmless", "y" * min(len(hostile), 40))
    text = page(tmp_path / "hostile", hostile)
    assert shape_of(text) == shape_of(harmless)
    links = html.document_fromstring(text, parser=HUGE).xpath("//@href | //@src")
    assert not [link for link in links if "planted" in link or link.lower().startswith("javascript")]


COMPARED = Compared(
    target="=cmd()|x\ny", task="+1+1", quantity="@sum", by="-2+3", system="a|b", role="measured", value=-0.5, lower=-1.0, upper=0.0,
    change=0.1, change_lower=0.0, change_upper=0.2, p=0.5, n=3, items="A", run="<script>",
)  # fmt: skip


def test_no_cell_of_a_csv_is_a_formula() -> None:
    written = list(csv.DictReader(io.StringIO(as_csv(Comparison(rows=(COMPARED,), notes=())))))
    assert not [cell for cell in written[0].values() if cell[:1] in "=+@" and cell]
    assert written[0]["target"] == "'=cmd()|x\ny"
    assert written[0]["by"] == "'-2+3"
    assert written[0]["value"] == "-0.5"


def test_no_text_ends_a_cell_of_a_markdown_table() -> None:
    text = as_markdown(Comparison(rows=(COMPARED,), notes=("one\n| two",)))
    widths = {}
    for line in text.splitlines():
        if line.startswith("|"):
            widths.setdefault(line.replace("\\|", "").count("|"), []).append(line)
    assert all(len(lines) == 3 for lines in widths.values())
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "* one \\| two" in text


@pytest.mark.parametrize("text", ["=1", "+1+1", "-a", "@x", "\tx", "\rx"])
def test_what_begins_a_formula_stands_behind_an_apostrophe(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+3", "1e-5", "", "a=b", -1, None, 0.5])
def test_numbers_and_other_texts_stay_as_they_are(value: object) -> None:
    assert csv_cell(value) == value


def test_a_cell_of_markdown_is_one_line() -> None:
    assert markdown_cell("a\r\nb\u2028c|d\\") == "a b c\\|d\\\\"
