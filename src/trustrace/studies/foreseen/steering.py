"""What a steering study takes: vectors of every source, every setting on the development half, what was chosen on the test half."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trustrace.core.measurements import Protocol
from trustrace.models import shapes
from trustrace.models.passes import pass_operations, reading_flops, step_bytes
from trustrace.models.shapes import BYTES, Shape, StoredDtype
from trustrace.studies.abilities import Half, TaskConfig
from trustrace.studies.foreseen.bill import Bill, Line, flops, size
from trustrace.studies.foreseen.machines import Machine
from trustrace.studies.foreseen.sizes import CHARACTERS_PER_TOKEN, PAIRS, Asked, Texts, statements_size, task_size
from trustrace.studies.foreseen.subjects import Hints, series_of
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import ContrastConfig, SteerConfig
from trustrace.studies.steering.search import AT_ONCE

JUDGE = shapes.of("LLM360/Amber")
"""A public judge of TruthfulQA is a Llama of 7 billion parameters: Amber's shape; stored in half precision."""

CLASSIFIER_FLOPS = 2 * 85e6
"""For a token: a RoBERTa of base size, its embeddings left out (arXiv:1907.11692)."""

CLASSIFIER_BYTES = 0.5e9


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A task asked of some versions of one target."""

    task: TaskConfig
    half: Half
    versions: int


def passes(study: SteerConfig, *, sources: int) -> Iterator[Pass]:
    """Everything that one target is asked; in a search as if perplexity ruled no setting out."""
    tested = dict.fromkeys([*(one.task for one in study.contrasts), study.perplexity.task, *study.general])
    chosen_by = dict.fromkeys([study.perplexity.task, *(one.task for one in study.contrasts)])
    yield from (Pass(task=task, half="development", versions=1) for task in chosen_by)
    yield from (Pass(task=task, half="test", versions=1) for task in tested)
    for contrast in study.contrasts:
        for families in (*[len(study.kinds)] * sources, *([study.random_controls] if study.random_controls else [])):
            settings = families * len(study.sites) * len(study.alphas)
            searched = settings + math.ceil(settings / (AT_ONCE - 1))
            for task in dict.fromkeys([study.perplexity.task, contrast.task]):
                yield Pass(task=task, half="development", versions=searched)
            # The plain model has been asked already, but for how far versions are from it.
            yield from (
                Pass(task=task, half="test", versions=families + (task.name == "divergence")) for task in tested
            )
        if contrast.instruction:
            yield from (Pass(task=task, half="test", versions=1) for task in tested if task.name != "divergence")


def foresee_steering(study: SteerConfig, machine: Machine, *, hints: Hints, settings: Settings) -> Bill:
    """What `study` takes on `machine`.

    Raises:
        ModelError, ConfigError: the models of its sources or targets are not known.
        DataError: a data set that is not shipped cannot be read.
    """
    series = series_of(study.sources, hints)
    targets = [shapes.of(hints.like or one.source) if hints.made_by is None else series.shape for one in study.targets]
    asked = list(passes(study, sources=series.count))
    texts = sum(_contrast_tokens(one, settings, study.seed) for one in study.contrasts)
    fetched = graders_bytes([one.task for one in asked])
    if series.is_fetched:
        fetched += _models_bytes(study, float(series.count * series.shape.revision_bytes), targets)
    loaded = series.count * series.shape.revision_bytes + sum(one.revision_bytes for one in targets)
    dtype: StoredDtype = series.shape.stored if study.dtype == "auto" else study.dtype
    captured = series.count * reading_flops(series.shape, texts)
    lines = [
        *(
            [Line(what="download", amount=size(fetched), seconds=fetched / machine.download, is_shared=True)]
            if fetched
            else []
        ),
        Line(what="loading", amount=size(loaded), seconds=loaded / machine.load),
        Line(what="reading statements for vectors", amount=flops(captured), seconds=captured / machine.products(dtype)),
    ]
    for shape in targets:
        lines += answering(asked, shape, machine, protocol=study.protocol, dtype=dtype)
    return Bill(
        study=study.name,
        machine=machine,
        lines=tuple(lines),
        parts=len(targets) * len(study.contrasts),
        cut="one a contrast and target; give each device a study of its own",
        download_bytes=fetched,
        held_bytes=0.0,
        kept_bytes=fetched,
        assumptions=tuple(_assumptions(study, series.count, series.note, asked, dtype)),
        left_out=(
            "beginnings that several prompts share are read once, which shortens reading",
            "settings that perplexity rules out are not asked, which shortens searching",
            "bootstrap of the scores, on the processor: seconds a unit",
            *unsized([one.task for one in asked], protocol=study.protocol),
        ),
    )


def answering(
    asked: Sequence[Pass], shape: Shape, machine: Machine, *, protocol: Protocol, dtype: StoredDtype
) -> Iterator[Line]:
    """Reading prompts, writing answers, and grading them, for one model."""
    sized = [(one, known) for one in asked if (known := task_size(one.task, half=one.half, protocol=protocol))]
    tokens = sum(one.versions * known.items * known.read / CHARACTERS_PER_TOKEN for one, known in sized)
    read = reading_flops(shape, tokens)
    yield Line(
        what="reading prompts", amount=f"{tokens:,.0f} tokens, {flops(read)}", seconds=read / machine.products(dtype)
    )
    steps = [_decoding(one, known, shape, machine, dtype=dtype) for one, known in sized if known.written]
    count = sum(steps_ for steps_, _ in steps)
    yield Line(
        what="writing answers", amount=f"{count:,.0f} steps", seconds=sum((seconds for _, seconds in steps), 0.0)
    )
    judged = reading_flops(
        JUDGE, sum(one.versions * known.items * known.judged / CHARACTERS_PER_TOKEN for one, known in sized)
    )
    written = sum(one.versions * known.items * (known.written + 25) for one, known in sized if known.classified)
    graded = judged + CLASSIFIER_FLOPS * written
    yield Line(what="judges and classifier", amount=flops(graded), seconds=graded / machine.half)


def _decoding(one: Pass, known: Asked, shape: Shape, machine: Machine, *, dtype: StoredDtype) -> tuple[int, float]:
    """Steps and seconds. A step waits for whatever is slowest: memory, arithmetic, or being told what to do."""
    length = (known.read + known.once) / CHARACTERS_PER_TOKEN + known.written
    most = max(1.0, machine.cache_bytes / shape.cache_bytes(1, dtype=dtype) // length)
    rows = one.versions * known.items
    batches = math.ceil(rows / most)
    held = min(most, rows)
    step = max(
        step_bytes(shape, rows=held, length=length, dtype=dtype) / machine.memory,
        2.0 * shape.parameters * held / machine.products(dtype),
        pass_operations(shape) * machine.operation,
    )
    return batches * known.written, batches * known.written * step


def _contrast_tokens(contrast: ContrastConfig, settings: Settings, seed: int) -> float:
    if contrast.dataset is None:
        return PAIRS.tokens
    found: Texts = statements_size(contrast.dataset, settings=settings, seed=seed)
    return found.tokens


def _models_bytes(study: SteerConfig, sources: float, targets: list[Shape]) -> float:
    own = study.sources.source
    is_source = {own, f"{own}@main"} if study.sources.select == "all" else set()
    others = sum(
        shape.revision_bytes
        for one, shape in zip(study.targets, targets, strict=True)
        if f"{one.source}@{one.revision or 'main'}" not in is_source
    )
    return sources + others


def graders_bytes(tasks: Sequence[TaskConfig]) -> float:
    """What judges and classifiers of `tasks` are to fetch."""
    judges = {
        name for task in tasks for name in (*(("truth", j) for j in task.truth), *(("info", j) for j in task.info))
    }
    neural = sum(name.startswith("hf:") for _, name in judges)
    classified = any((task.classifier or "").startswith("hf:") for task in tasks)
    return neural * JUDGE.parameters * BYTES["float16"] + classified * CLASSIFIER_BYTES


def unsized(tasks: Sequence[TaskConfig], *, protocol: Protocol) -> Iterator[str]:
    """The tasks whose size is not known, in words; none of them is counted."""
    unknown = [task for task in dict.fromkeys(tasks) if task_size(task, half="test", protocol=protocol) is None]
    yield from (f"{task.title}: its size is not known" for task in unknown)


def _assumptions(
    study: SteerConfig, sources: int, note: str, asked: list[Pass], dtype: StoredDtype
) -> Iterator[tuple[str, str, str]]:
    yield "source checkpoints", str(sources), note
    yield (
        "settings searched",
        f"{len(study.sites)} sites x {len(study.alphas)} strengths, each kind and control",
        "the study",
    )
    yield "tasks asked of each target", f"{len(asked)}, of {sum(one.versions for one in asked):,} versions", "the study"
    yield "arithmetic of the models", dtype, "the study"
    yield "batches", "4 GiB of keys and values", "as generation takes them on a GPU"
    yield (
        "questions and their lengths",
        "whole tasks, half of them each half",
        "counted; RACE and MMLU from their papers",
    )
    yield "judges", "two of 7 B parameters, 120 characters an answer", "the judges' cards; assumed"
    yield "every answer is written to its longest", "50 or 64 tokens", "the tasks"
