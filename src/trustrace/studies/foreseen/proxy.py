"""What a study of proxy-tuning takes: three networks read and write together for every base."""

from trustrace.models import shapes
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.config import CheckpointsConfig, ModelConfig
from trustrace.studies.foreseen.bill import Bill, Line, size
from trustrace.studies.foreseen.machines import Machine
from trustrace.studies.foreseen.sizes import task_size
from trustrace.studies.foreseen.steering import Pass, answering, graders_bytes, unsized
from trustrace.studies.foreseen.subjects import Hints, series_of
from trustrace.studies.proxying.config import ProxyConfig

NETWORKS = 3
"""Base, expert and anti-expert."""


def foresee_proxy_tuning(study: ProxyConfig, machine: Machine, *, hints: Hints) -> Bill:
    """What `study` takes on `machine`.

    Raises:
        ModelError, ConfigError: its models are not known.
    """
    series = series_of(study.bases, hints)
    others = [study.expert, study.anti_expert, *study.references]
    held = [shapes.of(hints.like or one.source) if hints.made_by is None else series.shape for one in others]
    apart = [shape for one, shape in zip(others, held, strict=True) if not _is_a_base(one, study.bases)]
    fetched = float(series.count * series.shape.revision_bytes + sum(shape.revision_bytes for shape in apart))
    dtype = series.shape.stored if study.dtype == "auto" else study.dtype
    alone = len(apart) + 1  # The expert is asked once more, beside the bases.
    asked = [
        Pass(task=task, half="test", versions=_versions(task, study, bases=series.count, alone=alone))
        for task in study.tasks
    ]
    loaded = series.count * series.shape.revision_bytes + sum(shape.revision_bytes for shape in held)
    download = (fetched if series.is_fetched else 0.0) + graders_bytes(study.tasks)
    return Bill(
        study=study.name,
        machine=machine,
        lines=(
            *(
                [Line(what="download", amount=size(download), seconds=download / machine.download, is_shared=True)]
                if download
                else []
            ),
            Line(what="loading", amount=size(loaded), seconds=loaded / machine.load),
            *answering(asked, series.shape, machine, protocol=study.protocol, dtype=dtype),
        ),
        parts=series.count,
        cut="one a base; give each device a study with some of them",
        download_bytes=download,
        held_bytes=0.0,
        kept_bytes=download,
        assumptions=(
            ("bases", str(series.count), series.note),
            (
                "networks that read and write for a base",
                str(NETWORKS),
                "base, expert and anti-expert, all in memory, taken as of the base's shape",
            ),
            ("arithmetic of the models", dtype, "the study"),
        ),
        left_out=(
            "beginnings that several prompts share are read once, which shortens reading",
            "bootstrap of the scores, on the processor: seconds a unit",
            *unsized(study.tasks, protocol=study.protocol),
        ),
    )


def _is_a_base(model: ModelConfig, bases: CheckpointsConfig) -> bool:
    """Whether it is fetched as a base anyway."""
    return (
        model.source == bases.source and isinstance(bases.select, tuple) and (model.revision or "main") in bases.select
    )


def _versions(task: TaskConfig, study: ProxyConfig, *, bases: int, alone: int) -> int:
    """How many networks go through a task: a text that is scored is read once for all strengths, an answer is written for each."""
    known = task_size(task, half="test", protocol=study.protocol)
    rows = 1 + len(study.alphas) if known and known.written else 1
    return NETWORKS * bases * rows + alone
