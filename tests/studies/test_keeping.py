"""Comparing more checkpoints than the disk holds: streamed, each loaded once, with no more kept than pairs need."""

import gc
import json
import shutil
import weakref
from collections import Counter, namedtuple
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.models.fake_hub import FakeHub
from tests.models.test_stream import footprint, watching
from tests.studies.test_screening import asked as screened
from tests.studies.test_screening import clean, series, swap  # noqa: F401 - fixtures
from tests.studies.test_streaming import STEPS, hub, loads, revisions, study  # noqa: F401 - fixtures
from trustrace.core.errors import ConfigError, DiskFullError, MeasurementError, RunError
from trustrace.core.statements import Statements
from trustrace.measures.over_training.config import OverTrainingConfig
from trustrace.models.integrity import Alarm
from trustrace.models.language_model import LanguageModel
from trustrace.runs.ledger import Ledger
from trustrace.studies import over_training
from trustrace.studies.config import TraceConfig
from trustrace.studies.keeping import Keeping
from trustrace.studies.over_training import run_dynamics
from trustrace.studies.planning import Plan, Subject
from trustrace.studies.settings import Settings

OVER = OverTrainingConfig(
    matrix_checkpoints=3,
    exchanges=100,
    null_draws=39,
    influence_blocks=20,
    matrix_draws=100,
    blocks=4,
    halvings=1,
    rank=1,
    hardest=3,
)


def begun(folder: Path, asked: TraceConfig) -> Path:
    """The folder of a trace that has measured nothing yet: its checkpoints can be compared all the same."""
    with Ledger.open(folder, study=asked.model_dump(mode="json")):
        return folder


def one_dataset(folder: Path, **changes: Any) -> TraceConfig:
    asked = study(folder, information=None, random_init_seeds=[], **changes)
    return asked.model_copy(update={"datasets": asked.datasets[:1]})


def table(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(run / "dynamics.parquet").to_pylist()
    return found


def test_a_series_larger_than_the_disk_is_compared_with_each_model_loaded_once(
    hub: FakeHub,  # noqa: F811
    revisions: dict[str, Path],  # noqa: F811
    loads: Counter[str],  # noqa: F811
    tmp_path: Path,
) -> None:
    run, said = begun(tmp_path / "run", one_dataset(tmp_path)), []
    budget = int(2.5 * footprint(revisions["step0"]))
    hub.rate = 2e6
    with watching(tmp_path / "cache") as sizes:
        run_dynamics(run, settings=Settings(device="cpu", disk_budget=budget), over=OVER, tell=said.append)
    assert max(sizes) <= budget
    assert loads == Counter([f"step{step}" for step in STEPS])
    assert set(list(loads)[:2]) == {"step16", "step0"}, "coarse results come first"
    weights = (revisions["step0"] / "model.safetensors").stat().st_size
    left = [path.stat().st_size for path in (tmp_path / "cache").glob("models--*/blobs/*")]
    assert max(left) < weights, (
        "of all that was fetched, the configuration alone stays, which said how large the models are"
    )
    assert "activations of 3 checkpoints at 1 sites" in said[0]
    rows = table(run)
    courses = {row["checkpoint"] for row in rows if row["quantity"] == "noise tolerance"}
    pairs = {row["checkpoint"] for row in rows if row["quantity"] == "transfer auroc"}
    assert (len(courses), len(pairs)) == (len(STEPS), 3)
    assert not (run / "dynamics-scratch").exists()


def test_a_comparison_that_was_stopped_goes_on_with_what_it_has_read_and_ends_in_the_same_table(
    hub: FakeHub,  # noqa: F811
    loads: Counter[str],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, asked = Settings(device="cpu"), one_dataset(tmp_path)
    run_dynamics(begun(tmp_path / "whole", asked), settings=settings, over=OVER)
    loads.clear()

    def stop(done: int, total: int, what: str) -> None:
        if done == 4:
            raise KeyboardInterrupt

    run = begun(tmp_path / "run", asked)
    with pytest.raises(KeyboardInterrupt):
        run_dynamics(run, settings=settings, over=OVER, progress=stop)
    kept = sorted((run / "dynamics-scratch").glob("a*-*"))
    assert Counter(path.suffix for path in kept)[".npz"] in (1, 2)
    kept[-1].write_bytes(kept[-1].read_bytes()[:50])
    (run / "dynamics-scratch" / "of another comparison").write_text("")
    run_dynamics(run, settings=settings, over=OVER)
    assert sum(loads.values()) == len(STEPS) + 1, "what was damaged is read once more, and nothing else"
    assert (run / "dynamics.parquet").read_bytes() == (tmp_path / "whole" / "dynamics.parquet").read_bytes()
    assert not (run / "dynamics-scratch").exists()
    monkeypatch.setattr(over_training, "read_all", None)
    run_dynamics(run, settings=settings, over=OVER)


def test_what_the_disk_or_the_budget_cannot_hold_is_refused_before_a_model_is_loaded(
    hub: FakeHub,  # noqa: F811
    loads: Counter[str],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, settings = begun(tmp_path / "run", one_dataset(tmp_path, sites="all")), Settings(device="cpu")
    # Three checkpoints at three sites in float32, what three others say, and one that is read: 40 statements, 32 wide.
    needed = 3 * (40 * 3 * 32 * 4) + 3 * (40 * 3 * 16) + 40 * 3 * 32 * 4
    with pytest.raises(
        ConfigError,
        match=r"takes 67\.2 kB of scratch, and --scratch-budget allows 67\.2 kB.*--site; one takes 22\.4 kB",
    ):
        run_dynamics(run, settings=settings, over=OVER, scratch_budget=needed - 1)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - needed + 1, needed - 1))
    with pytest.raises(DiskFullError, match=r"--checkpoints; each takes 15\.4 kB"):
        run_dynamics(run, settings=settings, over=OVER)
    with pytest.raises(ConfigError, match="block_7"):
        run_dynamics(run, settings=settings, over=OVER, sites=["block_7"])
    assert not loads


def test_a_checkpoint_with_the_weights_of_another_is_left_out_with_a_word(
    series: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    swap(series, 2)
    asked, said = screened(tmp_path, series), []
    run = begun(tmp_path / "run", asked.model_copy(update={"datasets": asked.datasets[:1]}))
    for _ in range(2):
        over = OVER.model_copy(update={"matrix_checkpoints": 5})
        run_dynamics(run, settings=Settings(device="cpu"), over=over, tell=said.append)
    assert [one.partition(": ")[2].partition(":")[0] for one in said if one.startswith("left out")] == [
        "series@step_2",
        "series@step_2",
    ]
    assert "series@step_2" not in {row["checkpoint"] for row in table(run)}
    summary = json.loads((run / "dynamics.json").read_text("utf-8"))
    assert [one["unit"] for one in summary["quarantined"]] == ["series@step_2"]
    assert summary["failures"] == []
    # The second call found everything done, although the first one learnt only on its way what is wrong.
    assert len([one for one in said if one.startswith("scratch")]) == 1


def courses(run: Path) -> set[tuple[str, str]]:
    return {(row["dataset"], row["checkpoint"]) for row in table(run) if row["quantity"] == "noise tolerance"}


def test_a_checkpoint_whose_alarm_vanishes_when_more_is_known_is_read_and_compared(
    series: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, calls = screened(tmp_path, series), []

    def looks_off_at_first(plan: Plan, _: Ledger) -> tuple[Alarm, ...]:
        calls.append(plan)
        return () if calls[1:] else (Alarm(checkpoint=plan.subjects[2].checkpoint, reason="looks off so far"),)

    monkeypatch.setattr(over_training, "quarantined", looks_off_at_first)
    run = begun(tmp_path / "run", asked.model_copy(update={"datasets": asked.datasets[:1]}))
    run_dynamics(run, settings=Settings(device="cpu"), over=OVER)
    summary = json.loads((run / "dynamics.json").read_text("utf-8"))
    assert summary["quarantined"] == []
    assert sorted(summary["checkpoints"]) == sorted(key for _, key in courses(run))
    assert len(courses(run)) == 5


def test_what_fails_on_one_dataset_leaves_the_others_and_no_model_in_memory(
    series: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, models, alive = begun(tmp_path / "run", screened(tmp_path, series)), [], []
    read, first = Keeping.read, screened(tmp_path, series).datasets[0].name

    def failing(self: Keeping, model: LanguageModel, subject: Subject, statements: Statements) -> None:
        if statements.name == first:
            gc.collect()
            alive.append(sum(one() is not None for one in models))
            models.append(weakref.ref(model.module))
            if subject.checkpoint.revision in ("step_1", "step_2"):
                raise MeasurementError("NaN at block_0")
        read(self, model, subject, statements)

    monkeypatch.setattr(Keeping, "read", failing)
    with pytest.raises(RunError, match=rf"step_1 on {first}: NaN at block_0"):
        run_dynamics(run, settings=Settings(device="cpu"), over=OVER)
    assert alive == [0] * 5
    assert len(courses(run)) == 3 + 5
