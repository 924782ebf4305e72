"""What a comparison keeps of each checkpoint: activations where pairs are compared, and otherwise what the checkpoint says alone.

Each model is loaded once, and nothing is read twice: what is kept stands in a folder of the run under names that change with all that
changes it, so that a call which was stopped goes on where it was. The folder goes when the comparison has ended.
"""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from trustrace.activations.capture import capture
from trustrace.activations.narrowing import narrowed
from trustrace.activations.store import Activations, manifest_path
from trustrace.core.errors import ConfigError, DataError, DiskFullError, IntegrityError, MeasurementError, ModelError
from trustrace.core.progress import Progress
from trustrace.core.sites import select_sites
from trustrace.core.statements import Statements
from trustrace.measures.over_training.alone import Alone, Member
from trustrace.measures.over_training.compare import spread_out
from trustrace.measures.over_training.views import Design
from trustrace.models.extents import Extent, extent_of
from trustrace.models.language_model import LanguageModel
from trustrace.models.sources import CheckpointSource
from trustrace.runs.files import replacing
from trustrace.runs.identity import Unit, code_version
from trustrace.runs.ledger import Ledger
from trustrace.studies.planning import MEASURING, Plan, Subject
from trustrace.studies.scratch import Scratch, size
from trustrace.studies.screening import note_weights
from trustrace.studies.settings import Settings
from trustrace.studies.streaming import in_turn, ordered
from trustrace.studies.tracing import UNIT_ERRORS

_READING = ("core", "datasets", "models", "activations")
_PASSING = "passing.safetensors"

_OF_A_DATASET = (DataError, MeasurementError)
"""What one dataset can raise and another need not; anything else is of the checkpoint."""

Unread = dict[str, str]
"""Why one checkpoint could not be read, by dataset."""

Tell = Callable[[str], None]
"""Told of what a user should know before it is too late."""


def ignore(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is kept of which checkpoints.

    Attributes:
        plan: The trace whose checkpoints are compared.
        subjects: Those that are, in the order of training.
        datasets: On these statements.
        paired: Keys of those that are compared pair by pair.
        sites: Where.
        settings: Where work is done.
        folder: Where it is kept.
    """

    plan: Plan
    subjects: tuple[Subject, ...]
    datasets: tuple[Statements, ...]
    paired: frozenset[str]
    sites: tuple[str, ...] | Literal["all"]
    settings: Settings
    folder: Path

    def open(self, subject: Subject, statements: Statements) -> Member | None:
        """What is kept of `statements` in one checkpoint; None where it has to be read first."""
        path = self._file(subject, statements)
        if not path.is_file():
            return None
        try:
            if path.suffix == ".npz":
                return Alone.from_bytes(path.read_bytes(), checkpoint=subject.checkpoint)
            return Activations.open(path)
        except IntegrityError:
            return None

    def read(self, model: LanguageModel, subject: Subject, statements: Statements) -> None:
        """Read `statements` in one checkpoint, and keep what is needed of it."""
        out, passing = self._file(subject, statements), self.folder / _PASSING
        is_paired, is_wide = subject.checkpoint.key in self.paired, model.dtype.itemsize > 2
        study = self.plan.study
        activations = capture(
            model,
            statements.texts,
            sites=self.sites,
            position=study.position,
            batch_tokens=self.settings.batch_tokens,
            out=out if is_paired and is_wide else passing,
            fingerprint=statements.texts_fingerprint,
            truncation=study.truncation,
        )
        if not is_paired:
            alone = Alone.of(
                activations,
                self.designs[statements.name],
                config=study.probing,
                device=self.settings.torch_device(),
            )
            with replacing(out) as scratch:
                scratch.write_bytes(alone.to_bytes())
        elif not is_wide:
            narrowed(activations, out=out)

    def foresee(self, extent: Extent) -> Scratch:
        """The room that this takes in models of that extent."""
        return Scratch.of(
            rows=[len(one) for one in self.datasets],
            sites=len(select_sites(self.sites, n_blocks=extent.n_blocks)),
            d_model=extent.d_model,
            bytes_per_value=extent.bytes_per_value,
            position=self.plan.study.position,
            checkpoints=len(self.subjects),
            paired=sum(one.checkpoint.key in self.paired for one in self.subjects),
        )

    def held_bytes(self) -> int:
        """What of it is there already; what belongs to another comparison, or was never finished, goes."""
        files = [self._file(subject, statements) for subject in self.subjects for statements in self.datasets]
        known = {*files, *map(manifest_path, files)}
        for path in set(self.folder.glob("*")) - known:
            path.unlink() if path.is_file() else shutil.rmtree(path)
        return sum(path.stat().st_size for path in known if path.is_file())

    @cached_property
    def designs(self) -> Mapping[str, Design]:
        """The folds and draws of each dataset, which are those of its comparison."""
        study = self.plan.study
        return {one.name: Design.of(one, config=study.probing, seed=study.seed) for one in self.datasets}

    def _file(self, subject: Subject, statements: Statements) -> Path:
        is_paired, study = subject.checkpoint.key in self.paired, self.plan.study
        inputs: dict[str, Any] = {
            "checkpoint": [subject.checkpoint.key, subject.checkpoint.commit],
            "texts": statements.texts_fingerprint,
            "sites": self.sites,
            "position": study.position,
            "dtype": study.dtype,
            "truncation": study.truncation,
            "code": code_version(*(_READING if is_paired else MEASURING)),
        }
        if not is_paired:
            probing = study.probing.model_dump(mode="json")
            inputs |= {"dataset": statements.fingerprint, "probing": probing, "seed": study.seed}
        step, ending = ("activations", "safetensors") if is_paired else ("alone", "npz")
        unit = Unit(step=step, name=f"{subject.checkpoint.key}/{statements.name}", inputs=inputs)
        return self.folder / f"{unit.folder}.{ending}"


def chosen_pairs(subjects: tuple[Subject, ...], *, most: int, strange: Collection[str]) -> frozenset[str]:
    """The keys of at most `most` checkpoints, evenly spread over the series, that are compared pair by pair.

    In place of each whose key is `strange` comes the nearest that is not, so that an alarm that is raised late changes no other choice.
    """
    keys = [subject.checkpoint.key for subject in subjects]
    wanted = spread_out(len(keys), most=most)
    chosen = {place for place in wanted if keys[place] not in strange}
    for place in wanted:
        free = [one for one, key in enumerate(keys) if key not in strange and one not in chosen]
        if keys[place] in strange and free:
            chosen.add(min(free, key=lambda one: abs(one - place)))
    return frozenset(keys[place] for place in chosen)


def require_room(keeping: Keeping, *, budget: int | None, tell: Tell) -> None:
    """Tell how much room the comparison takes, before anything is fetched.

    Raises:
        ConfigError: it is more than `budget`, or a site is unknown.
        DiskFullError: the disk has not that much left.
    """
    extent = _extent(keeping)
    if extent is None:
        tell("scratch: not known, since no checkpoint's configuration can be read")
        return
    wanted = keeping.foresee(extent)
    held, free = keeping.held_bytes(), shutil.disk_usage(keeping.folder.parent).free
    there = f", of which {size(held)} are there" if held else ""
    tell(f"scratch: {wanted}{there}; in {keeping.folder}, which goes at the end; {size(free)} are free")
    one_site = replace(keeping, sites=("embed",)).foresee(extent).bytes
    ways_out = (
        f"compare fewer sites (--site; one takes {size(one_site)}) or fewer checkpoints pair by pair "
        f"(--checkpoints; each takes {size(wanted.of_one)})"
    )
    if budget is not None and wanted.bytes > budget:
        raise ConfigError(
            f"the comparison takes {size(wanted.bytes)} of scratch, and --scratch-budget allows {size(budget)}; {ways_out}"
        )
    if wanted.bytes - held > free:
        raise DiskFullError(
            f"{keeping.folder}: the comparison takes {size(wanted.bytes)} of scratch{there}, and {size(free)} are free; {ways_out}"
        )


def read_all(keeping: Keeping, ledger: Ledger, *, progress: Progress) -> Mapping[str, Unread]:
    """Read what is not kept yet, each model loaded once, in the order and within the disk's budget that the settings say.

    Returns:
        Why some checkpoints could not be read, or not on some datasets, by their keys.
    """
    lacking = {
        subject.checkpoint.key: [one for one in keeping.datasets if keeping.open(subject, one) is None]
        for subject in keeping.subjects
    }
    waiting = {key for key, datasets in lacking.items() if datasets}
    visits = ordered(keeping.plan.subjects, waiting=waiting, last=None, order=keeping.settings.order)
    failures: dict[str, Unread] = {}
    done = len(lacking) - len(waiting)
    with in_turn(keeping.plan, visits, settings=keeping.settings) as turns:
        for visit, place in turns:
            for subject in visit.subjects:
                key = subject.checkpoint.key
                unread = _read_one(keeping, ledger, subject, place, lacking[key])
                if unread:
                    failures[key] = unread
            done += 1
            progress(done, len(lacking), "checkpoints captured")
    return failures


def _read_one(
    keeping: Keeping, ledger: Ledger, subject: Subject, place: CheckpointSource, datasets: Sequence[Statements]
) -> Unread:
    """Read a checkpoint on each dataset; what one of them cannot give is no matter of the others."""
    unread: Unread = {}
    try:
        model = subject.load(place)
        note_weights(ledger, subject, model)
        for statements in datasets:
            try:
                keeping.read(model, subject, statements)
            except _OF_A_DATASET as error:
                unread[statements.name] = str(error)
    except UNIT_ERRORS as error:
        # As words: the error itself holds the frames that it came through, and the model with them.
        return {one.name: str(error) for one in datasets}
    return unread


def _extent(keeping: Keeping) -> Extent | None:
    """Of the first checkpoint that says."""
    study = keeping.plan.study
    for subject in keeping.subjects:
        try:
            return extent_of(
                keeping.plan.source,
                subject.checkpoint,
                dtype=study.dtype,
                trust_remote_code=study.trust_remote_code,
            )
        except ModelError:
            continue
    return None
