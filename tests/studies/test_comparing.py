"""Runs side by side: whose numbers, over whose items, and what of a search is shown."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest

from tests.studies.small_studies import READING, SETTINGS, rows_in, series, study, values
from tests.studies.tuning.test_run import asked, write_instructions
from trustrace.core.errors import RunError
from trustrace.studies.comparing import compare_runs
from trustrace.studies.side_by_side import as_csv, as_markdown, in_one_table, write_comparison
from trustrace.studies.steering.run import run_steer
from trustrace.studies.tuning.run import run_finetune


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A steering run and a tuning run of one target, and a tuning run that asks fewer items."""
    folder = series(tmp_path_factory.mktemp("compare"), steps=(0, 1))
    write_instructions(folder / "told.jsonl")
    told = values(folder)["contrasts"][0] | {"instruction": "Read well. "}
    run_steer(study(folder, contrasts=[told]), out=folder / "steer", settings=SETTINGS)
    shared: dict[str, Any] = {"models": [str(folder / "target")], "methods": ["full"], "general": []}
    run_finetune(asked(folder, **shared), out=folder / "tune", settings=SETTINGS)
    fewer = READING | {"limit": 3}
    run_finetune(asked(folder, **shared, tasks=[fewer], perplexity=fewer), out=folder / "fewer", settings=SETTINGS)
    return folder


def test_systems_of_all_runs_stand_beside_the_model_as_it_is_once(folder: Path) -> None:
    found = compare_runs([folder / "steer", folder / "tune"])
    systems = [row.system.partition("@")[0] for row in found.rows if row.quantity == "perplexity"]
    assert systems[0] == "as it is"
    controls = [system for system in systems if system.startswith("random_0:pets at")]
    assert len(controls) == 1
    assert sorted({*systems} - {*controls}) == ["as it is", "full:told", "instruction:pets", "mass_mean:pets"]
    assert len(systems) == 5
    assert {row.items for row in found.rows} == {"A"}
    assert any("the very same items" in note for note in found.notes)


def test_numbers_are_those_of_the_tables(folder: Path) -> None:
    found = compare_runs([folder / "steer", folder / "tune"])
    tables = rows_in(folder / "steer") + rows_in(folder / "tune")
    wanted = {"checkpoint": "target@main", "dataset": "world_text/test", "vector": "full:told"}
    mine = {row["quantity"]: row for row in tables if all(row[name] == value for name, value in wanted.items())}
    (row,) = [one for one in found.rows if one.system == "full:told" and one.quantity == "perplexity"]
    assert (row.value, row.lower, row.upper) == tuple(mine["perplexity"][name] for name in ("value", "lower", "upper"))
    assert (row.change, row.p) == (mine["perplexity_change"]["value"], mine["perplexity_change_p"]["value"])
    (plain,) = [one for one in found.rows if one.system == "as it is" and one.quantity == "perplexity"]
    assert math.isnan(plain.change)
    assert row.change == pytest.approx(row.value - plain.value)


def test_of_a_search_the_winner_on_development_data_is_shown_whatever_it_does_on_the_test(folder: Path) -> None:
    rows = rows_in(folder / "steer")
    developed = [
        row
        for row in rows
        if row["dataset"] == "world_text/development" and row["quantity"] == "perplexity" and row["site"]
    ]
    shown = [row for row in compare_runs([folder / "steer"]).rows if " at block" in row.system]
    for role in ("measured", "control"):
        best = min((row for row in developed if row["role"] == role), key=lambda row: row["value"])
        (winner,) = [row for row in shown if row.role == role and row.quantity == "perplexity"]
        assert winner.system == f"{best['vector']} at {best['site']}, {best['alpha']:+g}"
    every = compare_runs([folder / "steer"], every=True).rows
    tested = {row["vector"] for row in rows if row["dataset"] == "world_text/test" and row["site"]}
    assert {row.system.partition(" at ")[0] for row in every if " at block" in row.system} == tested
    assert len(tested) > 2


def test_other_items_have_another_letter_and_a_note(folder: Path) -> None:
    found = compare_runs([folder / "tune", folder / "fewer"], quantities=["perplexity"])
    assert {(row.run, row.items, row.n) for row in found.rows} == {
        ("tune", "A", found.rows[0].n),
        ("fewer", "B", found.rows[0].n + 1),
    }
    assert len([row for row in found.rows if row.system == "as it is"]) == 2
    assert any("world_text: not all runs asked the same items" in note for note in found.notes)


def test_the_files_hold_what_is_shown(folder: Path, tmp_path: Path) -> None:
    found = compare_runs([folder / "steer", folder / "tune"])
    markdown, table = write_comparison(found, tmp_path / "beside")
    assert markdown.read_text("utf-8") == as_markdown(found)
    lines = list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))
    assert table.read_text("utf-8") == as_csv(found)
    assert len(lines) == len(found.rows)
    values_in = [float(line["value"] or "nan") for line in lines]
    assert values_in == pytest.approx([row.value for row in found.rows], rel=0, abs=0, nan_ok=True)
    assert {line["p"] for line in lines if line["system"] == "as it is"} == {""}
    written = markdown.read_text("utf-8")
    assert "## target@main\n\n| task | quantity |" in written
    assert written.partition("## target@main")[2].count("\n|") == len(found.rows) + 2


def test_q_values_are_over_all_changes_that_are_shown(folder: Path) -> None:
    """By the textbook: of p-values in ascending order, the least of p_j m / j over all j from its own place on."""
    for quantities in ([], ["perplexity"]):
        found = compare_runs([folder / "steer", folder / "tune"], quantities=quantities)
        ascending = sorted(row.p for row in found.rows if not math.isnan(row.p))
        m = len(ascending)
        for row in found.rows:
            if math.isnan(row.p):
                assert math.isnan(row.q)
                continue
            own = ascending.index(row.p)
            assert row.q == pytest.approx(min(1.0, *(p * m / (own + 1 + j) for j, p in enumerate(ascending[own:]))))
        assert any(f"over all {m} changes" in note for note in found.notes)
        lines = list(csv.DictReader(io.StringIO(as_csv(found))))
        assert [float(line["q"] or "nan") for line in lines] == pytest.approx(
            [row.q for row in found.rows], rel=0, abs=0, nan_ok=True
        )
        assert "| p | q | n |" in as_markdown(found)


def test_one_table_has_a_row_for_all_that_is_done_to_a_model_and_a_column_for_each_number(folder: Path) -> None:
    found = compare_runs([folder / "steer", folder / "tune"], quantities=["perplexity"])
    rows = in_one_table(found)
    assert [row["model"] for row in rows] == ["target@main"] * 5
    assert rows[0]["what is done"] == "as it is"
    title = next(name for name in rows[0] if "perplexity" in name)
    (tuned,) = [row for row in found.rows if row.system == "full:told" and row.quantity == "perplexity"]
    (cell,) = [row[title] for row in rows if row["what is done"] == "full:told"]
    assert cell == f"{tuned.value:.4g} ({tuned.change:+.3g}, p {tuned.p:.2g})"
    assert sum("(control)" in row["what is done"] for row in rows) == 1
    assert as_markdown(found).count(title) == 1


def test_runs_that_ask_other_items_have_columns_of_their_own(folder: Path) -> None:
    rows = in_one_table(compare_runs([folder / "tune", folder / "fewer"], quantities=["perplexity"]))
    columns = [name for name in rows[0] if "perplexity" in name]
    assert [column.rpartition(" ")[2] for column in columns] == ["A", "B"]
    assert [[bool(row[column]) for column in columns] for row in rows if row["what is done"] == "full:told"] == [
        [True, False],
        [False, True],
    ]


def test_what_is_no_run_or_no_quantity_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run here"):
        compare_runs([tmp_path])
    with pytest.raises(RunError, match=r"no run has a quantity warmth; there are .*perplexity"):
        compare_runs([folder / "tune"], quantities=["warmth"])
