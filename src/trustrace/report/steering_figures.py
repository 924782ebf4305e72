"""The figures of a steering run on disk: which there are, what they are called, what each shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trustrace.report.canvas import drawing_style
from trustrace.report.figures import FigureFile, save_figure, slug
from trustrace.report.steering_drawing import (
    checkpoints_figure,
    dose_figure,
    front_figure,
    radar_figure,
    trade_off_figure,
)
from trustrace.report.steering_findings import Finding
from trustrace.report.steering_runs import SteeringRun
from trustrace.report.steering_sentences import control_noun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = {
    "dose": (
        dose_figure,
        "dose and response",
        "{what} and perplexity against strength on the development half, with 95 % intervals: left by site for the checkpoint of the "
        "best vector, right by checkpoint at its site. Grey: the range of {controls} at that site. A line ends where perplexity passes "
        "the bound.",
    ),
    "front": (
        front_figure,
        "fronts",
        "{what} on the test half against what it costs, with 95 % intervals. Circled: beaten by none in trust, perplexity and every "
        "general ability at once. Crosses: {controls}.",
    ),
    "checkpoints": (
        checkpoints_figure,
        "checkpoints",
        "How well each pre-training checkpoint's direction separates held-out statements, and {what} on the test half under its vector, "
        "with 95 % intervals and their correlation. Grey: the range of {controls}.",
    ),
    "radar": (
        radar_figure,
        "radar",
        "Every ability of the test half, better outwards. Each axis runs from the worst to the best number that any setting of the model "
        "reaches, so that axes do not compare. Grey: {controls}.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class SteeringFigures:
    """Figures on disk: those of each finding in the order of the findings, and the trade-offs of each target."""

    of_findings: tuple[tuple[FigureFile, ...], ...] = ()
    of_targets: Mapping[str, FigureFile] | None = None


def write_steering_figures(run: SteeringRun, found: Sequence[Finding], folder: Path) -> SteeringFigures:
    """Draw every figure of `run` into `folder`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with drawing_style():
        return SteeringFigures(
            of_findings=tuple(tuple(_of_finding(run, finding, folder)) for finding in found),
            of_targets=dict(_of_targets(run, found, folder)),
        )


def _of_finding(run: SteeringRun, finding: Finding, folder: Path) -> Iterator[FigureFile]:
    words = {"what": finding.aim.ability.title, "controls": f"{control_noun(finding)}s"}
    for kind, (draw, title, caption) in _KINDS.items():
        figure: Figure | None = draw(run, finding)
        if figure is not None:
            yield save_figure(
                figure,
                folder,
                stem=f"{kind}_{slug(finding.aim.contrast)}{_told_apart(run, finding.target)}",
                title=title,
                caption=caption.format(**words),
                part="steering",
            )


def _of_targets(run: SteeringRun, found: Sequence[Finding], folder: Path) -> Iterator[tuple[str, FigureFile]]:
    for target in run.targets:
        figure = trade_off_figure(run, [finding for finding in found if finding.target == target])
        if figure is not None:
            yield (
                target,
                save_figure(
                    figure,
                    folder,
                    stem=f"trade_offs{_told_apart(run, target)}",
                    title="trade-offs",
                    caption="Change of each ability on the test half under the best vector of each contrast, with its 95 % interval; blue "
                    "better and orange worse than unsteered where the interval leaves 0.",
                    part="steering",
                ),
            )


def _told_apart(run: SteeringRun, target: str) -> str:
    return f"_{slug(target)}" if len(run.targets) > 1 else ""
