"""What a trace takes: every checkpoint is fetched, loaded, read on every statement, and measured at every site."""

from collections.abc import Iterator

from trustrace.core.sites import select_sites
from trustrace.measures.over_training.config import OverTrainingConfig
from trustrace.measures.work import DOUBLE_PRODUCTS, SINGLE_PRODUCTS, Work, inputs_work, site_work
from trustrace.models.passes import pass_operations, reading_flops
from trustrace.models.shapes import BYTES, StoredDtype
from trustrace.studies.config import TraceConfig
from trustrace.studies.foreseen.bill import Bill, Line, flops, size
from trustrace.studies.foreseen.machines import Machine
from trustrace.studies.foreseen.sizes import Texts, statements_size
from trustrace.studies.foreseen.subjects import Hints, Series, series_of
from trustrace.studies.scratch import Scratch
from trustrace.studies.scratch import size as room
from trustrace.studies.settings import Settings

BATCH_TOKENS = 8192
"""Tokens of a batch of statements, as capture takes them."""


def foresee_trace(study: TraceConfig, machine: Machine, *, hints: Hints, settings: Settings) -> Bill:
    """What `study` takes on `machine`.

    Raises:
        ModelError, ConfigError: the models of its source are not known.
        DataError: a data set that is not shipped cannot be read.
    """
    series = series_of(study.checkpoints, hints)
    shape = series.shape
    sites = len(select_sites(study.sites, n_blocks=shape.n_blocks))
    texts = [statements_size(one, settings=settings, seed=study.seed) for one in study.datasets]
    models = series.count + len(study.random_init_seeds)
    dtype: StoredDtype = shape.stored if study.dtype == "auto" else study.dtype
    work = _measuring(study, texts, d_model=shape.d_model, sites=sites).times(models)
    scratch = max(one.rows for one in texts) * sites * shape.d_model * 4.0
    fetched = float(series.count * shape.revision_bytes) if series.is_fetched else 0.0
    return Bill(
        study=study.name,
        machine=machine,
        lines=(
            *_bringing(series, models, machine),
            _capture(series, texts, models, machine, dtype=dtype),
            *work_lines(work, machine),
        ),
        parts=models,
        cut="one a model; give each device a study with its share of the checkpoints",
        download_bytes=fetched,
        held_bytes=(shape.revision_bytes if series.is_fetched else 0.0) + scratch,
        kept_bytes=fetched + scratch,
        assumptions=(
            ("checkpoints", f"{series.count}, and {len(study.random_init_seeds)} with fresh weights", series.note),
            ("parameters of a model", f"{shape.parameters:,}, {shape.body_parameters:,} in its blocks", shape.source),
            ("a revision", size(shape.revision_bytes), shape.source),
            ("arithmetic of the model", dtype, "the study"),
            (
                "statements, sites",
                f"{sum(one.rows for one in texts):,} in {len(texts)} sets, {sites} sites",
                "the study",
            ),
            ("tokens read in each model", f"{sum(one.tokens for one in texts):,.0f}", "characters of the sets"),
            (
                "products until a probe has converged",
                f"{SINGLE_PRODUCTS} in float32, {DOUBLE_PRODUCTS} in float64 a column",
                "counted while probes were fitted",
            ),
            ("`trustrace dynamics` afterwards", _afterwards(study, series, texts, dtype=dtype), "its own options"),
        ),
        left_out=tuple(_left_out(study)),
    )


def _afterwards(study: TraceConfig, series: Series, texts: list[Texts], *, dtype: StoredDtype) -> str:
    """What comparing the checkpoints with each other takes."""
    paired = min(series.count, OverTrainingConfig().matrix_checkpoints)
    scratch = Scratch.of(
        rows=[one.rows for one in texts],
        sites=len(select_sites(study.sites, n_blocks=series.shape.n_blocks)),
        d_model=series.shape.d_model,
        bytes_per_value=BYTES[dtype],
        position=study.position,
        checkpoints=series.count,
        paired=paired,
    )
    return f"each checkpoint once more, and {room(scratch.bytes)} of scratch for the pairs of {paired}"


def work_lines(work: Work, machine: Machine) -> tuple[Line, ...]:
    """What measuring takes, by what it waits for."""
    matrices = work.single / machine.single + work.double / machine.double + work.factored / machine.factored
    total = flops(work.single + work.double + work.factored)
    return (
        Line(what="measuring: products and factorisations", amount=total, seconds=matrices),
        Line(what="measuring: passes over matrices", amount=size(work.moved), seconds=work.moved / machine.memory),
        Line(
            what="measuring: Python and launches",
            amount=f"{work.operations:,.0f} operations",
            seconds=work.operations * machine.operation,
        ),
        Line(
            what="measuring: bootstrap and scikit-learn, on the processor",
            amount=size(work.processor),
            seconds=work.processor / machine.processor,
        ),
    )


def _bringing(series: Series, models: int, machine: Machine) -> Iterator[Line]:
    one = series.shape.revision_bytes
    if series.is_fetched:
        fetched = series.count * one
        yield Line(what="download", amount=size(fetched), seconds=fetched / machine.download, is_shared=True)
    yield Line(what="loading", amount=f"{models} x {size(one)}", seconds=models * one / machine.load)


def _capture(series: Series, texts: list[Texts], models: int, machine: Machine, *, dtype: StoredDtype) -> Line:
    tokens = sum(one.tokens for one in texts)
    done = reading_flops(series.shape, tokens)
    weights = series.shape.parameters * BYTES[dtype]
    batches = tokens / BATCH_TOKENS + len(texts)
    launches = batches * pass_operations(series.shape) * machine.operation
    slowest = max(done / machine.products(dtype), batches * weights / machine.memory, launches)
    return Line(what="reading the statements", amount=f"{models} x {flops(done)}", seconds=models * slowest)


def _measuring(study: TraceConfig, texts: list[Texts], *, d_model: int, sites: int) -> Work:
    total = Work()
    for one in texts:
        at_site = site_work(
            one.rows, d_model, protocols=study.protocols, probing=study.probing, information=study.information
        )
        total += at_site.times(sites) + inputs_work(one.rows, protocols=study.protocols, information=study.information)
    return total


def _left_out(study: TraceConfig) -> Iterator[str]:
    yield "floors from the text alone: minutes on a processor, once"
    yield "writing activations to the disk and reading them again"
    yield "judging the courses over all checkpoints: minutes on a processor, once"
    if "rigorous" in study.protocols and study.information and study.information.components:
        yield "nearest neighbours of information, on the processor: some seconds a site"
