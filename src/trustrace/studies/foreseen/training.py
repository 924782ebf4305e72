"""What a pre-training takes."""

from trustrace.studies.foreseen.bill import Bill, Line, flops, size, too_large
from trustrace.studies.foreseen.machines import Machine
from trustrace.studies.foreseen.subjects import trained_shape
from trustrace.training.config import PretrainConfig
from trustrace.training.schedule import save_steps

STATE = 16
"""Bytes a parameter while training: weights, gradients and two moments in float32."""


def foresee_training(config: PretrainConfig, machine: Machine, *, name: str) -> Bill:
    """What the pre-training takes; devices share each step, at no loss.

    Raises:
        ModelError, ConfigError: its shape cannot be read from its file.
    """
    shape = trained_shape(config)
    tokens = config.steps * config.tokens_per_step
    done = 6.0 * shape.parameters * tokens
    saves = len(save_steps(config.steps, config.saves))
    checkpoint = 4.0 * shape.parameters
    rate = machine.half if config.dtype == "bfloat16" else machine.single
    return Bill(
        study=name,
        machine=machine,
        lines=(
            Line(what="training", amount=f"{tokens:,} tokens, {flops(done)}", seconds=done / rate),
            Line(
                what="writing checkpoints",
                amount=f"{saves} x {size(checkpoint)}",
                seconds=saves * checkpoint / machine.load,
                is_shared=True,
            ),
        ),
        parts=config.batch,
        cut="the sequences of a batch",
        download_bytes=0.0,
        held_bytes=0.0,
        kept_bytes=saves * checkpoint + 6 * checkpoint + 2.0 * tokens,
        assumptions=(
            ("parameters", f"{shape.parameters:,}", shape.source),
            ("arithmetic", "6 a parameter and token", "Kaplan et al. (2020); attention between tokens left out"),
            ("memory of weights, gradients, moments", size(STATE * shape.parameters), "float32, on every device"),
            ("devices", "no loss by sharing a step", "assumed"),
        ),
        left_out=("fetching and packing the corpus", "activations: lower `micro_batch` until they fit"),
        too_large=too_large(
            "every device",
            STATE * shape.parameters,
            machine,
            way_out="take devices with more memory or a smaller model; weights are not shared among devices",
        ),
    )
