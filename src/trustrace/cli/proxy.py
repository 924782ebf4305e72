"""`trustrace proxy-tune`."""

from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import BatchTokens, DataDir, Device, ModeName, Out, StudyProtocol, protocol_of


def proxy_tune(
    study: Path,
    out: Out,
    protocol: StudyProtocol = None,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    mode: Annotated[ModeName, typer.Option(help="How endpoint judges are asked.")] = ModeName.chat,
    token_cap: Annotated[int | None, typer.Option(min=1, help="Stop before endpoint judges take more tokens.")] = None,
) -> None:
    """Let the checkpoints of STUDY speak with what tuning did to a later one, and judge them on test data; started again, it goes on."""
    from trustrace.cli.view import say, showing_progress
    from trustrace.studies.files import read_study
    from trustrace.studies.judging import EndpointOptions
    from trustrace.studies.proxying.config import ProxyConfig
    from trustrace.studies.proxying.run import run_proxy
    from trustrace.studies.settings import Settings

    settings = Settings(device=device, batch_tokens=batch_tokens, data_dir=data_dir)
    judging = EndpointOptions(mode=mode.value, max_tokens_spent=token_cap)
    with showing_progress() as progress:
        asked = read_study(study, ProxyConfig, protocol=protocol_of(protocol))
        table = run_proxy(asked, out=out, settings=settings, judging=judging, progress=progress)
    say(f"table: {table}\nreport: trustrace report {out}")
