"""`trustrace checkpoints`."""

from typing import Annotated

import typer

app = typer.Typer(help="Where checkpoints come from.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Where checkpoints come from."""


@app.command("list")
def list_checkpoints(
    source: Annotated[str, typer.Argument(help="A folder, a pre-training run, or a hub repository.")],
    select: Annotated[str, typer.Option(help="all, a pattern such as 'step*', every:N or log:N.")] = "all",
) -> None:
    """List the checkpoints of SOURCE with their steps and tokens seen."""
    from trustrace.cli.view import say, show_table
    from trustrace.studies.series import list_series

    listing = list_series(source, select=select)
    show_table(f"{source}: {len(listing.rows)} checkpoints", listing.rows)
    for notice in listing.notices:
        say(f"note: {notice}")
