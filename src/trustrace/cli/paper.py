"""`trustrace paper`, and what `trustrace plan --on` shows."""

from pathlib import Path
from typing import Annotated

import typer

from trustrace.core.measurements import Protocol

app = typer.Typer(no_args_is_help=True, help="The paper's numbers, and ours beside them.")


@app.callback()
def paper() -> None:
    """The paper's numbers, and ours beside them."""


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Run folders; full=RUN, lora=RUN, safe=RUN say whose its unsteered rows are.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .md or .csv file; to the terminal by default.")
    ] = None,
) -> None:
    """Lay tables, figures and findings of RUNS beside those of the paper, cell by cell."""
    from trustrace.cli.view import say
    from trustrace.studies.paper.compare import compare as beside_the_paper
    from trustrace.studies.paper.page import as_csv, as_markdown

    found = beside_the_paper(runs)
    text = as_csv(found) if out and out.suffix == ".csv" else as_markdown(found)
    if out is None:
        return say(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    return say(f"comparison: {out}; numbers in cells: {len(found.present)}, findings: {len(found.findings)}")


def show_forecast(
    study: Path,
    *,
    on: str,
    gpus: int,
    like: str | None,
    made_by: Path | None,
    protocol: Protocol | None,
    data_dir: Path | None,
) -> None:
    """Show what a study takes on a machine, and everything that was taken for granted."""
    from trustrace.cli.view import show_table
    from trustrace.studies.foreseen.studies import foresee
    from trustrace.studies.settings import Settings

    settings = Settings(data_dir=data_dir)
    bill = foresee(study, on=on, like=like, made_by=made_by, protocol=protocol, settings=settings)
    show_table(f"{study} on {bill.machine.name}", bill.rows(tuple(dict.fromkeys((1, gpus)))))
    show_table("taken for granted", bill.assumed())
