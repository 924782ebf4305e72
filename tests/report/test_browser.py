"""The page in a real browser: it draws, it says what it draws, and what the run holds never becomes markup or a formula."""

import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from importlib.resources import files

import pytest

from tests.report.information_tables import PEAK, X, Y, information_rows, published_rows
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


def _driven(folder, measured, script):
    """What `script` returns once every plane is drawn, and the console."""
    run = read_run(write_run(folder / "run", measured, audits=AUDITS))
    text = page_text(run, pivot(run.table))
    nonce = re.search(r"script-src 'nonce-(\w+)'", text)[1]
    driver = (
        # Frames come in real time, of which a busy machine has less than the page's time: let them come in that.
        "window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);"
        "window.cancelAnimationFrame = (frame) => clearTimeout(frame);"
        "const waiting = setInterval(async () => { if (!document.documentElement.dataset.ready) return; clearInterval(waiting);"
        "const pause = (time) => new Promise((resolve) => setTimeout(resolve, time)); await pause(1500);"
        f"const result = await (async () => {{ {script} }})();"
        "document.body.append(element('pre', { id: 'result', textContent: JSON.stringify(result) })); }, 50);"
    )
    page = folder / "index.html"
    page.write_text(text.replace("</body>", f'<script nonce="{nonce}">{driver}</script></body>'), encoding="utf-8")
    dom, console = _opened(page, folder / "profile")
    return json.loads(unescape(re.search(r'<pre id="result">(.*?)</pre>', dom, flags=re.S)[1])), console


DRIVE = """
  const article = document.querySelector("article.information");
  const slider = article.querySelector(".moment input");
  const plane = article.querySelector(".plane");
  const state = () => plane.data.at(-1);
  // Wait until what is drawn has stood still for a while.
  const settled = async () => {
    for (let still = 0, last = "", looks = 0; still < 5 && looks < 100; looks++) {
      await pause(150);
      const now = JSON.stringify([state().x, state().y]);
      still = now === last ? still + 1 : 0;
      last = now;
    }
  };
  const first = { label: article.querySelector("output").textContent, x: [...state().x], y: [...state().y] };
  slider.focus();
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  await settled();
  const said = slider.getAttribute("aria-valuetext");
  const moved = { label: article.querySelector("output").textContent, said, x: [...state().x], y: [...state().y] };
  const mark = article.querySelector(".courses").layout.shapes.at(-1).x0;
  const scale = document.querySelector("#plane-controls select[name=scale]");
  scale.focus();
  scale.value = "calibrated";
  scale.dispatchEvent(new Event("change"));
  await settled();
  const courses = article.querySelector(".courses");
  return {
    first, moved, mark, limit: content.series[planeState.model].positions[0],
    held: document.activeElement === scale, x: [...state().x], titles: courses.layout.annotations.map((one) => one.text),
    peaks: courses.data.filter((trace) => trace.marker?.symbol === "triangle-down").map((trace) => trace.x[0]),
    sites: content.series[planeState.model].sites, hash: location.hash,
    estimators: article.querySelector(".estimators").data.length,
    csv: planeCsv(article.dataset.dataset).split("\\r\\n").slice(0, 2),
    labels: [...article.querySelectorAll("[role=img]")].map((plot) => plot.getAttribute("aria-label")),
  };
"""


def test_the_slider_and_the_controls_of_the_plane_show_the_tables_numbers(tmp_path):
    measured = information_rows(SHAPE)
    found, console = _driven(tmp_path, [*rows(SHAPE), *measured], DRIVE)
    assert console == []

    def expected(quantity, tokens):
        at = {
            row.site: row.value
            for row in measured
            if (row.quantity, row.method, row.role) == (quantity, "nhsic_50", "measured") and row.tokens_seen == tokens
        }
        return pytest.approx([at[site] for site in found["sites"]], rel=1e-4)

    last = max(row.tokens_seen for row in measured)
    assert (found["first"]["x"], found["first"]["y"]) == (expected(X, last), expected(Y, last))
    assert (found["moved"]["x"], found["moved"]["y"]) == (expected(X, 0), expected(Y, 0))
    assert found["moved"]["label"] == found["moved"]["said"] == "0 tokens"
    assert found["mark"] == found["limit"]
    assert found["x"] == expected(f"{X} calibrated", 0)
    assert "I(T;X), moving X, calibrated" in found["titles"]
    assert "Effective rank" in found["titles"]
    assert found["held"]
    assert "planescale=calibrated" in found["hash"]
    assert found["estimators"] == 2 * 5 + 2 * 10
    assert found["csv"][0].startswith("dataset,checkpoint")
    assert all("The table below holds the same numbers." in label for label in found["labels"])


def test_the_planted_peak_is_marked_where_it_is(tmp_path):
    script = DRIVE.replace('scale.value = "calibrated";', "")
    found, console = _driven(tmp_path, information_rows(replace(SHAPE, n_blocks=3)), script)
    assert console == []
    assert found["peaks"] == [pytest.approx(PEAK, abs=1e-6)]


ODD = {
    "published alone": lambda: published_rows(SHAPE),
    "one checkpoint": lambda: information_rows(replace(SHAPE, n_checkpoints=1)),
    "undefined": lambda: [
        replace(row, value=math.nan, lower=math.nan, upper=math.nan, note="constant") if row.site == "block_1" else row
        for row in information_rows(SHAPE)
    ],
    "the label alone": lambda: [row for row in information_rows(SHAPE) if row.quantity.startswith(Y)],
    "geometry alone": lambda: [row for row in information_rows(SHAPE) if row.method == "spectrum"],
    "no tokens": lambda: [replace(row, tokens_seen=None) for row in information_rows(SHAPE)],
}


@pytest.mark.parametrize("odd", ODD)
def test_whatever_of_the_plane_was_measured_is_drawn_without_a_message(tmp_path, odd):
    script = (
        "return { drawn: document.querySelectorAll('#information .main-svg').length,"
        " trouble: !document.getElementById('trouble').hidden };"
    )
    found, console = _driven(tmp_path, ODD[odd](), script)
    assert console == []
    assert found["drawn"] >= 2
    assert not found["trouble"]


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
