"""What a fine-tuning study takes: every model as it is, its tunings, and every tuned model on the test half."""

import math

from trustrace.models import shapes
from trustrace.models.shapes import BYTES, Shape, StoredDtype
from trustrace.studies.foreseen.bill import Bill, Line, flops, size, too_large
from trustrace.studies.foreseen.machines import Machine
from trustrace.studies.foreseen.sizes import CHARACTERS_PER_TOKEN
from trustrace.studies.foreseen.steering import Pass, answering, graders_bytes, unsized
from trustrace.studies.foreseen.subjects import Hints, trained_shape
from trustrace.studies.tuning.config import FinetuneConfig, LoraMethod, Method

EXCHANGE = 350 / CHARACTERS_PER_TOKEN
"""Tokens of a prompt with its answer. Assumed: as for alignment pairs; true answers of TruthfulQA are a third of it."""

BYTES_A_WEIGHT = 16
"""Of one that is trained, in single precision: itself, its gradient and two moments."""

LOOKS = 100
"""Exchanges held out, a tenth of a thousand. Assumed."""


def foresee_finetuning(study: FinetuneConfig, machine: Machine, *, hints: Hints) -> Bill:
    """What `study` takes on `machine`.

    Raises:
        ModelError: a model is not known.
    """
    count = sum(len(one.select) if isinstance(one.select, tuple) else 1 for one in study.models)
    shape = trained_shape(hints.made_by) if hints.made_by else shapes.of(hints.like or study.models[0].source)
    tunings = len(study.data) * len(study.methods)
    asked = [Pass(task=task, half="test", versions=count * (1 + tunings)) for task in study.asked]
    fetched = (0 if hints.made_by else count * shape.revision_bytes) + graders_bytes(study.asked)
    loaded = count * (1 + 2 * tunings) * shape.revision_bytes
    written = (
        count
        * len(study.data)
        * sum(4.0 * shape.parameters for one in study.methods if not isinstance(one, LoraMethod))
    )
    return Bill(
        study=study.name,
        machine=machine,
        lines=(
            Line(what="download", amount=size(fetched), seconds=fetched / machine.download, is_shared=True),
            Line(what="loading", amount=size(loaded), seconds=loaded / machine.load),
            *_tuning(study, shape, machine, times=count * len(study.data)),
            Line(what="writing tuned models", amount=size(written), seconds=written / machine.load),
            *answering(asked, shape, machine, protocol=study.protocol, dtype=study.dtype),
        ),
        parts=count * tunings,
        cut="one a model and tuning; give each device a study of its own",
        download_bytes=fetched,
        held_bytes=0.0,
        kept_bytes=fetched + written,
        assumptions=(
            ("models", str(count), "the study; what a rule selects counts as one"),
            *(_memory(study, method, shape) for method in study.methods),
            ("an exchange", f"{EXCHANGE:.0f} tokens", "assumed"),
            ("held out", f"{LOOKS} exchanges", "assumed"),
            ("updates", "the recipe's steps, none saved by patience", "the study"),
        ),
        left_out=(
            *(["operations matched to a steering run: the recipe's steps are counted"] if study.compute else []),
            *unsized(study.asked, protocol=study.protocol),
        ),
        too_large=tuple(one for method in study.methods for one in _too_large(method, shape, machine)),
    )


def _tuning(study: FinetuneConfig, shape: Shape, machine: Machine, *, times: int) -> list[Line]:
    """One line for each precision that matrix products are in."""
    work: dict[StoredDtype, float] = {}
    for method in study.methods:
        work[_dtype(method)] = work.get(_dtype(method), 0.0) + times * _flops(study, method, shape)
    return [
        Line(what=f"tuning, in {dtype}", amount=flops(done), seconds=done / machine.products(dtype))
        for dtype, done in work.items()
    ]


def _memory(study: FinetuneConfig, method: Method, shape: Shape) -> tuple[str, str, str]:
    """What lies in the device's memory while one method is at work, activations aside."""
    if isinstance(method, LoraMethod):
        base, adapter = BYTES[method.base_dtype] * shape.parameters, adapter_weights(shape, rank=method.rank)
        why = f"{size(base)} of frozen weights in {method.base_dtype}, 16 bytes for each of at most {adapter:,} of the adapter"
    else:
        why = f"16 bytes a weight, {size(BYTES_A_WEIGHT * shape.parameters)}"
    beside = f"{size(BYTES[study.dtype] * shape.parameters)} of the untouched model wait in the processor's memory"
    return f"device memory of {method.name}", f"{size(_held(method, shape))} and activations", f"{why}; {beside}"


def _held(method: Method, shape: Shape) -> int:
    """Bytes of weights, gradients and moments."""
    if isinstance(method, LoraMethod):
        return BYTES[method.base_dtype] * shape.parameters + BYTES_A_WEIGHT * adapter_weights(shape, rank=method.rank)
    return BYTES_A_WEIGHT * shape.parameters


def _too_large(method: Method, shape: Shape, machine: Machine) -> tuple[str, ...]:
    way_out = "take a larger device, or `method: lora`"
    if isinstance(method, LoraMethod):
        way_out = "take a larger device" + (", or base_dtype: bfloat16" if method.base_dtype == "float32" else "")
    return too_large(
        f"tuning by {method.name}", _held(method, shape), machine, way_out=f"{way_out}; activations come on top"
    )


def adapter_weights(shape: Shape, *, rank: int) -> int:
    """Weights of an adapter on every matrix of every block: `rank` for each row and each column."""
    width, inner = shape.d_model, shape.d_mlp
    # Queries, keys and values are one matrix in a GPT-NeoX block, whose columns A reads once.
    attention, mlp = (6 * width, 2) if shape.block == "gpt_neox" else (8 * width, 3)
    return shape.n_blocks * rank * (attention + mlp * (width + inner))


def _dtype(method: Method) -> StoredDtype:
    return method.base_dtype if isinstance(method, LoraMethod) else "float32"


def _flops(study: FinetuneConfig, method: Method, shape: Shape) -> float:
    """6 N a token in full and 4 N under an adapter, 2 N more where activations are computed again; 2 N for what is held out."""
    recipe = study.recipe_of(method)
    each = (4.0 if isinstance(method, LoraMethod) else 6.0) + (2.0 if recipe.gradient_checkpointing else 0.0)
    looks = 1 + math.ceil(recipe.steps / recipe.check_every)
    return shape.parameters * EXCHANGE * (each * recipe.steps * recipe.batch + 2.0 * looks * LOOKS)
