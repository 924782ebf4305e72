"""The page of a steering run in a real browser: it draws the table's numbers, and what the run holds never becomes markup or a formula."""

import json
import re
from dataclasses import replace
from html import unescape

import pytest

from tests.report.steering_tables import SteeringShape, steering_rows, write_steering_run
from tests.report.test_browser import BROWSER, _opened
from tests.report.test_page import HOSTILE
from tests.report.test_steering_page import _text

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser: install chromium to run the page's own tests")


def _driven(folder, script, shape=None, **parts):
    """What `script` returns once the page is drawn, the console, and the document."""
    text = _text(write_steering_run(folder / "run", shape, **parts))
    nonce = re.search(r"script-src 'nonce-(\w+)'", text)[1]
    driver = (
        "const ready = setInterval(async () => { if (!document.documentElement.dataset.ready) return; clearInterval(ready);"
        "const pause = (time) => new Promise((resolve) => setTimeout(resolve, time)); await pause(1500);"
        f"const result = await (async () => {{ {script} }})();"
        "document.body.append(element('pre', { id: 'result', textContent: JSON.stringify(result) })); }, 50);"
    )
    page = folder / "index.html"
    page.write_text(text.replace("</body>", f'<script nonce="{nonce}">{driver}</script></body>'), encoding="utf-8")
    dom, console = _opened(page, folder / "profile")
    return json.loads(unescape(re.search(r'<pre id="result">(.*?)</pre>', dom, flags=re.S)[1])), console, dom


DRIVE = """
  const article = document.querySelector("article.steering");
  const doses = article.querySelector(".plot.doses");
  const line = () => doses.data.filter((trace) => trace.line?.width === 2.4 && trace.yaxis === "y").map((trace) => [trace.x, trace.y])[0];
  const first = line();
  const pick = article.querySelector("select[name=lines]");
  pick.value = "site:block_0";
  pick.dispatchEvent(new Event("change"));
  const moved = line();
  const cost = article.querySelector("select[name=cost]");
  cost.value = "3";
  cost.dispatchEvent(new Event("change"));
  const fronts = article.querySelector(".plot.fronts");
  const marks = fronts.data.find((trace) => Array.isArray(trace.marker?.symbol));
  const twins = [...article.querySelectorAll("details.twin")];
  twins.forEach((twin) => (twin.open = true));
  await pause(500);
  return {
    first, moved, x: marks.x, y: marks.y, across: fronts.layout.xaxis.title.text,
    tables: twins.map((twin) => twin.querySelectorAll("tbody tr").length),
    radar: article.querySelector(".plot.radar").data.length,
    reading: article.querySelector(".plot.readings").layout.annotations[0].text,
    csv: steeringCsv(dataOf(article)).split("\\r\\n"),
    labels: [...article.querySelectorAll(".plot")].map((plot) => plot.getAttribute("aria-label")),
    shown: [...document.querySelectorAll("article.steering figure")].filter((figure) => !figure.hidden).length,
  };
"""


def test_the_controls_of_the_page_show_the_tables_numbers(tmp_path):
    found, console, _ = _driven(tmp_path, DRIVE)
    assert console == []
    known = {
        (row.dataset, row.quantity, row.vector.rpartition("_")[2], row.site, row.alpha): row.value
        for row in steering_rows(SteeringShape())
    }

    def doses(step, site):
        place = ("truthfulqa_mc1/development", "accuracy", step, site)
        return {0.0: 0.4, **{alpha: known[*place, alpha] for alpha in (-0.5, 0.5, 1.0) if (*place, alpha) in known}}

    assert dict(zip(*found["first"], strict=True)) == pytest.approx(doses("00100", "block_1"))
    assert dict(zip(*found["moved"], strict=True)) == pytest.approx(doses("00000", "block_0"))
    assert found["across"] == "ARC, easy: accuracy"
    assert found["y"] == pytest.approx([0.4, 0.4 + 0.2 / 3, 0.4 + 0.4 / 3, 0.6, 0.41, 0.42, 0.43, 0.5])
    assert found["x"][0] == 0.6
    assert found["tables"][1:] == [8, 3, 4]
    assert found["radar"] == 3 + 3
    assert found["reading"] == "TruthfulQA MC1: accuracy; r = 0.980 [0.970, 0.990], n = 200"
    assert found["csv"][0].startswith("dataset,checkpoint,vector,site,alpha,quantity,method,role")
    assert len(found["csv"]) > 80
    assert all("The table below holds the same numbers." in label for label in found["labels"])
    assert found["shown"] == 8


def test_hostile_names_are_text_in_a_browser_and_no_formula_in_a_download(tmp_path):
    rows = [
        replace(
            row,
            vector=row.vector.replace("mass_mean", f"={HOSTILE}$x$"),
            site=HOSTILE if row.site == "block_0" else row.site,
            note='=1+"1,2',
        )
        for row in steering_rows(SteeringShape())
    ]
    script = DRIVE.replace('"site:block_0"', "pick.options[1].value")
    found, console, dom = _driven(tmp_path, script, rows=rows)
    assert console == []
    assert not re.findall(r"<img", dom)
    assert sum('"\'=1+""1,2"' in line for line in found["csv"]) > 50
    assert not [line for line in found["csv"] if re.search(r'(^|,)"?=', line)]


ODD = {
    "no controls and no instruction": (SteeringShape(n_random=0, instruction=False), None),
    "one source": (SteeringShape(n_sources=1, n_random=1), None),
    "unsteered alone": (
        SteeringShape(),
        [row for row in steering_rows(SteeringShape()) if not row.vector or row.vector.startswith("instruction")],
    ),
    "undefined": (
        SteeringShape(),
        [replace(row, value=float("nan"), lower=float("nan")) for row in steering_rows(SteeringShape())],
    ),
    "no perplexity": (SteeringShape(), [row for row in steering_rows(SteeringShape()) if "lambada" not in row.dataset]),
}


@pytest.mark.parametrize("odd", ODD)
def test_whatever_was_measured_is_drawn_without_a_message(tmp_path, odd):
    shape, rows = ODD[odd]
    script = "return document.getElementById('trouble').hidden;"
    is_fine, console, _ = _driven(tmp_path, script, shape, rows=rows)
    assert console == []
    assert is_fine
