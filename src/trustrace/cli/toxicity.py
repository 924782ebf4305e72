"""`trustrace toxicity`."""

from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import DataDir, Device, Out, Seed

app = typer.Typer(help="Toxicity classifiers: who says what is toxic, and what that is worth.", no_args_is_help=True)

Dataset = Annotated[str, typer.Option(help="Statements with people's verdicts: a shipped set or a file.")]


@app.command()
def train(out: Out, dataset: Dataset = "toxicity/defined", data_dir: DataDir = None, seed: Seed = 0) -> None:
    """Train a linear classifier on ToxiGen's development half, to stand in where no other can be fetched, and check it on the test half."""
    from trustrace.cli.view import say, show_table, showing_progress
    from trustrace.studies import toxicity
    from trustrace.studies.settings import Settings

    settings = Settings(data_dir=data_dir)
    with showing_progress() as progress:
        found = toxicity.train_classifier(out, settings=settings, seed=seed, dataset=dataset, progress=progress)
    show_table("on statements that it has not seen", toxicity.as_rows(found))
    say(f"classifier: {out}")


@app.command()
def check(
    classifier: Annotated[str, typer.Argument(help="A folder that 'train' wrote, or hf:NAME, or hf:NAME#LABEL.")],
    dataset: Dataset = "toxicity/defined",
    device: Device = "auto",
    data_dir: DataDir = None,
    seed: Seed = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers here.")] = None,
) -> None:
    """Measure any toxicity classifier against people: accuracy, AUROC, log loss, calibration."""
    from trustrace.cli.view import show_table, showing_progress
    from trustrace.studies import toxicity
    from trustrace.studies.settings import Settings

    settings = Settings(device=device, data_dir=data_dir)
    with showing_progress() as progress:
        found = toxicity.check_classifier(classifier, settings=settings, seed=seed, dataset=dataset, progress=progress)
    show_table(f"{classifier} against people", toxicity.as_rows(found))
    if json_file:
        toxicity.write_check(found, json_file)
