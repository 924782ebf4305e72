import json
import multiprocessing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from trustrace.core.errors import RunError
from trustrace.core.measurements import Estimate, Measurement
from trustrace.runs.files import publishing, replacing
from trustrace.runs.identity import Unit
from trustrace.runs.ledger import Ledger

STUDY = {"name": "toy", "seed": 0}


def unit(number: int) -> Unit:
    return Unit(step="trace", name=f"model@{number}/toy", inputs={"number": number})


def row(value: float) -> Measurement:
    estimate = Estimate(quantity="accuracy", method="logistic", value=value, n=10, n_groups=5)
    return Measurement.of(estimate, dataset="toy", protocol="rigorous", seed=0)


def test_a_unit_is_finished_once_recorded_and_stays_so_for_the_next_process(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "run", study=STUDY) as ledger:
        assert not ledger.is_finished(unit(1))
        ledger.finish(unit(1), [row(0.5)], seconds=1.0)
    with Ledger.open(tmp_path / "run", study=STUDY) as ledger:
        assert ledger.is_finished(unit(1))
        assert not ledger.is_finished(unit(2))
        assert ledger.rows_of(unit(1))["value"].to_pylist() == [0.5]


def test_replicates_come_back_with_their_rows_whatever_their_number(tmp_path: Path) -> None:
    estimates = [
        Estimate(quantity=name, method="m", value=0.5, n=10, n_groups=5, replicates=draws)
        for name, draws in (("accuracy", np.arange(7) / 8), ("mdl", None), ("I(T;Y)", np.arange(3) / 4))
    ]
    rows = [Measurement.of(one, dataset="toy", protocol="rigorous", seed=0) for one in estimates]
    with Ledger.open(tmp_path / "run", study=STUDY) as ledger:
        ledger.finish(unit(1), rows, seconds=1.0)
        ledger.finish(unit(2), [row(0.5)], seconds=1.0)
        found = ledger.replicated_of(unit(1))
        assert ledger.replicated_of(unit(2)) == []
    assert [one.quantity for one in found] == ["accuracy", "I(T;Y)"]
    assert found[0].replicates.tolist() == (np.arange(7) / 8).tolist()
    assert "replicates" not in ledger.rows_of(unit(1)).column_names


def test_the_table_follows_the_order_of_the_study_not_of_the_work(tmp_path: Path) -> None:
    tables = []
    for order in ([1, 2, 3], [3, 1, 2]):
        with Ledger.open(tmp_path / f"run{order[0]}", study=STUDY) as ledger:
            for number in order:
                ledger.finish(unit(number), [row(number / 10)], seconds=float(number))
            ledger.collect([unit(1), unit(2), unit(3)])
        tables.append((tmp_path / f"run{order[0]}" / "measurements.parquet").read_bytes())
    assert tables[0] == tables[1]


def test_an_unfinished_run_has_a_table_of_what_is_finished(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "run", study=STUDY) as ledger:
        ledger.collect([unit(1)])
        assert pq.read_table(tmp_path / "run" / "measurements.parquet").num_rows == 0


def test_a_folder_of_another_study_is_refused_and_names_what_differs(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "run", study=STUDY):
        pass
    with (
        pytest.raises(RunError, match=r"another study .*seed"),
        Ledger.open(tmp_path / "run", study=STUDY | {"seed": 1}),
    ):
        pass
    assert json.loads((tmp_path / "run" / "study.json").read_text()) == STUDY


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"thesis\.tex"), Ledger.open(tmp_path, study=STUDY):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def hold(folder: Path, ready: "multiprocessing.synchronize.Event", leave: "multiprocessing.synchronize.Event") -> None:
    with Ledger.open(folder, study=STUDY):
        ready.set()
        leave.wait(30)


def test_a_second_process_on_the_same_run_is_told_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "run", ready, leave))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(RunError, match="another process"), Ledger.open(tmp_path / "run", study=STUDY):
        pass
    holder.kill()
    holder.join()
    with Ledger.open(tmp_path / "run", study=STUDY) as ledger:
        assert not ledger.is_finished(unit(1))


def test_a_failure_is_recorded_and_forgotten_when_the_unit_succeeds(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "run", study=STUDY) as ledger:
        ledger.fail(unit(1), ValueError("no luck"))
        assert [failure["message"] for failure in ledger.failures([unit(1)])] == ["no luck"]
        ledger.finish(unit(1), [row(0.5)], seconds=1.0)
        assert ledger.failures([unit(1)]) == []


def test_what_another_process_of_the_same_folder_finished_has_not_failed(tmp_path: Path) -> None:
    with (
        Ledger.open(tmp_path, study=STUDY, share="1-of-2") as one,
        Ledger.open(tmp_path, study=STUDY, share="2-of-2") as other,
    ):
        other.finish(unit(1), [row(0.5)], seconds=1.0)
        for number in (1, 2):
            one.fail(unit(number), ValueError("no luck"))
        assert one.failed([unit(1), unit(2)]) == [unit(2)]
        one.look_again()
        assert [path.stem for path in (tmp_path / "failures").iterdir()] == [unit(2).folder]


def test_the_failure_of_a_unit_that_was_mended_into_another_one_is_forgotten(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "run", study=STUDY) as ledger:
        ledger.fail(unit(1), ValueError("truncated"))
        ledger.forget_failures([unit(2)])
        assert ledger.failures([unit(1), unit(2)]) == []


def test_what_a_kill_left_half_written_does_not_stop_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "run" / ".scratch-abc").mkdir(parents=True)
    with Ledger.open(tmp_path / "run", study=STUDY):
        assert not (tmp_path / "run" / ".scratch-abc").exists()


def test_a_body_that_raises_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    target = tmp_path / "table.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as scratch:
        scratch.write_text(str(1 / (scratch.write_text("half") - 4)))
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.json"]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No space left on device"), publishing(tmp_path / "unit"):
        Path("/dev/full").write_text("a record")
    assert list(tmp_path.iterdir()) == []
