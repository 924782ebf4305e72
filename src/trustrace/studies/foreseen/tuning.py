"""What a fine-tuning study takes: every model as it is, its tunings, and every tuned model on the test half."""

import math

from trustrace.models import shapes
from trustrace.models.shapes import Shape
from trustrace.studies.foreseen.bill import Bill, Line, flops, size
from trustrace.studies.foreseen.machines import Machine
from trustrace.studies.foreseen.sizes import CHARACTERS_PER_TOKEN
from trustrace.studies.foreseen.steering import Pass, answering, graders_bytes, unsized
from trustrace.studies.foreseen.subjects import Hints
from trustrace.studies.tuning.config import FinetuneConfig, LoraMethod, Method

EXCHANGE = 350 / CHARACTERS_PER_TOKEN
"""Tokens of a prompt with its answer. Assumed: as for alignment pairs; true answers of TruthfulQA are a third of it."""

BYTES_A_WEIGHT = 16
"""In single precision: a weight, its gradient and two moments."""

LOOKS = 100
"""Exchanges held out, a tenth of a thousand. Assumed."""


def foresee_finetuning(study: FinetuneConfig, machine: Machine, *, hints: Hints) -> Bill:
    """What `study` takes on `machine`.

    Raises:
        ModelError: a model is not known.
    """
    count = sum(len(one.select) if isinstance(one.select, tuple) else 1 for one in study.models)
    shape = shapes.of(hints.like or study.models[0].source)
    tunings = len(study.data) * len(study.methods)
    asked = [Pass(task=task, half="test", versions=count * (1 + tunings)) for task in study.asked]
    fetched = count * shape.revision_bytes + graders_bytes(study.asked)
    loaded = count * (1 + 2 * tunings) * shape.revision_bytes
    learned = count * len(study.data) * sum(_flops(study, method, shape) for method in study.methods)
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
            Line(what="tuning, in float32", amount=flops(learned), seconds=learned / machine.single),
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
            (
                "device memory of full tuning",
                f"{size(BYTES_A_WEIGHT * shape.parameters)} and activations",
                "16 bytes a weight; the untouched model stays beside it",
            ),
            ("an exchange", f"{EXCHANGE:.0f} tokens", "assumed"),
            ("held out", f"{LOOKS} exchanges", "assumed"),
            ("updates", "the recipe's steps, none saved by patience", "the study"),
        ),
        left_out=(
            *(["operations matched to a steering run: the recipe's steps are counted"] if study.compute else []),
            *unsized(study.asked, protocol=study.protocol),
        ),
    )


def _flops(study: FinetuneConfig, method: Method, shape: Shape) -> float:
    """6 N a token in full and 4 N under an adapter; 2 N for what is held out."""
    recipe = study.recipe_of(method)
    each = 4.0 if isinstance(method, LoraMethod) else 6.0
    looks = 1 + math.ceil(recipe.steps / recipe.check_every)
    return shape.parameters * EXCHANGE * (each * recipe.steps * recipe.batch + 2.0 * looks * LOOKS)
