"""`trustrace evaluate`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import (
    BatchTokens,
    DataDir,
    Device,
    ModeName,
    Out,
    ProtocolName,
    Revision,
    Seed,
    StrengthName,
)


class HalfName(StrEnum):
    """Whose items are asked."""

    development = "development"
    test = "test"


class MismatchName(StrEnum):
    """What may differ between a vector's source and the model."""

    architecture = "architecture"
    tokenizer = "tokenizer"


def evaluate(
    model: Annotated[str, typer.Argument(help="A folder, a pre-training run, or a hub repository.")],
    task: Annotated[
        list[str],
        typer.Option(
            "--task", "--tasks", help="truthfulqa, lambada, text:FILE ...; repeat it, or separate with commas."
        ),
    ],
    out: Out,
    revision: Revision = None,
    vector: Annotated[Path | None, typer.Option(help="A file that `trustrace vectors build` wrote.")] = None,
    alpha: Annotated[
        list[float] | None, typer.Option(help="Its strength; repeat it. Negative goes the other way.")
    ] = None,
    unit: StrengthName = StrengthName.projection_std,
    layer: Annotated[
        int | None, typer.Option(min=0, help="The block it acts after; the one it was found at by default.")
    ] = None,
    positions: Annotated[
        str, typer.Option(help="all, prompt_last+generated, generated, or window:START:STOP.")
    ] = "prompt_last+generated",
    allow: Annotated[list[MismatchName] | None, typer.Option(help="What may differ between source and model.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The statements the vector was made of, where it is your own file.")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="The alignment pairs the vector was made of.")] = None,
    truth: Annotated[list[str] | None, typer.Option(help="A judge of truth; see `trustrace judge`.")] = None,
    info: Annotated[list[str] | None, typer.Option(help="A judge of informativeness.")] = None,
    classifier: Annotated[str | None, typer.Option(help="Who says what is toxic; see `trustrace toxicity`.")] = None,
    mode: Annotated[ModeName, typer.Option(help="How endpoint judges are asked.")] = ModeName.chat,
    token_cap: Annotated[int | None, typer.Option(min=1, help="Stop before endpoint judges take more tokens.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Items of each task, drawn by the seed; of text:FILE, tokens from the start of the half."
        ),
    ] = None,
    shots: Annotated[int, typer.Option(min=0, max=6, help="Worked examples before a question of TruthfulQA.")] = 6,
    world: Annotated[int, typer.Option(help="Which controlled world: the seed of the model's corpus.")] = 0,
    half: HalfName = HalfName.test,
    protocol: ProtocolName = ProtocolName.rigorous,
    seed: Seed = 0,
    device: Device = "auto",
    batch_tokens: BatchTokens = None,
    data_dir: DataDir = None,
    dtype: Annotated[str, typer.Option(help="auto is the checkpoint's own; or float32, bfloat16, float16.")] = "auto",
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the checkpoint.")] = False,
) -> None:
    """Ask a model to do some tasks, as it is and steered, and say by how much it differs."""
    from trustrace.cli.view import say, show_table, showing_progress
    from trustrace.studies import evaluating
    from trustrace.studies.abilities import parse_tasks
    from trustrace.studies.capturing import load_model
    from trustrace.studies.judging import EndpointOptions
    from trustrace.studies.settings import Settings

    settings = Settings(device=device, batch_tokens=batch_tokens, data_dir=data_dir)
    judges = {"truth": tuple(truth or ()), "info": tuple(info or ()), "mode": mode.value, "classifier": classifier}
    asked = parse_tasks(task, limit=limit, shots=shots, world=world, **judges)
    steering = evaluating.steer_options(
        vector=vector,
        alphas=tuple(alpha or ()),
        unit=unit.value,
        layer=layer,
        positions=positions,
        allow=tuple(one.value for one in allow or ()),
        dataset=dataset,
        pairs=pairs,
    )
    settings.require_device(spreads=False)
    loaded = load_model(model, revision=revision, settings=settings, dtype=dtype, trust_remote_code=trust_remote_code)
    judging = EndpointOptions(max_tokens_spent=token_cap)
    with showing_progress() as progress:
        table = evaluating.evaluate_model(
            loaded,
            asked,
            out=out,
            settings=settings,
            steering=steering,
            half=half.value,
            protocol=protocol.value,
            seed=seed,
            judging=judging,
            progress=progress,
        )
    show_table(f"{loaded.checkpoint.key}, {half.value} half", evaluating.overview(table))
    for line in evaluating.remarks(table):
        say(line)
    say(f"table: {table}; answers: {out}/units/*/samples.jsonl")
