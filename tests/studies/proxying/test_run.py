"""Proxy-tuning over a series, from its file to its table and its page."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.studies.small_studies import READING, SETTINGS, rows_in, series
from trustrace.core.errors import ConfigError, RunError, TokenizerError, TrustraceError
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.report.page import write_report
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.proxying.config import ProxyConfig
from trustrace.studies.proxying.plan import Member, ProxyPlan, foresee_proxy, plan_proxy
from trustrace.studies.proxying.run import run_proxy
from trustrace.studies.settings import Settings
from trustrace.studies.status import read_status
from trustrace.studies.working import Work

EXPERT, ANTI = "target@main", "series@step_0000002"
LABEL = f"proxy:{EXPERT}-{ANTI}"
TASK = "world_text/test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return series(tmp_path_factory.mktemp("proxy"))


def asked(folder: Path, **changes: Any) -> ProxyConfig:
    values = {
        "study": "proxy_tune",
        "name": "small",
        "bases": {"source": str(folder / "series")},
        "expert": str(folder / "target"),
        "anti_expert": {"source": str(folder / "series"), "revision": "step_0000002"},
        "alphas": [0.5, 1.0],
        "tasks": [READING, {"name": "text", "path": str(folder / "prose.txt")}],
        **changes,
    }
    return ProxyConfig.read(values, where="study.yaml")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    run_proxy(asked(folder), out=folder / "run", settings=SETTINGS)
    return folder / "run"


def of(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def value(rows: list[dict[str, Any]], **wanted: Any) -> float:
    (row,) = of(rows, **wanted)
    return float(row["value"])


def test_every_base_is_asked_as_it_is_and_under_each_strength_beside_the_expert(run: Path) -> None:
    rows = rows_in(run)
    for dataset in (TASK, "text:prose.txt/test"):
        found = of(rows, dataset=dataset, quantity="perplexity")
        assert [(row["checkpoint"], row["vector"], row["alpha"]) for row in found] == [
            (EXPERT, "", 0.0),
            *[
                (f"series@step_000000{step}", vector, alpha)
                for step in range(3)
                for vector, alpha in (("", 0.0), (LABEL, 0.5), (LABEL, 1.0))
            ],
        ]
        assert {(row["site"], row["position"], row["role"]) for row in found} == {("", "", "measured")}


def test_differences_are_to_the_base_and_to_the_expert_on_the_same_items(run: Path) -> None:
    rows = rows_in(run)
    expert = value(rows, dataset=TASK, quantity="perplexity", checkpoint=EXPERT)
    for step in range(3):
        base = {"dataset": TASK, "checkpoint": f"series@step_000000{step}"}
        plain = value(rows, **base, quantity="perplexity", alpha=0.0)
        for alpha in (0.5, 1.0):
            at = value(rows, **base, quantity="perplexity", alpha=alpha)
            assert value(rows, **base, quantity="perplexity_change", alpha=alpha) == pytest.approx(at - plain, rel=1e-6)
            over = value(rows, **base, quantity="perplexity_over_expert", alpha=alpha)
            assert over == pytest.approx(at - expert, rel=1e-4, abs=1e-2)
            assert of(rows, **base, quantity="perplexity_over_expert_p", alpha=alpha)


def test_the_model_that_was_tuned_speaks_as_the_tuned_one(run: Path) -> None:
    """Its own logits cancel: base = anti-expert at alpha 1 is the expert."""
    rows = rows_in(run)
    same = {"dataset": TASK, "checkpoint": ANTI, "alpha": 1.0}
    expert = value(rows, dataset=TASK, quantity="perplexity", checkpoint=EXPERT)
    assert value(rows, **same, quantity="perplexity") == pytest.approx(expert, rel=1e-4)
    assert value(rows, **same, quantity="perplexity_over_expert") == pytest.approx(0, abs=1e-3 * expert)


def test_a_second_run_does_nothing_and_an_interrupted_one_ends_with_the_same_bytes(
    folder: Path, run: Path, tmp_path: Path
) -> None:
    def stamps() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in run.glob("units/*/*")}

    before, table = stamps(), (run / "measurements.parquet").read_bytes()
    run_proxy(asked(folder), out=run, settings=Settings(device="cpu", batch_tokens=4096))
    assert stamps() == before

    def interrupting(done: int, total: int, what: str) -> None:
        if what == "units" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_proxy(asked(folder), out=tmp_path / "run", settings=SETTINGS, progress=interrupting)
    state = read_status(tmp_path / "run")
    assert (state.name, state.finished, state.total) == ("small", 3, 8)
    run_proxy(asked(folder), out=tmp_path / "run", settings=SETTINGS)
    assert (tmp_path / "run" / "measurements.parquet").read_bytes() == table


def test_each_model_is_loaded_once_and_the_expert_is_asked_each_task_once(
    folder: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, asks = [], []
    load, ask = ProxyPlan.load, Work.ask

    def load_and_tell(plan: ProxyPlan, member: Member) -> LanguageModel:
        loads.append(member.checkpoint.key)
        return load(plan, member)

    def ask_and_tell(work: Work, model: LanguageModel, task: TaskConfig) -> Any:
        asks.append((model.checkpoint.key, model.variants))
        return ask(work, model, task)

    monkeypatch.setattr(ProxyPlan, "load", load_and_tell)
    monkeypatch.setattr(Work, "ask", ask_and_tell)
    run_proxy(asked(folder), out=tmp_path / "run", settings=SETTINGS)
    assert sorted(loads) == ["series@step_0000000", "series@step_0000001", ANTI, EXPERT]
    assert asks.count((EXPERT, 1)) == 2
    assert len(asks) == 8
    assert (tmp_path / "run" / "measurements.parquet").read_bytes() == (run / "measurements.parquet").read_bytes()


def test_a_base_that_cannot_be_read_is_named_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "series", tmp_path / "series")
    weights = tmp_path / "series" / "checkpoints" / "step_0000000" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    config = asked(folder, bases={"source": str(tmp_path / "series")}, tasks=[READING])
    with pytest.raises(RunError, match="step_0000000"):
        run_proxy(config, out=tmp_path / "run", settings=SETTINGS)
    tuned = {row["checkpoint"] for row in rows_in(tmp_path / "run") if row["vector"]}
    assert tuned == {"series@step_0000001", "series@step_0000002"}
    assert "1 unit of this run failed" in write_report(tmp_path / "run").read_text("utf-8")


def test_two_revisions_with_equal_weights_are_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "series", tmp_path / "series")
    first, second = (tmp_path / "series" / "checkpoints" / f"step_000000{step}" for step in (0, 1))
    shutil.copy2(first / "model.safetensors", second / "model.safetensors")
    config = asked(folder, bases={"source": str(tmp_path / "series")}, tasks=[READING])
    run_proxy(config, out=tmp_path / "run", settings=SETTINGS)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text("utf-8"))
    assert manifest["equal_weights"] == [["series@step_0000000", "series@step_0000001"]]
    assert "have equal weights" in write_report(tmp_path / "run").read_text("utf-8")


def test_the_page_says_from_what_to_what_and_shows_the_figure(run: Path) -> None:
    page = write_report(run).read_text("utf-8")
    assert (run / "report" / "figures" / "proxy_tuning.pdf").is_file()
    assert "data:image/png;base64," in page
    assert "World, text: perplexity" in page
    assert f"{EXPERT} by itself: " in page
    assert "the expert: " in page
    assert "<script>" not in page.partition("</head>")[0]


def test_what_a_study_will_do_is_told_before(folder: Path, run: Path) -> None:
    rows = {row["what"]: row["value"] for row in foresee_proxy(asked(folder), settings=SETTINGS, run=run)}
    assert (rows["bases"], rows["models asked as they are besides"]) == (3, 1)
    assert rows["units in all"] == "8, of which 0 are open"


def test_another_vocabulary_is_refused_before_anything_is_loaded(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "target", tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    words = content["model"]["vocab"]
    first, second = list(words)[-2:]
    words[first], words[second] = words[second], words[first]
    file.write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match="another vocabulary than"):
        plan_proxy(asked(folder, expert=str(tmp_path / "other")), settings=SETTINGS)


@pytest.mark.parametrize(("is_special", "at"), [(True, 258), (False, 258), (True, 3)])
def test_an_expert_that_gained_a_special_token_after_the_others_is_taken(
    folder: Path, tmp_path: Path, is_special: bool, at: int
) -> None:
    shutil.copytree(folder / "target", tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    assert max(content["model"]["vocab"].values()) == 257
    content["added_tokens"].append({**content["added_tokens"][0], "id": at, "content": "<turn>", "special": is_special})
    file.write_text(json.dumps(content))
    study = asked(folder, expert=str(tmp_path / "other"))
    if is_special and at == 258:
        assert plan_proxy(study, settings=SETTINGS).expert.checkpoint.key == "other@main"
        return
    with pytest.raises(TokenizerError, match="another vocabulary than"):
        plan_proxy(study, settings=SETTINGS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"alphas": [0.0]}, "each base is asked as it is anyway"),
        ({"alphas": [1.0, 1.0]}, "differ from 0 and from each other"),
        ({"alphas": [float("nan")]}, "finite"),
        ({"tasks": [READING, READING]}, "two tasks are called world_text"),
        ({"tasks": []}, "tasks"),
    ],
)
def test_what_means_nothing_is_refused_when_it_is_read(folder: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked(folder, **changes)


def test_two_models_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    tiny.save(tmp_path / "target", "llama", seed=3)
    with pytest.raises(TrustraceError, match="two models are called target@main"):
        plan_proxy(asked(folder, references=[str(tmp_path / "target")]), settings=SETTINGS)
