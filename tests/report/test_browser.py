"""The page in a real browser: it draws, it says what it draws, and what the run holds never becomes markup or a formula."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from importlib.resources import files

import pytest

from tests.report.tables import AUDITS, Shape, as_table, rows, write_run
from trustrace.report.page import page_text
from trustrace.report.payload import as_json, payload
from trustrace.report.pivoting import pivot
from trustrace.report.run_folder import read_run

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHAPE = Shape(datasets=("reliability/defined",), n_checkpoints=5, n_blocks=2)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser: install chromium to run the page's own tests")


def _opened(page, profile):
    """The document after its scripts ran, and what they wrote to the console."""
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    command += ["--disable-sync", "--window-size=1200,4000", "--virtual-time-budget=30000", "--enable-logging=stderr"]
    command += [f"--user-data-dir={profile}", "--dump-dom", page.resolve().as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def hostile_rows():
    hostile = "<img src=x onerror=alert(1)>$x$"
    return [
        replace(
            row,
            dataset="=cmd|'/c calc'!A0",
            checkpoint=row.checkpoint.replace("acme", hostile),
            site=hostile if row.site == "block_0" else row.site,
            note='+1"2,3' if row.quantity == "accuracy" else "",
        )
        for row in rows(SHAPE)
    ]


def test_the_page_draws_from_a_file_without_one_message_on_the_console(tmp_path, hostile_rows):
    run = read_run(write_run(tmp_path / "run", hostile_rows, audits=AUDITS))
    page = tmp_path / "index.html"
    page.write_text(page_text(run, pivot(run.table)), encoding="utf-8")
    dom, console = _opened(page, tmp_path / "profile")
    assert console == []
    assert 'data-ready="true"' in dom
    assert dom.count("main-svg") >= 4
    assert ">block_1</text>" in dom
    assert "alert(1)" in dom
    assert not re.findall(r"<img", dom)
    assert re.search(r'role="img" aria-label="=cmd.{,20}: Accuracy over checkpoints', dom)
    assert "modebar-btn" not in re.sub(r"<(script|style).*?</\1>", "", dom, flags=re.S)


def test_the_download_holds_the_tables_numbers_and_no_formula(tmp_path, hostile_rows):
    content = as_json(payload(pivot(as_table(hostile_rows))))
    data = files("trustrace.report").joinpath("assets", "data.js").read_text("utf-8")
    harness = tmp_path / "harness.html"
    harness.write_text(
        f'<meta charset="utf-8"><script type="application/json" id="content">{content}</script><pre id="csv"></pre><script>{data}\n'
        "unpackNumbers().then(() => { const { dataset, role, ...state } = content.grids.find((grid) => grid.quantity === 'accuracy');"
        "document.getElementById('csv').textContent = JSON.stringify(csvOf(dataset, state)); });</script>",
        encoding="utf-8",
    )
    dom, console = _opened(harness, tmp_path / "profile")
    assert console == []
    text = json.loads(unescape(re.search(r'<pre id="csv">(.*?)</pre>', dom, flags=re.S)[1]))
    lines = text.splitlines()
    assert lines[0].startswith("dataset,checkpoint,step,tokens_seen,site,quantity,method,role")
    assert all(line.startswith("'=cmd|") for line in lines[1:])
    assert sum('"\'+1""2,3"' in line for line in lines) == len(lines) - 1
    wanted = {
        f"{row.value:.6g}"
        for row in hostile_rows
        if row.quantity == "accuracy" and row.method == "logistic" and row.site == "embed"
    }
    shown = [float(line.split(",")[11]) for line in lines[1:] if ",embed," in line]
    assert sorted(shown) == pytest.approx(sorted(map(float, wanted)), rel=2e-5)
