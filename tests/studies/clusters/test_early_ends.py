"""Workers that end before everything is done: a warning where the others did their part, and an error where nobody did."""

from pathlib import Path

import pytest

from tests.studies.small_studies import pets
from trustrace.core.errors import ConfigError, RunError
from trustrace.core.progress import silent
from trustrace.models import tiny
from trustrace.runs.ledger import Ledger
from trustrace.studies.clusters.dispatch import FALSE_STARTS, LIVES, Standing
from trustrace.studies.clusters.run import Crew, RayWarning, judge
from trustrace.studies.config import TraceConfig
from trustrace.studies.planning import Plan, plan_trace
from trustrace.studies.settings import Settings
from trustrace.studies.tracing import Tracing

SETTINGS = Settings(device="cpu")
REFUSED = ConfigError("node7 has torch 1.0 in place of 2.0")
NOTHING = Standing(waiting=(), under_way=(), done=0, lost=())


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    tiny.save_series(tmp_path, "llama", steps=(0,))
    study = {
        "name": "ends",
        "checkpoints": {"source": str(tmp_path / "checkpoints")},
        "datasets": [{"name": "pets", "path": str(pets(tmp_path / "pets.csv", seed=0))}],
        "sites": ["block_1"],
        "information": None,
    }
    return plan_trace(TraceConfig.read(study, where="-"), settings=SETTINGS)


def opened(plan: Plan, ledger: Ledger) -> Tracing:
    return Tracing(plan=plan, ledger=ledger, settings=SETTINGS, progress=silent, is_divided=True)


def test_a_worker_that_refused_is_a_warning_where_the_others_did_its_part(plan: Plan, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "run", study={}) as ledger:
        trace = opened(plan, ledger)
        for unit in trace.own.values():
            ledger.finish(unit, [], seconds=0.0)
        with pytest.warns(RayWarning, match=r"worker 1: node7 has torch 1\.0 .*; the others did its part"):
            judge(Crew(at_work={}, ended=[(1, REFUSED)]), trace, NOTHING)


@pytest.mark.parametrize(
    ("ended", "standing", "said"),
    [
        ([(1, REFUSED)], NOTHING, r"worker 1: node7 has torch 1\.0"),
        ([], Standing(waiting=(), under_way=(), done=0, lost=("step0",)), f"step0: .* died or ended {LIVES} times"),
        ([], NOTHING, f"no process came to work, or one died {FALSE_STARTS} times in a row"),
    ],
)
def test_units_that_nobody_did_are_an_error_with_the_reasons(
    plan: Plan, tmp_path: Path, ended: list[tuple[int, Exception]], standing: Standing, said: str
) -> None:
    with Ledger.open(tmp_path / "run", study={}) as ledger:
        trace = opened(plan, ledger)
        with pytest.raises(RunError, match=rf"(?s){len(trace.own)} units are open.*{said}"):
            judge(Crew(at_work={}, ended=ended), trace, standing)


def test_an_error_of_the_code_itself_is_raised_as_it_is(plan: Plan, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "run", study={}) as ledger, pytest.raises(ZeroDivisionError):
        judge(Crew(at_work={}, ended=[(0, ZeroDivisionError())]), opened(plan, ledger), NOTHING)
