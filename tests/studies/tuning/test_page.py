"""The page of a fine-tuning run says what its table and its records say."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.studies.small_studies import READING, SETTINGS, rows_in, series
from trustrace.core.errors import RunError
from trustrace.report.page import write_report
from trustrace.report.run_folder import read_run
from trustrace.report.steering_sentences import shown
from trustrace.report.tuning_runs import TuningRun, tuning_run
from trustrace.studies.tuning.config import FinetuneConfig
from trustrace.studies.tuning.run import run_finetune

RECIPE: dict[str, Any] = {
    "steps": 6,
    "batch": 4,
    "check_every": 3,
    "held_out": 0.3,
    "optimizer": {"learning_rate": 1e-2, "warmup_steps": 2},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = series(tmp_path_factory.mktemp("page"), steps=(0, 1))
    given = {
        "study": "finetune",
        "name": "A <small> page",
        "models": [{"source": str(folder / "series"), "select": "all"}],
        "data": [{"kind": "world", "rehearsed": 12}],
        "methods": ["full", {"method": "lora", "rank": 2}],
        "recipe": RECIPE,
        "tasks": [READING],
        "perplexity": READING,
    }
    run_finetune(FinetuneConfig.read(given, where="study.yaml"), out=folder / "run", settings=SETTINGS)
    return folder / "run"


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return write_report(run).read_text("utf-8")


@pytest.fixture(scope="module")
def arranged(run: Path) -> TuningRun:
    return tuning_run(read_run(run), run)


def cells(page: str) -> list[list[str]]:
    """Every row of every table as text."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, flags=re.DOTALL)
    kept = (re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows)
    return [[html.unescape(re.sub(r"<[^>]+>", "", one)).strip() for one in row] for row in kept]


def test_what_was_learned_is_what_the_records_say(run: Path, page: str, arranged: TuningRun) -> None:
    assert [(one.base, one.label) for one in arranged.learnings] == [
        (f"series@step_000000{step}", label) for step in (0, 1) for label in ("full:world", "lora:world")
    ]
    for one in arranged.learnings:
        method = one.label.partition(":")[0]
        (path,) = run.glob(f"units/tune-{one.base}-world-{method}-*/tuning.json")
        record = json.loads(path.read_text())
        kept, losses = str(record["kept_step"]), record["held_out_loss"]
        assert dict(one.losses) == {int(step): loss for step, loss in losses.items()}
        row = next(row for row in cells(page) if row[:2] == [one.base, one.label])
        assert row[2] == f"{kept} of {record['compute']['updates']}"
        assert row[3] == f"{shown(losses[kept])} from {shown(losses['0'])}"
        documents = record["held_out_loss_documents"]
        assert row[4] == f"{shown(documents[kept])} from {shown(documents['0'])}"
        sides = record["sides"]
        held_out = f"held out: {sides['deciding']:,} + {sides['rehearsed']:,} documents"
        assert row[5] == f"{sides['learned']:,} {held_out}"
        assert row[7] == f"{record['compute']['flops']:.2g} {record['compute']['training_tokens']:,} tokens"


def test_every_number_stands_beside_the_untuned_model_s(run: Path, page: str) -> None:
    rows = {(row["checkpoint"], row["vector"], row["quantity"]): row for row in rows_in(run)}
    found = [row for row in cells(page) if len(row) == 6]
    assert len(found) == 2 * 3 + 1
    for base, tuned, value, change, p, n in found[1:]:
        label = "" if tuned == "as it is" else tuned
        row = rows[base, label, "perplexity"]
        assert value.startswith(shown(row["value"]))
        assert n == f"{row['n']:,} {row['n_groups']:,} groups"
        if label:
            differs = rows[base, label, "perplexity_change"]
            assert shown(abs(differs["value"])) in change
            assert ("\u25b2" in change or "better" in change) == (differs["upper"] < 0)
            assert p == f"{rows[base, label, 'perplexity_change_p']['value']:.2g}"


def test_the_page_holds_all_it_shows_and_its_figure_lies_beside_it(run: Path, page: str) -> None:
    assert "A &lt;small&gt; page" in page
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert {path.name for path in (run / "report" / "figures").iterdir()} == {"held_out_loss.png", "held_out_loss.pdf"}
    assert write_report(run).read_text("utf-8") == page


def test_a_record_that_cannot_be_read_is_named(run: Path, tmp_path: Path) -> None:
    content = read_run(run)
    unit = json.loads((run / "plan.json").read_text())[1]
    (tmp_path / "plan.json").write_text(json.dumps([unit]))
    record = tmp_path / "units" / unit["unit"] / "tuning.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"held_out_loss": 3}')
    with pytest.raises(RunError, match=r"tuning\.json"):
        tuning_run(content, tmp_path)


def test_a_run_without_a_finished_tuning_says_so(run: Path, tmp_path: Path) -> None:
    for name in ("measurements.parquet", "study.json", "manifest.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert "no tuning is finished yet" in write_report(tmp_path).read_text("utf-8")
