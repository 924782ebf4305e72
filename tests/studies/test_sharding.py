"""A divided trace: every unit falls to one shard, and whoever ends last leaves the table of an undivided run."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.studies.live_trainings import PROBING
from tests.studies.small_studies import pets
from trustrace.core.errors import ConfigError, RunError
from trustrace.models import tiny
from trustrace.studies.config import TraceConfig
from trustrace.studies.planning import plan_trace
from trustrace.studies.settings import Settings
from trustrace.studies.sharding import WHOLE, Shard, units_of
from trustrace.studies.trace import run_trace

SETTINGS = Settings(device="cpu")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> TraceConfig:
    """Five models, two data sets."""
    folder = tmp_path_factory.mktemp("series")
    tiny.save_series(folder, "llama", steps=(0, 1, 2, 4))
    data = [
        {"name": name, "path": str(pets(folder / f"{name}.csv", seed=seed, wrong=0.3))}
        for seed, name in enumerate("ab")
    ]
    return TraceConfig.read(
        {
            "name": "divided",
            "checkpoints": {"source": str(folder / "checkpoints")},
            "datasets": data,
            "sites": ["block_1"],
            "probing": PROBING,
            "information": {"widths": [50], "max_statements": 48},
        },
        where="-",
    )


@pytest.fixture(scope="module")
def undivided(study: TraceConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_trace(study, out=tmp_path_factory.mktemp("whole") / "run", settings=SETTINGS).parent


@given(count=st.integers(1, 40), n_things=st.integers(0, 100))
def test_every_thing_falls_to_one_shard_and_shards_differ_by_one_thing_at_most(count: int, n_things: int) -> None:
    parts = [Shard(number=number, count=count).part(range(n_things)) for number in range(1, count + 1)]
    assert sorted(thing for part in parts for thing in part) == list(range(n_things))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_has_early_checkpoints_and_late_ones() -> None:
    assert Shard.parse("2/3").part("abcdefgh") == "beh"


def test_a_model_is_loaded_by_one_shard_alone(study: TraceConfig) -> None:
    plan = plan_trace(study, settings=SETTINGS)
    parts = [units_of(plan, Shard(number=number, count=3)) for number in (1, 2, 3)]
    models = [{unit.name.partition("/")[0] for unit in part if unit.step == "trace"} for part in parts]
    assert sum(map(len, models)) == len(set().union(*models)) == 5
    assert sorted(unit.folder for part in parts for unit in part) == sorted(unit.folder for unit in plan.units)
    assert units_of(plan, WHOLE) == plan.units


@pytest.mark.parametrize(
    "text", ["", "3", "0/2", "3/2", "-1/2", "1/0", "1/2/3", "a/b", "1.0/2", " 1/2", "１/２", "1/2\n"]
)
def test_what_names_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="NUMBER/COUNT"):
        Shard.parse(text)


def kinds(run: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (run / "units").iterdir())


def test_after_the_last_shard_the_table_is_that_of_an_undivided_run(
    study: TraceConfig, undivided: Path, tmp_path: Path
) -> None:
    for number in (3, 1):
        run_trace(study, out=tmp_path / "run", settings=SETTINGS, shard=Shard(number=number, count=3))
        assert "phases" not in kinds(tmp_path / "run")
    run_trace(study, out=tmp_path / "run", settings=SETTINGS, shard=Shard(number=2, count=3))
    assert (tmp_path / "run" / "measurements.parquet").read_bytes() == (undivided / "measurements.parquet").read_bytes()
    assert kinds(tmp_path / "run") == kinds(undivided)
    assert json.loads((tmp_path / "run" / "audit.json").read_text()) == json.loads(
        (undivided / "audit.json").read_text()
    )


def test_a_shard_tells_of_its_own_units_alone(study: TraceConfig, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, what: str) -> None:
        if what.startswith("units"):
            told.append((done, total))

    run_trace(study, out=tmp_path / "run", settings=SETTINGS, shard=Shard.parse("2/3"), progress=progress)
    assert told[0] == (0, 5)
    assert told[-1] == (5, 5)


def test_a_failure_ends_the_shard_it_fell_to_and_leaves_the_gap_that_an_undivided_run_leaves(
    study: TraceConfig, tmp_path: Path
) -> None:
    tiny.save_series(tmp_path, "llama", steps=(0, 1, 2, 4))
    weights = sorted((tmp_path / "checkpoints").iterdir())[1] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    broken = study.model_copy(
        update={"checkpoints": study.checkpoints.model_copy(update={"source": str(tmp_path / "checkpoints")})}
    )
    with pytest.raises(RunError, match="step_0000001"):
        run_trace(broken, out=tmp_path / "whole", settings=SETTINGS)
    # The fresh model comes first, so that the damaged one is the third and falls to the first of two.
    with pytest.raises(RunError, match=r"2 units failed"):
        run_trace(broken, out=tmp_path / "run", settings=SETTINGS, shard=Shard.parse("1/2"))
    run_trace(broken, out=tmp_path / "run", settings=SETTINGS, shard=Shard.parse("2/2"))
    assert (tmp_path / "run" / "measurements.parquet").read_bytes() == (
        tmp_path / "whole" / "measurements.parquet"
    ).read_bytes()
    assert "phases" in kinds(tmp_path / "run")


def test_a_whole_run_ends_what_shards_began(study: TraceConfig, undivided: Path, tmp_path: Path) -> None:
    run_trace(study, out=tmp_path / "run", settings=SETTINGS, shard=Shard.parse("2/2"))
    table = run_trace(study, out=tmp_path / "run", settings=SETTINGS)
    assert table.read_bytes() == (undivided / "measurements.parquet").read_bytes()


def test_what_failed_is_tried_again_and_what_was_not_begun_is_left(study: TraceConfig, tmp_path: Path) -> None:
    tiny.save_series(tmp_path, "llama", steps=(0, 1, 2, 4))
    folder = sorted((tmp_path / "checkpoints").iterdir())[1]
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100])
    broken = study.model_copy(
        update={"checkpoints": study.checkpoints.model_copy(update={"source": str(tmp_path / "checkpoints")})}
    )
    with pytest.raises(RunError, match="2 units failed"):
        run_trace(broken, out=tmp_path / "run", settings=SETTINGS, shard=Shard.parse("1/2"))
    before = kinds(tmp_path / "run")
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, what: str) -> None:
        if what.startswith("units"):
            told.append((done, total))

    with pytest.raises(RunError, match="2 units failed"):
        run_trace(broken, out=tmp_path / "run", settings=SETTINGS, only_failed=True, progress=progress)
    assert kinds(tmp_path / "run") == before
    assert told == [(0, 2)]
    assert len(list((tmp_path / "run" / "failures").iterdir())) == 2
    assert "phases" not in before
