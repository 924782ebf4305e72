"""`trustrace dynamics`."""

from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import BatchTokens, DataDir, Device, OrderName, Sites, parse_bytes


def dynamics(
    run: Annotated[Path, typer.Argument(help="The folder of a trace.")],
    site: Sites = None,
    checkpoints: Annotated[
        int, typer.Option(min=2, help="At most so many checkpoints are compared pair by pair, evenly spread.")
    ] = 40,
    scratch_budget: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="What may be kept while checkpoints are compared, such as 300GB."),
    ] = None,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    keep_downloads: Annotated[
        bool, typer.Option(help="Keep checkpoints fetched from the hub after they are captured.")
    ] = True,
    disk_budget: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="What fetched checkpoints may take, such as 60GB; each goes when captured."),
    ] = None,
    ahead: Annotated[int, typer.Option(min=0, help="How many checkpoints are fetched while one is captured.")] = 1,
    order: Annotated[OrderName, typer.Option(help="In which order checkpoints are captured.")] = OrderName.coarse,
) -> None:
    """Compare the checkpoints of a trace with each other: emergence, transfer of probes, drift, what is learned and forgotten."""
    from trustrace.cli.view import say, show_table, showing_progress
    from trustrace.measures.over_training.config import OverTrainingConfig
    from trustrace.studies.course_tables import emergences
    from trustrace.studies.over_training import run_dynamics
    from trustrace.studies.settings import Settings

    settings = Settings(
        device=device,
        batch_tokens=batch_tokens,
        data_dir=data_dir,
        keep_downloads=keep_downloads,
        disk_budget=parse_bytes(disk_budget),
        ahead=ahead,
        order=order.value,
    )
    with showing_progress() as progress:
        table = run_dynamics(
            run,
            settings=settings,
            over=OverTrainingConfig(matrix_checkpoints=checkpoints),
            sites=tuple(site or ()),
            scratch_budget=parse_bytes(scratch_budget),
            progress=progress,
            tell=say,
        )
    show_table("emergence, in tokens", emergences(table))
    say(f"table: {table}\nreport: trustrace report {run}")
