"""`trustrace dynamics`."""

from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import BatchTokens, DataDir, Device, Sites


def dynamics(
    run: Annotated[Path, typer.Argument(help="The folder of a trace.")],
    site: Sites = None,
    checkpoints: Annotated[
        int, typer.Option(min=2, help="At most so many checkpoints are compared pair by pair, evenly spread.")
    ] = 40,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
) -> None:
    """Compare the checkpoints of a trace with each other: emergence, transfer of probes, drift, what is learned and forgotten."""
    from trustrace.cli.view import say, show_table, showing_progress
    from trustrace.measures.over_training.config import OverTrainingConfig
    from trustrace.studies.over_training import emergences, run_dynamics
    from trustrace.studies.settings import Settings

    settings = Settings(device=device, batch_tokens=batch_tokens, data_dir=data_dir)
    over = OverTrainingConfig(matrix_checkpoints=checkpoints)
    with showing_progress() as progress:
        table = run_dynamics(run, settings=settings, over=over, sites=tuple(site or ()), progress=progress)
    show_table("emergence, in tokens", emergences(table))
    say(f"table: {table}\nreport: trustrace report {run}")
