"""The command that traces a series."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trustrace.cli.options import (
    BatchTokens,
    DataDir,
    Device,
    EngineName,
    OrderName,
    OutOrUrl,
    StudyProtocol,
    parse_bytes,
    protocol_of,
)

if TYPE_CHECKING:
    from trustrace.core.progress import Progress
    from trustrace.studies.clusters.connection import Cluster
    from trustrace.studies.config import TraceConfig
    from trustrace.studies.settings import Settings

DiskBudget = Annotated[
    str | None,
    typer.Option(metavar="BYTES", help="What fetched checkpoints may take, such as 60GB; each goes when measured."),
]


def trace(
    study: Path,
    out: OutOrUrl,
    protocol: StudyProtocol = None,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    keep_downloads: Annotated[
        bool, typer.Option(help="Keep checkpoints fetched from the hub after they are measured.")
    ] = True,
    disk_budget: DiskBudget = None,
    ahead: Annotated[int, typer.Option(min=0, help="How many checkpoints are fetched while one is measured.")] = 1,
    order: Annotated[
        OrderName, typer.Option(help="coarse begins with both ends of training and refines; series follows it.")
    ] = OrderName.coarse,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Do the I-th of N parts; all parts share one --out.")
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="local measures in this process; ray with one worker a GPU of a cluster.")
    ] = EngineName.local,
    ray_address: Annotated[
        str | None,
        typer.Option(help="auto, host:port or local; by default the cluster that runs here, or else one of its own."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of --engine ray; by default one for each GPU, or for each machine.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed, and leave what was not begun.")
    ] = False,
) -> None:
    """Probe every site of every checkpoint on every dataset of STUDY; started again, it goes on."""
    from trustrace.cli.view import say
    from trustrace.cli.watching import showing_run
    from trustrace.runs.remote import placed
    from trustrace.studies.config import TraceConfig
    from trustrace.studies.files import read_study
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
    cluster = _cluster(engine, device=device, shard=shard, address=ray_address, workers=workers)
    with showing_run(placed(out)[0]) as progress:
        asked = read_study(study, TraceConfig, protocol=protocol_of(protocol))
        table = _traced(asked, out, settings, shard=shard, cluster=cluster, only_failed=retry_failed, progress=progress)
    say(f"table: {table}\nreport: trustrace report {table.parent}")


def _cluster(
    engine: EngineName, *, device: str, shard: str | None, address: str | None, workers: int | None
) -> "Cluster | None":
    """The cluster that is asked for.

    Raises:
        ConfigError: the options contradict each other.
    """
    from trustrace.core.errors import ConfigError
    from trustrace.studies.clusters.connection import Cluster

    if engine is EngineName.local:
        alone = [name for name, value in (("--ray-address", address), ("--workers", workers)) if value is not None]
        if alone:
            raise ConfigError(f"{alone[0]} is about workers on a cluster; add --engine ray")
        return None
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: with --engine ray each worker has one device; use auto, cpu or cuda")
    if shard:
        raise ConfigError("--shard divides a trace without a cluster, and --engine ray does it with one; use either")
    return Cluster(address=address, workers=workers)


def _traced(
    study: "TraceConfig",
    out: str,
    settings: "Settings",
    *,
    shard: str | None,
    cluster: "Cluster | None",
    only_failed: bool,
    progress: "Progress",
) -> Path:
    from trustrace.cli.view import say
    from trustrace.runs.remote import placed
    from trustrace.studies.clusters.run import run_on_ray
    from trustrace.studies.sharding import WHOLE, Shard
    from trustrace.studies.trace import run_trace

    part = Shard.parse(shard) if shard else WHOLE
    folder, mirror = placed(out)
    if mirror:
        say(f"works in {folder}, kept at {mirror.name}")
    if cluster:
        return run_on_ray(
            study, out=out, cluster=cluster, settings=settings, only_failed=only_failed, progress=progress
        )
    return run_trace(
        study,
        out=folder,
        settings=settings,
        shard=part,
        only_failed=only_failed,
        mirror=mirror,
        progress=progress,
    )
