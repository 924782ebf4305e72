from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.runs.test_ledger import STUDY, row, unit
from trustrace.runs.collecting import collected
from trustrace.runs.ledger import Ledger
from trustrace.runs.table import as_table, read_measurements


def tables(*values: float) -> list[pa.Table]:
    return [as_table([row(value)]) for value in values]


def unread() -> Iterator[pa.Table]:
    raise AssertionError("the table was there already")


def test_a_table_that_holds_these_units_is_found_and_none_of_them_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    assert collected(["a", "b"], lambda: tables(0.1, 0.2), path=path) == 2
    before = path.read_bytes()
    assert collected(["a", "b"], unread, path=path) == 2
    assert path.read_bytes() == before
    assert [one.value for one in read_measurements(path)] == [0.1, 0.2]


@pytest.mark.parametrize("units", [["a"], ["b", "a"], ["a", "b", "c"], ["a", "c"], ["a,b"]])
def test_other_units_or_another_order_make_another_table(tmp_path: Path, units: list[str]) -> None:
    path = tmp_path / "table.parquet"
    collected(["a", "b"], lambda: tables(0.1, 0.2), path=path)
    values = [0.5 + place / 8 for place in range(len(units))]
    assert collected(units, lambda: tables(*values), path=path) == len(units)
    assert pq.read_table(path)["value"].to_pylist() == values


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_table_that_was_damaged_or_put_there_by_others_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "table.parquet"
    collected(["a"], lambda: tables(0.1), path=path)
    path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    assert collected(["a"], lambda: tables(0.1), path=path) == 1
    pq.write_table(tables(0.7)[0], path)
    assert collected(["a"], lambda: tables(0.1), path=path) == 1
    assert pq.read_table(path)["value"].to_pylist() == [0.1]


def test_a_finished_run_that_is_opened_again_counts_its_units_without_asking_the_disk_for_each(tmp_path: Path) -> None:
    units = [unit(number) for number in range(5)]
    with Ledger.open(tmp_path, study=STUDY) as ledger:
        for one in units[:4]:
            ledger.finish(one, [row(0.5)], seconds=1.0)
        assert ledger.count_finished(units) == 4
        assert ledger.collect(units) == 4
    for one in units[:3]:
        (tmp_path / "units" / one.folder / "measurements.parquet").unlink()
    with Ledger.open(tmp_path, study=STUDY) as ledger:
        assert ledger.count_finished(units) == 4
        assert ledger.collect(units) == 4


def test_what_another_process_finished_meanwhile_is_seen_when_it_is_asked_for(tmp_path: Path) -> None:
    with (
        Ledger.open(tmp_path, study=STUDY, share="1-of-2") as one,
        Ledger.open(tmp_path, study=STUDY, share="2-of-2") as other,
    ):
        other.finish(unit(1), [row(0.5)], seconds=1.0)
        assert one.count_finished([unit(1)]) == 0
        assert one.is_finished(unit(1))
        assert one.count_finished([unit(1)]) == 1


def test_a_unit_that_two_processes_finish_is_finished_once(tmp_path: Path) -> None:
    with (
        Ledger.open(tmp_path, study=STUDY, share="1-of-2") as one,
        Ledger.open(tmp_path, study=STUDY, share="2-of-2") as other,
    ):
        one.finish(unit(1), [row(0.5)], seconds=1.0)
        other.finish(unit(1), [row(0.5)], seconds=2.0)
        assert other.count_finished([unit(1)]) == 1
        assert one.rows_of(unit(1))["value"].to_pylist() == [0.5]
    assert [path.name for path in (tmp_path / "units").iterdir()] == [unit(1).folder]
