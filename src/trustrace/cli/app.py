"""The commands."""

from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli import checkpoints, datasets, judges, paper, toxicity, vectors
from trustrace.cli.dynamics import dynamics
from trustrace.cli.evaluate import evaluate
from trustrace.cli.finetune import compare, finetune
from trustrace.cli.options import (
    BatchTokens,
    DataDir,
    Device,
    ModeName,
    Out,
    PositionName,
    ProtocolName,
    Revision,
    RunOrUrl,
    Seed,
    Sites,
    StudyProtocol,
    TruncationName,
    protocol_of,
    protocols_of,
)
from trustrace.cli.proxy import proxy_tune
from trustrace.cli.trace import trace

app = typer.Typer(
    name="trustrace",
    help="See how trustworthiness forms inside a language model while it is being pre-trained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(datasets.app, name="datasets")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(vectors.app, name="vectors")
app.add_typer(judges.app, name="judge")
app.add_typer(toxicity.app, name="toxicity")
app.add_typer(paper.app, name="paper")
app.command()(trace)
app.command()(evaluate)
app.command()(dynamics)
app.command()(finetune)
app.command()(compare)
app.command(name="proxy-tune")(proxy_tune)


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    device: Device = "auto",
    quick: Annotated[
        bool, typer.Option(help="A much shorter pre-training: shows that everything works, not what a model learns.")
    ] = False,
) -> None:
    """Pre-train a small model in a controlled world, trace it, tune and steer it, and write the reports."""
    from trustrace.cli.view import say, showing_progress
    from trustrace.studies.demo import run_demo
    from trustrace.studies.settings import Settings

    with showing_progress() as progress:
        pages = run_demo(out=out, settings=Settings(device=device), quick=quick, progress=progress)
    say(f"report: {pages.trace}\nreport of steering: {pages.steer}")


@app.command()
def pretrain(
    config: Path,
    out: Out,
    corpus: Annotated[Path | None, typer.Option(help="A folder of text in place of the file's corpus.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Training tokens in place of the file's.")] = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of a CPU.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Pre-train a model from random initialisation, saving checkpoints densely at first; started again, it goes on."""
    from trustrace.cli.view import say, show_table, showing_progress
    from trustrace.studies.pretraining import foresee_pretrain, read_pretrain
    from trustrace.studies.settings import Settings
    from trustrace.training.pretrain import pretrain as train

    described = read_pretrain(config, corpus=corpus, tokens=tokens)
    show_table(f"what {config} will take", foresee_pretrain(described.training))
    watcher = described.watcher(out=out, settings=Settings(data_dir=data_dir))
    with showing_progress() as progress:
        made = train(
            described.training,
            out=out,
            device=device,
            threads=threads,
            progress=progress,
            watcher=watcher,
            plots=described.plots(out=out),
        )
    say(f"checkpoints: {made}" + (f"\nreport: trustrace report {watcher.out}" if watcher else ""))


@app.command()
def steer(
    study: Path,
    out: Out,
    protocol: StudyProtocol = None,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    mode: Annotated[ModeName, typer.Option(help="How endpoint judges are asked.")] = ModeName.chat,
    token_cap: Annotated[int | None, typer.Option(min=1, help="Stop before endpoint judges take more tokens.")] = None,
) -> None:
    """Steer the models of STUDY with vectors of pre-training checkpoints: choose on development data, judge on test data."""
    from trustrace.cli.view import say, showing_progress
    from trustrace.studies.files import read_study
    from trustrace.studies.judging import EndpointOptions
    from trustrace.studies.settings import Settings
    from trustrace.studies.steering.config import SteerConfig
    from trustrace.studies.steering.run import run_steer

    settings = Settings(device=device, batch_tokens=batch_tokens, data_dir=data_dir)
    with showing_progress() as progress:
        asked = read_study(study, SteerConfig, protocol=protocol_of(protocol))
        judging = EndpointOptions(mode=mode.value, max_tokens_spent=token_cap)
        table = run_steer(asked, out=out, settings=settings, judging=judging, progress=progress)
    say(f"table: {table}\nreport: trustrace report {out}")


@app.command()
def plan(
    study: Path,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A run that may have finished some of it.")] = None,
    protocol: StudyProtocol = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    on: Annotated[
        str | None,
        typer.Option(help="h200, h100, a100 or here: by counted arithmetic, with no network, weights or calibration."),
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="With --on: how many of them, beside one.")] = 8,
    like: Annotated[str | None, typer.Option(help="With --on: a known repository of the same shape.")] = None,
    made_by: Annotated[
        Path | None, typer.Option(help="With --on: the pre-training file that makes the checkpoints.")
    ] = None,
) -> None:
    """Say what STUDY will cost before it starts: its units, and for a trace also downloads, disk, memory and time."""
    if on is not None:
        return paper.show_forecast(
            study, on=on, gpus=gpus, like=like, made_by=made_by, protocol=protocol_of(protocol), data_dir=data_dir
        )
    from trustrace.cli.view import show_table
    from trustrace.studies.config import TraceConfig
    from trustrace.studies.files import is_finetuning, is_proxy_tuning, is_steering, read_study
    from trustrace.studies.foreseen.forecast import forecast
    from trustrace.studies.proxying.config import ProxyConfig
    from trustrace.studies.proxying.plan import foresee_proxy
    from trustrace.studies.settings import Settings
    from trustrace.studies.steering.config import SteerConfig
    from trustrace.studies.steering.forecast import foresee_steer
    from trustrace.studies.tuning.config import FinetuneConfig
    from trustrace.studies.tuning.plan import foresee_finetune

    settings, under = Settings(device=device, data_dir=data_dir), protocol_of(protocol)
    if is_steering(study, protocol=under):
        rows = foresee_steer(read_study(study, SteerConfig, protocol=under), settings=settings, run=out)
    elif is_finetuning(study, protocol=under):
        rows = foresee_finetune(read_study(study, FinetuneConfig, protocol=under), settings=settings, run=out)
    elif is_proxy_tuning(study, protocol=under):
        rows = foresee_proxy(read_study(study, ProxyConfig, protocol=under), settings=settings, run=out)
    else:
        rows = forecast(read_study(study, TraceConfig, protocol=under), run=out, settings=settings).as_rows()
    return show_table(f"plan of {study}", rows)


@app.command()
def status(
    run: RunOrUrl,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew until nobody is at work in RUN, a folder, or Ctrl-C.")
    ] = False,
) -> None:
    """Say how far RUN is and what its processes do; ask from any shell, while it runs or after."""
    from trustrace.cli import watching
    from trustrace.core.errors import ConfigError
    from trustrace.runs.remote import glimpsed, is_url
    from trustrace.studies.status import read_status

    if watch and is_url(run):
        raise ConfigError(
            f"--watch {run}: what processes do is not sent to a URL; leave --watch out to see how far the run is, "
            "or watch the folder that a worker has on its own machine"
        )
    folder = glimpsed(run)
    if watch:
        watching.watch(folder)
    state = read_status(folder)
    watching.show_status(state)
    if state.failures:
        raise typer.Exit(3)


@app.command()
def report(
    run: RunOrUrl,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to; inside RUN by default.")] = None,
) -> None:
    """Write one self-contained HTML page and paper-ready figures from the table of RUN."""
    from trustrace.cli.view import say
    from trustrace.report.page import write_report
    from trustrace.runs.remote import at_hand

    say(f"report: {write_report(at_hand(run), out=out)}")


@app.command()
def capture(
    model: str,
    dataset: Annotated[str, typer.Option(help="A shipped set, or a CSV, JSONL or Parquet file.")],
    out: Out,
    revision: Revision = None,
    site: Sites = None,
    position: PositionName = PositionName.last,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    seed: Seed = 0,
    truncation: Annotated[
        TruncationName, typer.Option(help="left drops the first tokens of what is too long.")
    ] = TruncationName.never,
    dtype: Annotated[str, typer.Option(help="auto is the checkpoint's own; or float32, bfloat16, float16.")] = "auto",
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the checkpoint.")] = False,
    check: Annotated[bool, typer.Option(help="Compare with one statement at a time before capturing.")] = False,
) -> None:
    """Write the activations of a dataset at every site of MODEL to a safetensors file."""
    from trustrace.cli.view import say, showing_progress
    from trustrace.studies import capturing
    from trustrace.studies.settings import Settings
    from trustrace.studies.statements import load_named

    settings = Settings(device=device, batch_tokens=batch_tokens, data_dir=data_dir)
    statements = load_named(dataset, settings=settings, seed=seed)
    loaded = capturing.load_model(
        model, revision=revision, settings=settings, dtype=dtype, trust_remote_code=trust_remote_code
    )
    if check:
        checked = capturing.check_model(loaded, statements, position=position.value)
        say(
            f"batched equals one at a time: {checked.n} statements, largest relative difference {max(checked.differences.values()):.1e}"
        )
    with showing_progress() as progress:
        captured = capturing.capture_statements(
            loaded,
            statements,
            out=out,
            sites=tuple(site or ()),
            position=position.value,
            truncation=truncation.value,
            settings=settings,
            progress=progress,
        )
    say(f"{len(captured)} statements at {len(captured.sites)} sites: {out}")


@app.command()
def measure(
    activations: Path,
    statements: Path,
    out: Out,
    protocol: Annotated[list[ProtocolName] | None, typer.Option(help="Repeat it for several.")] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="Mean input embeddings of the same statements (capture --site embed --position mean)."),
    ] = None,
    information: Annotated[bool, typer.Option(help="Measure dependence on input and label as well.")] = True,
    seed: Seed = 0,
) -> None:
    """Probe activations captured elsewhere: tensors named by site, rows in the order of STATEMENTS."""
    from trustrace.cli.view import say, show_table
    from trustrace.studies.measuring import accuracies, dependences, measure_files

    protocols = protocols_of(protocol)
    rows = measure_files(activations, statements, inputs, out=out, protocols=protocols, informed=information, seed=seed)
    show_table("accuracy", accuracies(rows))
    show_table("dependence", dependences(rows))
    say(f"table: {out}")
