"""Steering vectors from checkpoints: built from one capture each, shown, compared over training, exported."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from trustrace.activations.capture import capture
from trustrace.activations.encoding import Truncation
from trustrace.activations.store import Activations
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError
from trustrace.core.measurements import Measurement
from trustrace.core.progress import Progress, silent
from trustrace.core.sites import Position
from trustrace.core.statements import Statements
from trustrace.datasets.alignment import read_pairs
from trustrace.models.fingerprints import module_names, module_names_of, tokenizer_fingerprint
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load as load_checkpoint
from trustrace.models.selection import select
from trustrace.models.sources import open_source
from trustrace.runs.table import as_table, write_table
from trustrace.steering import building, export, files, geometry
from trustrace.steering.vectors import CONTROLS, Kind, SteeringVector, Unit
from trustrace.studies.capturing import load_model
from trustrace.studies.series import list_series
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_named

Format = Literal["gguf", "lm-eval", "numpy"]

SHOWN_PAIRS = 30
"""Cosines that a terminal shows of pairs at the last checkpoint; the table holds all."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is built at each checkpoint.

    Attributes:
        sites: Where; every block if empty.
        kinds: Which vectors.
        position: How a statement's tokens become one activation.
        truncation: What happens to statements longer than the context.
        seed: Of everything that is drawn.
        draws: Bootstrap replicates of each mass mean.
    """

    sites: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("mass_mean", "random", "shuffled_label")
    position: Position = "last"
    truncation: Truncation = "never"
    seed: int = 0
    draws: int = 100


def load_contrast(*, dataset: str | None, pairs: Path | None, settings: Settings, seed: int) -> Statements:
    """The statements of a dataset by name or file, or of a file of alignment pairs.

    Raises:
        ConfigError: both or neither are named.
        DataError: the data cannot be used.
    """
    if (dataset is None) == (pairs is None):
        raise ConfigError(
            "name one contrast: --dataset (a set of labelled statements) or --pairs (a file of alignment pairs)"
        )
    return read_pairs(pairs, seed=seed) if pairs else load_named(str(dataset), settings=settings, seed=seed)


def chosen_checkpoints(source: str, *, revision: str | None, selection: str | None) -> tuple[Checkpoint, ...]:
    """The checkpoints of `source` that a command line asks for: a revision, a selection, or the last one.

    Raises:
        ConfigError: both are asked for, or nothing is selected.
    """
    if revision is not None and selection is not None:
        raise ConfigError("give --revision for one checkpoint or --select for several, not both")
    series = open_source(source).checkpoints()
    if selection is not None:
        return select(series, [row["revision"] for row in list_series(source, select=selection).rows])
    return select(series, [revision or series[-1].revision])


def build_vectors(
    source: str,
    statements: Statements,
    *,
    recipe: Recipe,
    checkpoints: Sequence[Checkpoint],
    out: Path,
    settings: Settings,
    dtype: str = "auto",
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> tuple[Path, ...]:
    """The vectors of `statements` in every one of `checkpoints`, a file each in the folder `out`, checkpoint by checkpoint.

    Raises:
        ModelError: a checkpoint cannot be used; the vectors of earlier ones are there.
        DataError: a statement cannot be encoded.
        MeasurementError: a direction cannot be computed.
        RunError: `out` cannot be written.
    """
    settings.require_device(spreads=False)
    series = open_source(source, keep_downloads=settings.keep_downloads)
    written: tuple[Path, ...] = ()
    for done, checkpoint in enumerate(checkpoints):
        progress(done, len(checkpoints), "checkpoints")
        model = load_checkpoint(
            series, checkpoint, device=settings.torch_device(), dtype=dtype, trust_remote_code=trust_remote_code
        )
        written += files.save(
            vectors_of(model, statements, recipe=recipe, settings=settings, scratch=out, progress=progress), out
        )
    progress(len(checkpoints), len(checkpoints), "checkpoints")
    return written


def vectors_of(
    model: LanguageModel,
    statements: Statements,
    *,
    recipe: Recipe,
    settings: Settings,
    scratch: Path | None = None,
    progress: Progress = silent,
) -> list[SteeringVector]:
    """The vectors of `statements` in `model`: one capture serves all sites and kinds; it lies below `scratch` meanwhile."""
    sites = recipe.sites or tuple(f"block_{number}" for number in range(model.n_blocks))
    captured = capturing(
        model,
        statements.texts,
        sites=sites,
        position=recipe.position,
        truncation=recipe.truncation,
        settings=settings,
        scratch=scratch,
        fingerprint=statements.texts_fingerprint,
        progress=progress,
    )
    with captured as activations:
        return vectors_in(activations, statements, model=model, recipe=recipe)


def vectors_in(
    activations: Activations, statements: Statements, *, model: LanguageModel, recipe: Recipe
) -> list[SteeringVector]:
    """The vectors at every site of `activations`, which were captured from `statements` in `model`."""
    vocabulary = tokenizer_fingerprint(model.tokenizer)
    built = [
        building.build(
            activations,
            statements,
            site=site,
            kinds=recipe.kinds,
            seed=recipe.seed,
            draws=recipe.draws,
            model_type=model.module.config.model_type,
            n_blocks=model.n_blocks,
            tokenizer=vocabulary,
        )
        for site in activations.sites
    ]
    return [vector for vectors in built for vector in vectors]


def residual_norms(
    model: LanguageModel,
    texts: Sequence[str],
    *,
    sites: Sequence[str],
    settings: Settings,
    position: Position = "last",
    truncation: Truncation = "never",
    progress: Progress = silent,
) -> dict[str, float]:
    """The median norm of the residual stream at each site over `texts`: in the target, what a strength may be a fraction of.

    Raises:
        ConfigError: the model has no such site.
        DataError: a text cannot be encoded.
    """
    captured = capturing(
        model,
        texts,
        sites=tuple(sites),
        position=position,
        truncation=truncation,
        settings=settings,
        progress=progress,
    )
    with captured as activations:
        return {
            site: float(torch.linalg.vector_norm(activations.values(site).double(), dim=1).quantile(0.5))
            for site in activations.sites
        }


def describe_vectors(vectors: Sequence[SteeringVector]) -> list[dict[str, Any]]:
    """What each vector is, for a table."""
    return [
        {
            "kind": vector.kind,
            "dataset": vector.dataset,
            "checkpoint": vector.checkpoint.key,
            "site": vector.site,
            **vars(vector.scales),
            "reliability": vector.reliability,
            "position": vector.position,
            "n": vector.n,
            "n_groups": vector.n_groups,
        }
        for vector in vectors
    ]


def describe_origin(vector: SteeringVector) -> list[dict[str, Any]]:
    """Where a vector comes from, and what a target is checked against, for a table."""
    facts = {
        "key": vector.key,
        "commit": vector.checkpoint.commit,
        "statements": vector.fingerprint,
        "seed": vector.seed,
        "architecture": f"{vector.model_type}, {vector.n_blocks} blocks, {vector.d_model} wide",
        "vocabulary": vector.tokenizer,
        "replicates": 0 if vector.replicates is None else len(vector.replicates),
    }
    return [{"what": what, "value": str(value)} for what, value in facts.items()]


def compare_vectors(path: Path, *, out: Path | None = None) -> list[Measurement]:
    """Cosines of all pairs that differ in one thing, their nulls, and since when directions have settled; written to `out` as a tidy table.

    Raises:
        DataError: the vectors cannot be read, or there is one alone.
    """
    vectors = files.load(path)
    if len(vectors) < 2:
        raise ConfigError(f"{path} holds one vector; a comparison needs two")
    rows = [*geometry.cosine_rows(vectors), *geometry.null_rows(vectors), *geometry.settling_rows(vectors)]
    if out is not None:
        write_table(as_table(rows), out)
    return rows


def settled(rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Since when directions have settled, for a table."""
    return [
        {name: getattr(row, name) for name in ("method", "dataset", "site", "value", "lower", "upper", "note")}
        for row in rows
        if row.quantity == "direction_settled"
    ]


def over_training(path: Path, rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Cosines with the last checkpoint's vector, beside what shuffled labels give, for a table."""
    vectors = files.load(path)
    order = {one.checkpoint.key: one.checkpoint for one in vectors}
    ends = {
        (one.kind, one.dataset, one.site, one.checkpoint.model): one
        for one in sorted(vectors, key=lambda v: v.checkpoint)
    }
    cosines = {
        (row.method, row.dataset, row.site, row.checkpoint, row.vector): row
        for row in rows
        if row.quantity == "direction_cosine"
    }
    shown = []
    for one in sorted(vectors, key=lambda vector: (vector.dataset, vector.site, vector.kind, vector.checkpoint)):
        last = ends[one.kind, one.dataset, one.site, one.checkpoint.model]
        row = cosines.get((one.kind, one.dataset, one.site, last.checkpoint.key, one.key))
        if row is None or one.kind in CONTROLS:
            continue
        null = cosines.get(("shuffled_label", one.dataset, one.site, one.checkpoint.key, last.key))
        shown.append(
            {
                "kind": one.kind,
                "dataset": one.dataset,
                "site": one.site,
                "checkpoint": one.checkpoint.revision,
                "tokens_seen": order[one.checkpoint.key].tokens_seen,
                "cosine with the last": row.value,
                "lower": row.lower,
                "upper": row.upper,
                "of shuffled labels": null.value if null else None,
            }
        )
    return shown


def at_the_end(rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    """The largest cosines between sites, datasets and kinds at the last checkpoints, for a table."""
    pairs = [row for row in rows if row.quantity == "direction_cosine" and row.vector and row.role == "measured"]
    alike = [row for row in pairs if f"@{row.checkpoint}:" in row.vector]
    newest = max((row.tokens_seen or 0 for row in alike), default=0)
    last = [row for row in alike if (row.tokens_seen or 0) == newest]
    return [
        {"kind": row.method, "dataset": row.dataset, "site": row.site, "with": row.vector, "cosine": row.value}
        for row in sorted(last, key=lambda row: -abs(row.value))[:SHOWN_PAIRS]
    ]


def export_vectors(
    paths: Sequence[Path],
    *,
    form: Format,
    alpha: float,
    unit: Unit,
    out: Path,
    model: str | None = None,
    settings: Settings | None = None,
) -> tuple[SteeringVector, ...]:
    """Write the vectors of `paths`, one a site, into a file of another tool; `model` is asked for module names where need be.

    Raises:
        ConfigError: the format has no place for a site, or alpha is not finite.
        DataError: the vectors cannot be read, or two stand at one site.
        ModelError: the harness's name of a module is not known.
    """
    vectors = tuple(vector for path in paths for vector in files.load(path))
    match form:
        case "gguf":
            export.to_gguf(vectors, out, alpha=alpha, unit=unit)
        case "lm-eval":
            modules = _modules(vectors[0], model=model, settings=settings or Settings(device="cpu"))
            export.to_lm_eval(vectors, out, modules=modules, alpha=alpha, unit=unit)
        case "numpy":
            export.to_numpy(vectors, out, alpha=alpha, unit=unit)
    return vectors


def _modules(vector: SteeringVector, *, model: str | None, settings: Settings) -> dict[str, str]:
    if model is None:
        return module_names_of(vector.model_type, n_blocks=vector.n_blocks)
    return module_names(load_model(model, revision=None, settings=settings))


@contextmanager
def capturing(
    model: LanguageModel,
    texts: Sequence[str],
    *,
    sites: tuple[str, ...],
    position: Position,
    truncation: Truncation,
    settings: Settings,
    scratch: Path | None = None,
    fingerprint: str = "",
    progress: Progress = silent,
) -> Iterator[Activations]:
    """The activations of `texts`, in a folder that is gone afterwards."""
    with _inside(scratch), tempfile.TemporaryDirectory(prefix=".scratch-", dir=scratch) as folder:
        yield capture(
            model,
            texts,
            sites=sites,
            position=position,
            truncation=truncation,
            batch_tokens=settings.batch_tokens,
            out=Path(folder) / "activations.safetensors",
            fingerprint=fingerprint,
            progress=progress,
        )


@contextmanager
def _inside(folder: Path | None) -> Iterator[None]:
    """`folder` exists meanwhile; what of it and above it was made for that is gone afterwards where it is empty."""
    made = [] if folder is None else [place for place in (folder, *folder.parents) if not place.exists()]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for place in made:
            if not any(place.iterdir()):
                place.rmdir()
