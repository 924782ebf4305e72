"""One comparison: the paper's numbers and what its figures show, and ours from any runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from trustrace.core.errors import RunError
from trustrace.studies.paper.claims import Finding
from trustrace.studies.paper.numbers import AMBER, CLAIMS, ROWS, Who
from trustrace.studies.paper.probed import RangeBeside, probing_findings, ranges
from trustrace.studies.paper.proxied import proxy_findings
from trustrace.studies.paper.reading import Run, model_of, read_runs
from trustrace.studies.paper.steered import steering_findings
from trustrace.studies.paper.tables import Beside, beside, several_graders
from trustrace.studies.paper.winners import untold

SAID = (
    "The paper gives neither the number of items nor an interval with any of its values: whether one lies within our interval says how "
    "far it is from ours in our uncertainty alone."
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Ours beside the paper's.

    Attributes:
        cells: Tables 1 and 2.
        ranges: Figures 8 to 12.
        findings: What figures show, run by run.
        models: The models that our rows are of.
        notes: What of the runs could not be laid beside anything, or does not compare.
    """

    cells: tuple[Beside, ...]
    ranges: tuple[RangeBeside, ...]
    findings: tuple[Finding, ...]
    models: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_the_same_model(self) -> bool:
        """Whether the paper's own model is among ours."""
        return any(model.startswith(AMBER) for model in self.models)

    @property
    def present(self) -> tuple[Beside, ...]:
        """The cells that the runs hold."""
        return tuple(one for one in self.cells if one.ours)

    @property
    def missing(self) -> tuple[str, ...]:
        """What the runs lack: cells of tables, a row of a table each, ranges and claims."""
        lacking: dict[tuple[int, Who], list[str]] = {}
        for one in self.cells:
            if one.ours is None:
                lacking.setdefault((one.cell.table, one.cell.who), []).append(one.cell.column)
        told = {(one.where, one.paper) for one in self.findings}
        return (
            *(f"table {table}, {ROWS[who]}: {', '.join(columns)}" for (table, who), columns in lacking.items()),
            *(f"figures 8-12, {one.known.dataset}" for one in self.ranges if not one.rows),
            *(f"{one.where}: {one.says}" for one in CLAIMS.values() if (one.where, one.says) not in told),
        )

    def remarks(self) -> list[str]:
        """What a reader must know of all of it."""
        others = [model for model in self.models if not model.startswith(AMBER)]
        also = f"Ours are of other models ({', '.join(others)}): their values do not compare, only what they show may."
        return [SAID, *([also] if others else []), *self.notes]


def compare(given: Sequence[str]) -> Comparison:
    """Lay runs beside the paper.

    Args:
        given: Run folders. ``WHO=FOLDER`` says whose the unsteered rows of a folder are: ``full``, ``lora`` or ``safe``.

    Raises:
        ConfigError: `WHO` is none of these.
        RunError: a folder is no run, or nothing of the runs stands beside anything of the paper.
    """
    runs = read_runs(given)
    found = Comparison(
        cells=tuple(beside(runs)),
        ranges=tuple(ranges(runs)),
        findings=tuple(one for run in runs for one in _findings(run)),
        models=tuple(dict.fromkeys(model_of(row) for run in runs for row in run.rows if row.checkpoint)),
    )
    notes = (*several_graders(found.cells), *(note for run in runs for note in untold(run)))
    _require_something(found, runs, notes)
    return Comparison(**vars(found) | {"notes": notes})


def _findings(run: Run) -> list[Finding]:
    return [*probing_findings(run), *steering_findings(run), *proxy_findings(run)]


def _require_something(found: Comparison, runs: Sequence[Run], notes: Sequence[str]) -> None:
    if found.present or found.findings or any(one.rows for one in found.ranges):
        return
    held = {row.dataset for run in runs for row in run.rows}
    raise RunError(
        f"{', '.join(run.name for run in runs)}: nothing stands beside the paper's tables or figures; of measured numbers there are "
        f"{', '.join(sorted(held)) or 'none'}. Finish the runs, or give some of studies/paper: traces of its five dimensions, steering, "
        f"fine-tuning, proxy-tuning, or `trustrace evaluate` on its tasks, with full=, lora= or safe= before whose they "
        f"are. {' '.join(notes)}".strip()
    )
