"""The simulation of many workers is right where the answer is known, and its page says what it gave."""

import importlib.util
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks import scale
from benchmarks.simulation import Bound, Clock, Crew, Line, Outcome, Regime, simulate, suite
from huggingface_hub import constants

ROOT = Path(__file__).parents[2]
FAST = Regime(name="fast", compute=90.0, load=10.0, check=0.0, line=27e9, each=27e9)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def outcome(regime: Regime, crew: Crew, *, checkpoints: int) -> Outcome:
    return simulate(regime, crew, checkpoints=suite(checkpoints))


def test_one_worker_with_a_fast_network_fetches_once_and_then_never_waits() -> None:
    came = outcome(FAST, Crew.of(1), checkpoints=6)
    assert came.makespan == pytest.approx(1 + 6 * 100, abs=0.1)
    assert [key for _, key in came.finished] == [one.key for one in suite(6)]


def test_one_worker_with_a_slow_network_fetches_and_checks_without_a_pause() -> None:
    slow = replace(FAST, line=0.27e9, check=20.0, compute=30.0)
    came = outcome(slow, Crew.of(1), checkpoints=6)
    assert came.makespan == pytest.approx(6 * 120 + 40, abs=0.1)


def test_without_fetching_ahead_everything_is_one_after_the_other() -> None:
    slow = replace(FAST, line=0.27e9, compute=30.0, ahead=0)
    came = outcome(slow, Crew.of(1), checkpoints=4)
    assert came.makespan == pytest.approx(4 * 140, abs=0.1)


def test_no_thread_is_left_of_a_stream_that_is_over() -> None:
    before = threading.active_count()
    outcome(FAST, Crew.of(2), checkpoints=6)
    assert threading.active_count() == before


def test_every_checkpoint_is_measured_once_and_the_disk_keeps_to_its_budget() -> None:
    came = outcome(scale.BALANCED, Crew.of(12), checkpoints=40)
    assert sorted(key for _, key in came.finished) == sorted(one.key for one in suite(40))
    assert 0.4 < came.disk <= 1.0
    assert {place for place, _ in came.finished} == set(range(12))


def test_what_a_worker_had_when_it_ended_is_measured_by_the_others() -> None:
    came = outcome(FAST, Crew(speeds=(1.0, 1.0, 1.0), ends={1: 250.0}), checkpoints=12)
    assert sorted(key for _, key in came.finished) == sorted(one.key for one in suite(12))
    assert [place for place, _ in came.finished].count(1) == 2


def test_a_queue_lets_the_fast_do_more_than_a_share_from_the_start() -> None:
    speeds = (0.25, 1.0, 1.0)
    shared = outcome(FAST, Crew(speeds=speeds), checkpoints=12)
    dealt = outcome(FAST, Crew(speeds=speeds, dealt=True), checkpoints=12)
    assert [place for place, _ in dealt.finished].count(0) == 4
    assert [place for place, _ in shared.finished].count(0) == 2
    assert dealt.makespan >= 4 * 400 > shared.makespan


@pytest.mark.parametrize(("each", "expected"), [(100.0, [2.0, 4.0]), (40.0, [2.5, 7.5])])
def test_transfers_share_a_line_evenly_and_none_gets_more_than_its_most(each: float, expected: Sequence[float]) -> None:
    clock = Clock()
    line, ends = Line(clock, total=100.0, each=each), [0.0, 0.0]

    def carry(place: int, amount: float) -> None:
        line.carry(amount, heed=lambda: None)
        ends[place] = clock.now

    with ThreadPoolExecutor(max_workers=2) as pool:
        for work in [pool.submit(carry, 0, 100.0), pool.submit(carry, 1, 300.0)]:
            clock.run(work)
    assert ends == pytest.approx(expected, rel=0.02)


def test_the_bound_is_what_division_gives() -> None:
    regime = Regime(name="by hand", compute=100.0, load=20.0, check=10.0, line=10e9, on_a_line=4, each=4e9, size=10**9)
    bound = Bound.of(regime, Crew.of(6), checkpoints=60)
    # Four workers fill a line of 10 GB/s, two get 4 GB/s each.
    assert bound.download == pytest.approx(60 / 18)
    assert (bound.compute, bound.load) == (1000.0, 200.0)
    assert bound.largest == 1000.0
    assert bound.steps == pytest.approx(0.25 + 10 + 10 * 120)


def test_a_worker_that_ends_or_is_slow_counts_for_what_it_can_do() -> None:
    ends = Bound.of(FAST, Crew(speeds=(1.0, 1.0), ends={0: 100.0}), checkpoints=10)
    assert ends.compute == pytest.approx(100 + (900 - 200))
    slow = Bound.of(FAST, Crew(speeds=(0.5, 1.0)), checkpoints=10)
    assert slow.compute == pytest.approx(600.0)


@pytest.mark.parametrize(("protocol", "seconds"), [("published", scale.PUBLISHED), ("rigorous", scale.RIGOROUS)])
def test_the_seconds_of_computing_are_those_that_the_papers_page_foresees(protocol: str, seconds: float) -> None:
    text = (ROOT / "docs" / "paper" / "amber.md").read_text("utf-8")
    section = text.split(f"probes ({protocol})")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ((?:reading|measuring)[^|]*) \|[^|]*\| ([\d.]+) \|", section, re.MULTILINE)
    models = re.search(r"^\| loading \| (\d+) x 27 GB \|", section, re.MULTILINE)
    assert len(rows) == 5
    assert models is not None
    assert seconds == pytest.approx(sum(float(hours) for _, hours in rows) * 3600 / int(models[1]), rel=0.01)


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_scale", ROOT / "docs" / "make_scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_its_figure_are_those_of_the_simulations_beside_them(maker: ModuleType) -> None:
    written = maker.PAGE.read_text("utf-8")
    assert maker.page(written, maker.read(maker.TABLE)) == written, "run: python docs/make_scale.py"
    assert maker.digest(maker.TABLE).encode() in maker.FIGURE.read_bytes(), "run: python docs/make_scale.py"


def test_the_simulations_on_the_page_are_those_of_the_benchmark(maker: ModuleType) -> None:
    rows = maker.read(maker.TABLE)
    for row, case in zip(rows, scale.cases(), strict=True):
        assert (row["what"], row["regime"], row["repeat"]) == (case.what, case.regime.name, str(case.repeat))
        assert int(row["workers"]) == len(case.crew.speeds)
        assert float(row["download_hours"]) == pytest.approx(case.bound.download / 3600, abs=1e-4)
        assert float(row["compute_hours"]) == pytest.approx(case.bound.compute / 3600, abs=1e-4)
        assert row["checkpoints"] == "360"
        assert float(row["disk_share"]) <= 1.0
