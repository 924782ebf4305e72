"""`trustrace finetune` and `trustrace compare`."""

from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import BatchTokens, DataDir, Device, ModeName, Out, StudyProtocol, protocol_of


def finetune(
    study: Path,
    out: Out,
    protocol: StudyProtocol = None,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    mode: Annotated[ModeName, typer.Option(help="How endpoint judges are asked.")] = ModeName.chat,
    token_cap: Annotated[int | None, typer.Option(min=1, help="Stop before endpoint judges take more tokens.")] = None,
) -> None:
    """Tune the checkpoints of STUDY, in full and with adapters, and judge them on test data; started again, it goes on."""
    from trustrace.cli.view import say, showing_progress
    from trustrace.studies.files import read_study
    from trustrace.studies.judging import EndpointOptions
    from trustrace.studies.settings import Settings
    from trustrace.studies.tuning.config import FinetuneConfig
    from trustrace.studies.tuning.run import TUNED, run_finetune

    settings = Settings(device=device, batch_tokens=batch_tokens, data_dir=data_dir)
    judging = EndpointOptions(mode=mode.value, max_tokens_spent=token_cap)
    with showing_progress() as progress:
        asked = read_study(study, FinetuneConfig, protocol=protocol_of(protocol))
        table = run_finetune(asked, out=out, settings=settings, judging=judging, progress=progress)
    say(f"table: {table}\ntuned models: {out / TUNED}\nbeside others: trustrace compare {out} RUN ...")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders that steer, finetune or evaluate wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write comparison.md and comparison.csv here.")
    ] = None,
    quantity: Annotated[list[str] | None, typer.Option(help="Show these numbers alone; repeat it.")] = None,
    every: Annotated[
        bool,
        typer.Option("--every", help="Every tested setting of a steering run, not the winners of development alone."),
    ] = False,
) -> None:
    """Lay steering, instructions, tuning and whatever else RUNS did to the same models side by side."""
    from trustrace.cli.view import say, show_table
    from trustrace.studies.comparing import compare_runs
    from trustrace.studies.side_by_side import in_one_table, write_comparison

    found = compare_runs(runs, quantities=tuple(quantity or ()), every=every)
    show_table("side by side, on the test half", in_one_table(found))
    for note in found.notes:
        say(note)
    if out is not None:
        say("written: {} and {}".format(*write_comparison(found, out)))
