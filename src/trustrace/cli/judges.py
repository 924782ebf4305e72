"""`trustrace judge`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import BatchTokens, DataDir, Device, ModeName, Out, Seed

app = typer.Typer(
    help="Who says whether an answer is true and informative, and how good they are at it.", no_args_is_help=True
)


class AspectName(StrEnum):
    """What is judged."""

    truth = "truth"
    info = "info"


@app.command()
def train(
    out: Out,
    aspect: Annotated[AspectName, typer.Option(help="What it is to judge.")] = AspectName.truth,
    exclude_dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="Questions that it must not learn from: published, test, development, or a dataset of 'Q: ... A: ...'; repeat it."
        ),
    ] = None,
    references: Annotated[bool, typer.Option(help="Compare answers with TruthfulQA's reference answers.")] = True,
    data_dir: DataDir = None,
    seed: Seed = 0,
) -> None:
    """Train a small judge on public human judgements, and check it on questions that it has not learned from."""
    from trustrace.cli.view import say, show_table, showing_progress
    from trustrace.studies import judging
    from trustrace.studies.settings import Settings

    settings, excluded = Settings(data_dir=data_dir), tuple(exclude_dataset or ())
    with showing_progress() as progress:
        checked = judging.train_judge(
            aspect.value,
            out=out,
            settings=settings,
            references=references,
            exclude=excluded,
            seed=seed,
            progress=progress,
        )
    show_table(f"{aspect.value}: answers of models, 95 % intervals over questions", judging.overview(checked))
    say(f"{checked.quality.sentence}\njudge: {out}")


@app.command()
def check(
    judge: Annotated[
        str,
        typer.Argument(
            help="A folder of 'judge train', hf:NAME_OR_PATH, endpoint:URL#MODEL, overlap:bleu or overlap:rouge."
        ),
    ],
    aspect: Annotated[
        AspectName | None, typer.Option(help="What it judges; a folder knows, all others judge truth by default.")
    ] = None,
    mode: Annotated[ModeName, typer.Option(help="How an endpoint is asked.")] = ModeName.chat,
    journal: Annotated[Path | None, typer.Option(help="Where an endpoint's answers are kept.")] = None,
    max_tokens_spent: Annotated[int | None, typer.Option(min=1, help="When to stop asking an endpoint.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge so many answers at most.")] = None,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    seed: Seed = 0,
) -> None:
    """Measure JUDGE against public human judgements; the result is kept, and shown beside every score that it gives."""
    from trustrace.cli.view import say, show_table, showing_progress
    from trustrace.studies import judging
    from trustrace.studies.settings import Settings

    settings = Settings(device=device, batch_tokens=batch_tokens, data_dir=data_dir)
    options = judging.EndpointOptions(mode=mode.value, journal=journal, max_tokens_spent=max_tokens_spent)
    with showing_progress() as progress:
        checked, kept = judging.check_judge(
            judge,
            aspect=aspect.value if aspect else None,
            settings=settings,
            options=options,
            limit=limit,
            seed=seed,
            progress=progress,
        )
    show_table("answers of models, 95 % intervals over questions", judging.overview(checked))
    show_table("accuracy by category of question", judging.by_category(checked))
    say(f"{checked.quality.sentence}\ntable: {kept}")
