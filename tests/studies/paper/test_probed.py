"""What traces say beside the figures on probes and information: never averaged over protocols, models or data sets."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.studies.paper.made_up import compared, probed, said, write_run
from trustrace.core.measurements import Measurement
from trustrace.studies.paper.compare import compare

TRACE = {"study": "trace"}


def shapes(*names: str, quantity: str = "accuracy", method: str = "logistic") -> list[Measurement]:
    return [
        replace(
            probed(block, 9, math.nan),
            quantity=f"{quantity} shape",
            method=method,
            note=name,
            lower=math.nan,
            upper=math.nan,
        )
        for block, name in enumerate(names)
    ]


def test_ranges_are_over_blocks_and_trained_checkpoints_with_the_intervals_of_their_ends(tmp_path: Path) -> None:
    rows = [probed(0, 0, 0.5), probed(3, 0, 0.6), probed(3, 9, 0.8)]
    beyond = [probed(3, 0, 0.1, role="control"), replace(probed(3, 0, 0.2), site="embed")]
    first, *others = compared(tmp_path, *rows, *beyond, study=TRACE).ranges
    line = first.as_row()
    assert (line["paper"], line["least"], line["greatest"]) == (
        "0.55 to 0.85",
        "0.500 [0.450, 0.550]",
        "0.800 [0.750, 0.850]",
    )
    assert line["share within"] == pytest.approx(2 / 3)
    assert not any(one.rows for one in others)


def test_protocols_models_data_sets_and_runs_are_told_apart(tmp_path: Path) -> None:
    kinds = [
        {},
        {"protocol": "rigorous"},
        {"dataset": "reliability/defined"},
        {"checkpoint": "other@step_9"},
    ]
    rows = [probed(0, 9, 0.5 + place / 10, **kind) for place, kind in enumerate(kinds)]
    runs = [str(write_run(tmp_path / "a", rows, study=TRACE)), str(write_run(tmp_path / "b", rows[:1], study=TRACE))]
    found = compare(runs)
    told = [(one.run, one.protocol, one.model, one.dataset) for one in said(found, "figures 2, 8-12")]
    amber = "LLM360--Amber"
    wanted = [
        (runs[0], "published", amber, "reliability/published"),
        (runs[0], "rigorous", amber, "reliability/published"),
        (runs[0], "published", amber, "reliability/defined"),
        (runs[0], "published", "other", "reliability/published"),
        (runs[1], "published", amber, "reliability/published"),
    ]
    assert told == wanted
    assert [one.ours.partition(" 0.")[2][:3] for one in said(found, "figures 8-12")] == [
        "500",
        "600",
        "700",
        "800",
        "500",
    ]
    spans = [(one.run, one.rows[0].protocol, one.rows[0].dataset, len(one.rows)) for one in found.ranges if one.rows]
    assert spans == [(run, protocol, dataset, 1) for run, protocol, _, dataset in wanted]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((0.5, 0.9, 0.5), "agrees"), ((0.5, 0.5, 0.9), "disagrees"), ((0.5, 0.9, 0.85), "cannot be told")],
)
def test_where_probes_read_best_is_decided_by_disjoint_intervals_at_the_last_checkpoint(
    tmp_path: Path, values: tuple[float, ...], verdict: str
) -> None:
    """Block 1 of 3 lies where blocks 12 to 18 of 32 lie; an earlier checkpoint says nothing."""
    rows = [probed(block, 9, value) for block, value in enumerate(values)]
    earlier = [probed(block, 0, value) for block, value in enumerate((0.5, 0.5, 0.99))]
    (one,) = said(compared(tmp_path, *rows, *earlier, study=TRACE), "figures 2, 8-12")
    assert (one.verdict, one.value) == (verdict, max(values))
    assert "ckpt_9, the last" in one.ours


def test_the_middle_of_32_blocks_is_the_papers(tmp_path: Path) -> None:
    for best, verdict in ((11, "disagrees"), (12, "agrees"), (18, "agrees"), (19, "disagrees")):
        rows = [probed(block, 9, 0.9 if block == best else 0.5) for block in range(32)]
        (one,) = said(compared(tmp_path / str(best), *rows, study=TRACE), "figures 2, 8-12")
        assert one.verdict == verdict, best


def test_of_some_blocks_alone_the_best_cannot_be_told(tmp_path: Path) -> None:
    (one,) = said(compared(tmp_path, probed(0, 9, 0.5), probed(2, 9, 0.9), study=TRACE), "figures 2, 8-12")
    assert one.verdict == "cannot be told"
    assert "blocks 0, 2 are no whole model" in one.ours


def test_courses_are_told_with_their_ends_and_judged_by_the_shapes_of_the_blocks(tmp_path: Path) -> None:
    curve = [probed(block, step, 0.5 + block / 10 + step / 100) for block in (0, 2, 1) for step in (9, 0)]
    (one,) = said(compared(tmp_path / "a", *curve, study=TRACE), "figures 8-12")
    assert one.ours.startswith("Mean over blocks 0.600 at LLM360--Amber@ckpt_0, highest 0.690 at LLM360--Amber@ckpt_9")
    assert (one.verdict, one.ours.endswith("The run judged no shape.")) == ("cannot be told", True)


def risen(*values: float, onset: tuple[float, float], shape: str = "rises") -> list[Measurement]:
    """Accuracies of one block at steps 0, 10, 20, ..., a rise that was judged, and the interval of its onset."""
    curve = [probed(0, 10 * place, value) for place, value in enumerate(values)]
    judged = replace(probed(0, 9, sum(onset) / 2), quantity="accuracy onset", lower=onset[0], upper=onset[1])
    return [*curve, *shapes(shape), judged]


@pytest.mark.parametrize(
    ("values", "onset", "verdict", "when"),
    [
        ((0.5, 0.8, 0.78, 0.81, 0.8), (0.0, 10.0), "agrees", "early"),
        ((0.5, 0.5, 0.5, 0.5, 0.8), (30.0, 40.0), "disagrees", "late"),
        ((0.5, 0.8, 0.78, 0.81, 0.8), (0.0, 40.0), "cannot be told", "at no certain time"),
        ((0.5, 0.6, 0.8, 0.9, 0.95), (0.0, 10.0), "cannot be told", "at no certain time"),
        ((0.5, 0.8, 0.78, 0.81, 0.8), (math.nan, math.nan), "cannot be told", "at no certain time"),
    ],
)
@pytest.mark.parametrize("shape", ["rises", "rises then falls"])
def test_accuracy_rises_over_the_first_checkpoints_only_where_its_rise_lies_there(
    tmp_path: Path, values: tuple[float, ...], onset: tuple[float, float], verdict: str, when: str, shape: str
) -> None:
    """A quarter of the rise within the first quarter of the training, interval and all, and half of it by its end."""
    found = compared(tmp_path, *risen(*values, onset=onset, shape=shape), study=TRACE)
    (one,) = said(found, "figures 8-12")
    assert one.verdict == verdict
    assert one.ours.endswith(f"Judged shapes: {shape} {when} at 1 of 1 blocks.")


def test_time_is_counted_in_tokens_where_they_are_known(tmp_path: Path) -> None:
    """By steps the onset at 10 lies in the first quarter of 40, by tokens at the end of 100."""
    tokens = [0, 10, 20, 30, 31]
    rows = [
        replace(row, tokens_seen=tokens[row.step // 10] if row.step is not None else None)
        for row in risen(0.5, 0.8, 0.8, 0.8, 0.8, onset=(10.0, 10.0))
    ]
    (one,) = said(compared(tmp_path, *rows, study=TRACE), "figures 8-12")
    assert one.verdict == "disagrees"


@pytest.mark.parametrize(
    ("quantity", "shape", "verdict"),
    [
        ("I(T;X)", "rises then falls", "agrees"),
        ("I(T;X)", "falls", "disagrees"),
        ("I(T;Y)", "rises", "agrees"),
        ("I(T;Y)", "rises then falls", "disagrees"),
        ("I(T;Y)", "flat", "cannot be told"),
    ],
)
def test_phases_are_judged_by_shape(tmp_path: Path, quantity: str, shape: str, verdict: str) -> None:
    told = {"quantity": quantity, "method": "nhsic_50"}
    rows = [probed(0, step, 1.0, **told) for step in (0, 9)]
    found = compared(tmp_path, *rows, *shapes(shape, quantity=quantity, method="nhsic_50"), study=TRACE)
    (one,) = said(found, "figures 7, 13-17", about=quantity)
    assert one.verdict == verdict


def test_a_trace_whose_checkpoints_were_compared_is_a_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [probed(0, 9, 0.7)], study=TRACE)
    (folder / "dynamics.parquet").write_bytes((folder / "measurements.parquet").read_bytes())
    assert said(compare([str(folder)]), "figures 2, 8-12")
