"""`trustrace vectors`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import (
    BatchTokens,
    DataDir,
    Device,
    Out,
    PositionName,
    Revision,
    Seed,
    TruncationName,
    UnitName,
)

app = typer.Typer(help="Steering vectors: directions in a checkpoint, and their strengths.", no_args_is_help=True)


class KindName(StrEnum):
    """How a direction is found."""

    mass_mean = "mass_mean"
    published = "published"
    whitened_mean = "whitened_mean"
    probe_normal = "probe_normal"
    contrastive_pc = "contrastive_pc"
    random = "random"
    shuffled_label = "shuffled_label"


class FormatName(StrEnum):
    """Whose files are written."""

    gguf = "gguf"
    lm_eval = "lm-eval"
    numpy = "numpy"


Place = Annotated[Path, typer.Argument(help="A vector file, or a folder of them.")]


@app.command()
def build(
    source: Annotated[str, typer.Argument(help="A folder, a pre-training run, or a hub repository.")],
    out: Out,
    dataset: Annotated[str | None, typer.Option(help="A shipped set, or a CSV, JSONL or Parquet file.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Alignment pairs (.jsonl, .jsonl.gz, .parquet) instead.")] = None,
    revision: Revision = None,
    select: Annotated[
        str | None, typer.Option(help="Several checkpoints: all, a pattern such as 'step*', every:N or log:N.")
    ] = None,
    site: Annotated[list[str] | None, typer.Option(help="block_3 ...; repeat it; every block by default.")] = None,
    kind: Annotated[
        list[KindName] | None,
        typer.Option(help="Repeat it; mass_mean and both controls, random and shuffled_label, by default."),
    ] = None,
    position: PositionName = PositionName.last,
    truncation: Annotated[
        TruncationName, typer.Option(help="left drops the first tokens of what is too long.")
    ] = TruncationName.never,
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap replicates of each mass mean, for intervals.")] = 100,
    seed: Seed = 0,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    dtype: Annotated[str, typer.Option(help="auto is the checkpoint's own; or float32, bfloat16, float16.")] = "auto",
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the checkpoint.")] = False,
) -> None:
    """Make steering vectors of a contrast in checkpoints of SOURCE, from the development half of its statements alone."""
    from trustrace.cli.view import say, showing_progress
    from trustrace.studies import vectors
    from trustrace.studies.settings import Settings

    settings = Settings(device=device, batch_tokens=batch_tokens, data_dir=data_dir)
    contrast = vectors.load_contrast(dataset=dataset, pairs=pairs, settings=settings, seed=seed)
    recipe = vectors.Recipe(
        sites=tuple(site or ()),
        kinds=tuple(one.value for one in kind) if kind else vectors.Recipe.kinds,
        position=position.value,
        truncation=truncation.value,
        seed=seed,
        draws=draws,
    )
    wanted = vectors.chosen_checkpoints(source, revision=revision, selection=select)
    with showing_progress() as progress:
        written = vectors.build_vectors(
            source,
            contrast,
            recipe=recipe,
            checkpoints=wanted,
            out=out,
            settings=settings,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            progress=progress,
        )
    say(f"{len(written)} vectors of {contrast.name} from {len(wanted)} checkpoints: {out}")


@app.command()
def show(place: Place) -> None:
    """Show what the vectors at PLACE are: where they act, their scales, how reliable they are."""
    from trustrace.cli.view import show_table
    from trustrace.steering.files import load
    from trustrace.studies.vectors import describe_origin, describe_vectors

    found = load(place)
    show_table(f"{place}: {len(found)} vectors", describe_vectors(found))
    if len(found) == 1:
        show_table("origin", describe_origin(found[0]))


@app.command()
def compare(
    place: Place,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write all cosines here, as Parquet.")] = None,
) -> None:
    """Compare directions over checkpoints, sites, datasets and kinds, and say since when each has settled."""
    from trustrace.cli.view import say, show_table
    from trustrace.studies import vectors

    rows = vectors.compare_vectors(place, out=out)
    show_table("since when directions are what they are at the end", vectors.settled(rows))
    show_table("over training", vectors.over_training(place, rows))
    show_table("at the last checkpoint, largest first", vectors.at_the_end(rows))
    say(f"{len(rows)} rows" + (f": {out}" if out else "; --out writes them all"))


@app.command()
def export(
    files: Annotated[list[Path], typer.Argument(help="Vector files, one a site.")],
    out: Out,
    form: Annotated[FormatName, typer.Option("--format", help="Whose file to write.")],
    alpha: Annotated[float, typer.Option(help="The strength, in units.")] = 1.0,
    unit: Annotated[UnitName, typer.Option(help="What a strength of 1 means.")] = UnitName.distance,
    model: Annotated[
        str | None, typer.Option(help="A checkpoint to ask for module names, for rare architectures.")
    ] = None,
) -> None:
    """Write vectors as another tool reads them: a GGUF control vector, the harness's steering file, or numpy arrays."""
    from trustrace.cli.view import say
    from trustrace.studies.vectors import export_vectors

    written = export_vectors(files, form=form.value, alpha=alpha, unit=unit.value, out=out, model=model)
    say(f"{alpha:g} x {unit.value} of {', '.join(vector.key for vector in written)}: {out}")
