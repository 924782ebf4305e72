"""Which steered rows of a run may stand beside the paper's: those of the vector that won on the development half."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trustrace.core.measurements import Measurement
from trustrace.studies.paper.claims import number_text
from trustrace.studies.paper.reading import Run
from trustrace.studies.steering.chosen import Chosen, best

EARLIER = "ckpt_179"
_NO_VECTORS = ("proxy", "instruction", "full", "lora")


@dataclass(frozen=True, kw_only=True)
class Winner:
    """What won for one contrast.

    Attributes:
        setting: Target, vector, site and strength.
        says: The same for a reader: checkpoint, step, site, strength with its unit, and by what it won.
    """

    setting: tuple[str, str, str, float]
    says: str


def winners(run: Run, target: str, contrast: str, *, is_own: bool) -> Iterator[Winner]:
    """For each contrast of `run` that is called `contrast` or a form of it, what won on the development half in `target`.

    Of vectors of earlier checkpoints those of ``ckpt_179`` alone compete where there are any, since it is theirs that the paper shows. A
    run that records no search has a winner where it tried one setting only.

    Args:
        run: The run.
        target: The model that is steered.
        contrast: A contrast, or the dimension that it is of: ``reliability`` for ``reliability/defined``.
        is_own: Whether the vectors are the target's own, or those of other checkpoints.
    """
    of_contrast: dict[str, list[Chosen]] = {}
    for one in run.chosen:
        if one.row.checkpoint == target and one.source and (one.source == target) == is_own:
            of_contrast.setdefault(one.contrast, []).append(one)
    for name, several in of_contrast.items():
        if _is_of(name, contrast):
            named = [one for one in several if one.source.endswith(f"@{EARLIER}")]
            yield _won(run, named or several)
    if not run.chosen:
        yield from _alone(run, target, contrast, is_own=is_own)


def contrast_of(row: Measurement) -> str:
    """``mass_mean:reliability/defined@LLM360--Amber@ckpt_179`` gives ``reliability/defined``; empty where no vector was added."""
    kind, _, rest = row.vector.partition(":")
    made, _, source = rest.partition("@")
    return made if source and kind not in _NO_VECTORS else ""


def source_of(row: Measurement) -> str:
    """The checkpoint that the vector of `row` was made in."""
    return row.vector.partition(":")[2].partition("@")[2].removesuffix(f":{row.site}")


def setting_of(row: Measurement) -> tuple[str, str, str, float]:
    """What was done, to which model."""
    return (row.checkpoint, row.vector, row.site, row.alpha)


def placed(run: Run, row: Measurement, unit: str) -> str:
    """``mass_mean of ckpt_179 (step 137160) at block_18, alpha 0.5 target_norm``; empty for a model as it is."""
    if not row.vector:
        return ""
    if not contrast_of(row):
        return row.vector + (f", alpha {row.alpha:g}" if row.alpha else "")
    kind = row.vector.partition(":")[0]
    strength = f"alpha {row.alpha:g} {unit or 'of a unit that the run does not name'}"
    return f"{kind} of {contrast_of(row)} in {run.trained_to(source_of(row))} at {row.site}, {strength}"


def untold(run: Run) -> list[str]:
    """Contrasts of `run` of which no record says what won, and whose rows therefore stand nowhere."""
    if run.chosen:
        return []
    several: dict[tuple[str, str], set[tuple[str, str, str, float]]] = {}
    for row in _steered(run):
        several.setdefault((row.checkpoint, contrast_of(row)), set()).add(setting_of(row))
    return [
        f"{run.name}: {len(settings)} settings of {contrast} in {target}, and no record of which won on the development half; "
        "they are left out."
        for (target, contrast), settings in several.items()
        if len(settings) > 1
    ]


def _is_of(name: str, contrast: str) -> bool:
    return name == contrast or name.startswith(f"{contrast}/")


def _won(run: Run, several: Sequence[Chosen]) -> Winner:
    won = best(several)
    by = f"{won.row.quantity} {number_text(won.row)} on {won.row.dataset}, n = {won.row.n}"
    says = f"{placed(run, won.row, won.unit)}; won by {by}, of {len(several)} vectors"
    return Winner(setting=won.setting, says=says)


def _alone(run: Run, target: str, contrast: str, *, is_own: bool) -> Iterator[Winner]:
    found = {
        setting_of(row): row for row in _steered(run) if row.checkpoint == target and _is_of(contrast_of(row), contrast)
    }
    if len(found) == 1:
        ((setting, row),) = found.items()
        if (source_of(row) == target) == is_own:
            yield Winner(setting=setting, says=f"{placed(run, row, run.unit)}; the only setting")


def _steered(run: Run) -> list[Measurement]:
    return [
        row
        for row in run.rows
        if row.site
        and contrast_of(row)
        and row.dataset.endswith("/test")
        and not row.quantity.startswith(("separation", "on_front"))
    ]
