"""Tracing while training changes no weight, and says what tracing the saved checkpoints says."""

import json
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import Trainer, TrainerCallback

from tests.studies.live_trainings import PROBING, STEPS, at_steps, measuring, model, same, table, traced, trainer
from trustrace.core.errors import ConfigError, DataError, MeasurementError, RunError
from trustrace.models import tiny
from trustrace.report.page import write_report
from trustrace.studies.live import callback as live
from trustrace.studies.live.callback import LiveTraceWarning, TraceCallback
from trustrace.studies.status import read_status
from trustrace.training.trainer import UnplottedWarning


@dataclass(frozen=True)
class Finished:
    """A training without a trace, the same with one, and the trace of what the latter saved."""

    plain: Trainer
    watched: Trainer
    asked: dict[str, Any]
    out: Path
    saved: list[dict[str, Any]]
    events: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    asked = measuring(folder)
    plain = trainer(folder / "plain", save_strategy="no")
    plain.train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORBOARD_LOGGING_DIR", str(folder / "events"))
        watched = trainer(folder / "run", report_to=["tensorboard"])
        TraceCallback(asked, out=folder / "live").attach(watched)
        watched.train()
    saved = traced(folder / "run", asked, out=folder / "saved")
    return Finished(plain, watched, asked, folder / "live", saved, folder / "events")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each step is measured."""
    counts: Counter[int] = Counter()
    measure = live.measure_statements

    def count(model: Any, *given: Any, **named: Any) -> Any:
        counts[model.checkpoint.step] += 1
        return measure(model, *given, **named)

    monkeypatch.setattr(live, "measure_statements", count)
    return counts


class _Crash(TrainerCallback):
    """Ends the process's training after a step, as a power cut would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_a_traced_training_ends_with_the_weights_of_an_untraced_one_bit_for_bit(finished: Finished) -> None:
    expected, found = finished.plain.model.state_dict(), finished.watched.model.state_dict()
    fresh = model().state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not any(torch.equal(fresh[name], found[name]) for name in expected if "proj" in name)


def test_a_training_that_draws_is_changed_by_a_single_draw(finished: Finished, tmp_path: Path) -> None:
    class Draw(TrainerCallback):
        def on_step_end(self, *args: Any, **given: Any) -> None:
            torch.rand(1)

    disturbed = trainer(tmp_path / "run", save_strategy="no")
    disturbed.add_callback(Draw())
    disturbed.train()
    expected, found = finished.plain.model.state_dict(), disturbed.model.state_dict()
    assert not all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_live_table_is_that_of_the_saved_checkpoints_to_the_last_bit(finished: Finished) -> None:
    steps = (2, 4, 6, 8)
    expected = at_steps(finished.saved, *steps)
    assert len(expected) > 100
    assert {row["checkpoint"] for row in expected} == {f"run@checkpoint-{step}" for step in steps}
    assert same(at_steps(table(finished.out), *steps), expected)
    values = {row["value"] for row in expected if row["quantity"] == "log_loss" and row["site"] == "block_1"}
    assert len(values) > 4, "numbers that never move would prove nothing"


def test_step_0_is_measured_before_the_first_update(finished: Finished) -> None:
    assert len(at_steps(table(finished.out), 0)) == len(at_steps(finished.saved, 2))


def test_the_trainer_logs_its_losses_as_it_does_without(finished: Finished) -> None:
    def losses(of: Trainer) -> list[tuple[int, float]]:
        return [(entry["step"], entry["loss"]) for entry in of.state.log_history if "loss" in entry]

    assert losses(finished.watched) == losses(finished.plain)
    assert len(losses(finished.plain)) == STEPS // 2


def test_what_is_plotted_is_read_back_from_the_event_file_of_tensorboard(finished: Finished) -> None:
    events = EventAccumulator(str(finished.events))
    events.Reload()
    plotted = {one.step: one.value for one in events.Scalars("train/trustrace/pets/block_1/auroc")}
    rows = [
        row
        for row in table(finished.out)
        if (row["quantity"], row["method"], row["site"]) == ("auroc", "logistic", "block_1")
    ]
    assert plotted == pytest.approx({row["step"]: row["value"] for row in rows}, abs=1e-7)
    assert set(plotted) == {0, 2, 4, 6, 8}
    best = {one.step: one.value for one in events.Scalars("train/trustrace/pets/best_site")}
    losses = {
        (row["step"], row["site"]): row["value"]
        for row in table(finished.out)
        if row["quantity"] == "selection_log_loss"
    }
    assert best == {step: float(losses[step, "block_1"] < losses[step, "embed"]) for step in plotted}


def test_the_folder_is_that_of_a_trace(finished: Finished) -> None:
    status = read_status(finished.out)
    assert (status.finished, status.total, status.failures) == (6, 6, ())
    assert "pets" in write_report(finished.out).read_text("utf-8")
    assert any(row["quantity"] == "accuracy shape" for row in table(finished.out))


def test_while_training_goes_on_the_steps_to_come_are_open(tmp_path: Path) -> None:
    asked = measuring(tmp_path, schedule={"steps": [0, 5, 7, 100]})
    cut = trainer(tmp_path / "run", save_strategy="no")
    TraceCallback(asked, out=tmp_path / "live").attach(cut)
    cut.add_callback(_Crash(5))
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    status = read_status(tmp_path / "live")
    assert (status.finished, status.total) == (3, 4)
    assert status.seconds_left is not None
    assert status.seconds_left > 0


def test_a_training_that_goes_on_measures_no_step_again_and_ends_with_the_same_table(
    finished: Finished, tmp_path: Path, measured: Counter[int]
) -> None:
    out = tmp_path / "live"
    cut = trainer(tmp_path / "run", save_steps=4)
    TraceCallback(finished.asked, out=out).attach(cut)
    cut.add_callback(_Crash(7))
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    assert measured == {0: 1, 2: 1, 4: 1, 6: 1}
    again = trainer(tmp_path / "run", model(seed=5), save_steps=4)
    TraceCallback(finished.asked, out=out).attach(again)
    again.train(resume_from_checkpoint=True)
    assert measured == {0: 1, 2: 1, 4: 1, 6: 1, 8: 1}, "step 6 is met again with the same weights, and recognised"
    assert same(table(out), table(finished.out))


def test_steps_after_the_one_where_training_goes_on_are_measured_anew_where_weights_differ(
    finished: Finished, tmp_path: Path, measured: Counter[int]
) -> None:
    out = tmp_path / "live"
    cut = trainer(tmp_path / "run", save_steps=4)
    TraceCallback(finished.asked, out=out).attach(cut)
    cut.add_callback(_Crash(7))
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    before = at_steps(table(out), 6)
    again = trainer(tmp_path / "run", model(seed=5), save_steps=4)
    rows = torch.randint(258, (64, 12), generator=torch.Generator().manual_seed(2))
    again.train_dataset = [{"input_ids": row, "labels": row} for row in rows]
    TraceCallback(finished.asked, out=out).attach(again)
    again.train(resume_from_checkpoint=True)
    assert measured == {0: 1, 2: 1, 4: 1, 6: 2, 8: 1}
    after = at_steps(table(out), 6)
    assert len(after) == len(before)
    assert not same(after, before)


def test_the_folder_of_another_training_is_refused_before_the_first_step(finished: Finished, tmp_path: Path) -> None:
    other = trainer(tmp_path / "run", model(seed=3))
    TraceCallback(finished.asked, out=finished.out).attach(other)
    with pytest.raises(RunError, match="belongs to another training: its weights at step 0"):
        other.train()
    faster = trainer(tmp_path / "run", learning_rate=0.5)
    TraceCallback(finished.asked, out=finished.out).attach(faster)
    with pytest.raises(RunError, match="differs in training"):
        faster.train()
    assert other.state.global_step == faster.state.global_step == 0


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    refused = trainer(tmp_path / "run")
    TraceCallback(measuring(tmp_path), out=tmp_path / "mine").attach(refused)
    with pytest.raises(RunError, match="not a run and holds other files"):
        refused.train()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"datasets": ["reliabillity/world"]}, ConfigError, "reliability/world"),
        ({"sites": ["blok_1"]}, ConfigError, "unknown site 'blok_1'"),
        ({"budget": 5}, ConfigError, "budget"),
        ({"shedule": {"every": 2}}, ConfigError, "did you mean 'schedule'"),
        ({"schedule": {"every": 0}}, ConfigError, "schedule"),
    ],
)
def test_what_is_unknown_is_refused_when_the_callback_is_made(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        TraceCallback(measuring(tmp_path, **changes), out=tmp_path / "live")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"sites": ["block_7"]}, ConfigError, "block_7.*has 2 blocks"),
        ({"schedule": {"every": 9}}, ConfigError, "every 9 steps lies outside a training of 8 steps"),
        ({"schedule": {"steps": [20, 30]}}, ConfigError, "lies outside a training of 8 steps"),
        ({"dtype": "bfloat16"}, ConfigError, "trained in float32"),
    ],
)
def test_what_does_not_fit_the_training_is_refused_before_the_first_step(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    refused = trainer(tmp_path / "run")
    TraceCallback(measuring(tmp_path, **changes), out=tmp_path / "live").attach(refused)
    with pytest.raises(error, match=said):
        refused.train()
    assert refused.state.global_step == 0


def test_a_statement_that_is_longer_than_the_context_is_refused_before_the_first_step(tmp_path: Path) -> None:
    refused = trainer(tmp_path / "run")
    refused.processing_class = None
    short = tiny.tokenizer()
    short.model_max_length = 8
    TraceCallback(measuring(tmp_path), out=tmp_path / "live", tokenizer=short).attach(refused)
    with pytest.raises(DataError, match=r"pets: statement 0 has \d+ tokens"):
        refused.train()


def test_a_trainer_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    refused = trainer(tmp_path / "run")
    refused.callback_handler.processing_class = None
    TraceCallback(measuring(tmp_path), out=tmp_path / "live").attach(refused)
    with pytest.raises(ConfigError, match="processing_class is NoneType"):
        refused.train()


def test_a_data_set_that_allows_no_probes_is_refused_before_the_first_step(tmp_path: Path) -> None:
    refused = trainer(tmp_path / "run")
    TraceCallback(measuring(tmp_path, probing=PROBING | {"folds": 40}), out=tmp_path / "live").attach(refused)
    with pytest.raises(MeasurementError, match=r"pets.*24 groups"):
        refused.train()


def test_weights_that_are_spread_over_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = trainer(tmp_path / "run")
    TraceCallback(measuring(tmp_path), out=tmp_path / "live").attach(refused)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match="FSDP spreads it over several"):
        refused.train()


@pytest.mark.parametrize(
    "error",
    [
        MeasurementError("no number"),
        torch.OutOfMemoryError("no room"),
        RunError("no disk"),
        OSError("no space"),
        ValueError("no sense"),
    ],
)
def test_what_goes_wrong_while_measuring_is_said_and_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*given: Any, **named: Any) -> Any:
        raise error

    monkeypatch.setattr(live, "measure_statements", fail)
    goes_on = trainer(tmp_path / "run", save_strategy="no")
    TraceCallback(measuring(tmp_path, schedule={"steps": [3]}), out=tmp_path / "live").attach(goes_on)
    with pytest.warns(LiveTraceWarning, match=f"not traced.*{error}"):
        goes_on.train()
    assert goes_on.state.global_step == STEPS


def test_a_scheduled_step_that_the_budget_does_not_allow_is_skipped_and_named(tmp_path: Path) -> None:
    short = trainer(tmp_path / "run", save_strategy="no")
    TraceCallback(measuring(tmp_path, budget=0.05), out=tmp_path / "live").attach(short)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        short.train()
    assert re.match(r"step 2 is skipped: measuring took .* 5\.0% of .* see `budget`", str(said[0].message))
    assert [str(one.message)[:15] for one in said] == [f"step {step} is skipp"[:15] for step in (2, 4, 6, 8)]
    assert {row["step"] for row in table(tmp_path / "live")} == {None, 0}
    assert set(json.loads((tmp_path / "live" / "live.json").read_text())["skipped"]) == {"2", "4", "6", "8"}
    assert read_status(tmp_path / "live").total == 2


def test_a_callback_that_cannot_plot_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    unattached = trainer(tmp_path / "run", report_to=["tensorboard"], save_strategy="no", max_steps=1)
    unattached.add_callback(TraceCallback(measuring(tmp_path, schedule={"steps": [1]}), out=tmp_path / "live"))
    with pytest.warns(UnplottedWarning, match="attach"):
        unattached.train()
    assert len(at_steps(table(tmp_path / "live"), 1)) > 20


def test_the_example_of_the_documentation_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "live.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shorter = trainer(tmp_path / "run", save_strategy="no")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        exec(example, {"trainer": shorter})  # noqa: S102
    assert all("is skipped" in str(one.message) for one in said if one.category is LiveTraceWarning)
    assert {row["site"] for row in at_steps(table(Path("runs/live")), 0)} == {"block_0", "block_1", "chosen"}
