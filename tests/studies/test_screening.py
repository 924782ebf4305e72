"""Checkpoints that are not what they are called: named, left out of the table, never interpolated, and the exit code says so."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.studies.test_streaming import study
from trustrace.core.errors import RunError
from trustrace.models import tiny
from trustrace.studies.config import TraceConfig
from trustrace.studies.screening import _screened
from trustrace.studies.settings import Settings
from trustrace.studies.status import read_status
from trustrace.studies.trace import run_trace

SETTINGS = Settings(device="cpu")
STEPS = (0, 1, 2, 3, 4)
FILE = "model.safetensors"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series whose weights move on a little with each step, in one direction and at random."""
    folder = tmp_path_factory.mktemp("clean") / "series"
    draws = torch.Generator().manual_seed(0)
    step_0 = tiny.save(folder / "step_0", "gpt_neox", n_blocks=1)
    weights = load_file(step_0 / FILE)
    slope = {name: torch.randn(one.shape, generator=draws) for name, one in weights.items()}
    for step in STEPS[1:]:
        shutil.copytree(step_0, folder / f"step_{step}")
        weights = {
            name: one + 0.02 * slope[name] + 0.02 * torch.randn(one.shape, generator=draws)
            for name, one in weights.items()
        }
        save_file(weights, folder / f"step_{step}" / FILE, metadata={"format": "pt"})
    return folder


@pytest.fixture
def series(clean: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clean, tmp_path / "series")


def asked(folder: Path, series: Path, **checkpoints: Any) -> TraceConfig:
    return study(folder, checkpoints={"source": str(series), **checkpoints}, information=None, random_init_seeds=[])


def measured(run: Path) -> set[str]:
    rows = pq.read_table(run / "measurements.parquet").to_pylist()
    return {row["checkpoint"].partition("@")[2] for row in rows if row["checkpoint"]}


def names(*steps: int) -> set[str]:
    return {f"step_{step}" for step in steps}


def swap(series: Path, step: int) -> None:
    """Another seed's weights under the name of a step."""
    tiny.build("gpt_neox", seed=9, n_blocks=1).save_pretrained(series / f"step_{step}")


def test_a_clean_series_is_measured_whole(series: Path, tmp_path: Path) -> None:
    run_trace(asked(tmp_path, series), out=tmp_path / "run", settings=SETTINGS)
    assert measured(tmp_path / "run") == names(*STEPS)
    assert json.loads((tmp_path / "run" / "quarantine.json").read_text()) == []
    assert not read_status(tmp_path / "run").failures


def test_another_seeds_weights_are_quarantined_by_name(series: Path, tmp_path: Path) -> None:
    swap(series, 2)
    run = tmp_path / "run"
    with pytest.raises(
        RunError, match=r"1 checkpoints do not hold .*\n.*step_2: its weights lie off the way"
    ) as caught:
        run_trace(asked(tmp_path, series), out=run, settings=SETTINGS)
    assert caught.value.exit_code != 0
    assert measured(run) == names(0, 1, 3, 4)
    [failure] = json.loads((run / "manifest.json").read_text())["failures"]
    assert (failure["unit"], failure["error"]) == ("series@step_2", "Quarantined")
    assert [one["unit"] for one in read_status(run).failures] == ["series@step_2"]
    # Nothing stands in its place: what is judged over training has seen four checkpoints, in two datasets each.
    [phases] = (run / "units").glob("phases-*")
    assert len(json.loads((phases / "record.json").read_text())["inputs"]["units"]) == 8


def test_a_checkpoint_that_is_trusted_stays(series: Path, tmp_path: Path) -> None:
    swap(series, 2)
    run_trace(asked(tmp_path, series, trusted=["step_2"]), out=tmp_path / "run", settings=SETTINGS)
    assert measured(tmp_path / "run") == names(*STEPS)


def test_equal_weights_under_two_names_are_quarantined(series: Path, tmp_path: Path) -> None:
    shutil.copy(series / "step_3" / FILE, series / "step_2" / FILE)
    with pytest.raises(RunError, match="step_2: its weights equal those of step_3"):
        run_trace(asked(tmp_path, series), out=tmp_path / "run", settings=SETTINGS)
    assert measured(tmp_path / "run") == names(0, 1, 4)


def test_a_damaged_tensor_of_the_last_checkpoint_is_found_by_the_loss(series: Path, tmp_path: Path) -> None:
    """What no rule about weights judges: an end of the series, and a single tensor."""
    place = series / "step_4" / FILE
    weights = load_file(place)
    weights["embed_out.weight"] *= 10
    save_file(weights, place, metadata={"format": "pt"})
    with pytest.raises(RunError, match=r"step_4: its loss on a fixed text is .* that of the checkpoint before it"):
        run_trace(asked(tmp_path, series), out=tmp_path / "run", settings=SETTINGS)
    assert measured(tmp_path / "run") == names(0, 1, 2, 3)


@pytest.mark.parametrize("damage", ["truncated", "not finite", "missing"])
def test_damaged_weights_are_named_and_the_others_are_measured(damage: str, series: Path, tmp_path: Path) -> None:
    place = series / "step_2" / FILE
    if damage == "truncated":
        os.truncate(place, place.stat().st_size // 2)
    elif damage == "not finite":
        weights = load_file(place)
        next(iter(weights.values()))[0] = float("nan")
        save_file(weights, place, metadata={"format": "pt"})
    else:
        place.unlink()
    with pytest.raises(RunError, match=r"2 units failed.*\n.*step_2"):
        run_trace(asked(tmp_path, series), out=tmp_path / "run", settings=SETTINGS)
    assert measured(tmp_path / "run") == names(0, 1, 3, 4)


def test_one_record_that_is_damaged_costs_its_own_checkpoint_and_no_other(series: Path, tmp_path: Path) -> None:
    """The record of an earlier call, on a disk that lost a part of it."""
    run = tmp_path / "run"
    run_trace(asked(tmp_path, series), out=run, settings=SETTINGS)
    [record] = (path for path in (run / "units").glob("weights-*/vitals.npz") if "step_3" in path.parent.name)
    os.truncate(record, 60)
    _screened.cache_clear()
    with pytest.raises(RunError, match=rf"step_3: .*{record.parent.name}/vitals.npz: .*cannot be read") as caught:
        run_trace(asked(tmp_path, series), out=run, settings=SETTINGS)
    assert caught.value.exit_code == 3
    assert measured(run) == names(0, 1, 2, 4)
