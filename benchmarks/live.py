"""Training with the default schedule of a trace against training without one.

The training is the preset for a CPU, `studies/pretrain/cpu.yaml`: 2.1 million parameters, 1,708 steps of 16 sequences of 256 tokens. It
takes half an hour of one core, so that steps and measurements are timed in turn, a few of each, and the whole is what 1,708 such steps
take, without and with the preparations, the 13 measurements of the default schedule and the judging of the courses. One data set is
measured at all sites with the default probes and no budget: nothing is skipped. Saving checkpoints, which a trace of checkpoints would
need, is on neither side. A shorter training, or more and larger data sets, would go beyond the aim, and there the budget skips
measurements. Times are the processor's for this process.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.rows import Row
from trustrace.core.checkpoints import Checkpoint
from trustrace.datasets import catalog
from trustrace.models import tiny
from trustrace.studies.live.callback import LiveTrace
from trustrace.studies.live.config import read_live
from trustrace.studies.settings import Settings
from trustrace.training.config import PretrainConfig, model_config
from trustrace.training.watching import Moment

PRESET = Path(__file__).parents[1] / "studies" / "pretrain" / "cpu.yaml"
DATASET = "reliability/world"
STEPS_AT_ONCE, REPEATS = 2, 5


def run() -> list[Row]:
    config = PretrainConfig.read(yaml.safe_load(PRESET.read_text()), where=str(PRESET))
    texts = catalog.load(DATASET).texts
    tokenizer = tiny.tokenizer(texts=texts, vocab_size=4096)
    module = AutoModelForCausalLM.from_config(model_config(config, vocab_size=4096)).train()
    update = _updates(module, config)
    with tempfile.TemporaryDirectory() as folder:
        trace = LiveTrace(read_live({"datasets": [DATASET], "budget": None}), out=Path(folder), settings=Settings())

        def moment(step: int) -> Moment:
            checkpoint = Checkpoint(family="made up", model="made up", revision=f"step_{step}", step=step)
            return Moment(
                module=module, tokenizer=tokenizer, checkpoint=checkpoint, step=step, total=config.steps, training={}
            )

        before = _seconds(lambda: trace.begin(moment(0)))
        update()
        a_step, a_look = [], []
        for repeat in range(1, REPEATS + 1):
            a_step.append(_seconds(lambda: [update() for _ in range(STEPS_AT_ONCE)]) / STEPS_AT_ONCE)
            a_look.append(_seconds(lambda: trace.observe(moment(repeat))))  # noqa: B023 - called at once
        after = _seconds(lambda: trace.end(moment(REPEATS)))
    looks = len(trace.steps(config.steps))
    without = config.steps * np.array(a_step)
    spent = before + looks * np.array(a_look) + after
    return [
        Row.of(
            (without / (without + spent)).tolist(),
            what=f"training traced at {looks} steps, the default schedule: {DATASET}, {len(texts)} statements, all sites",
            baseline=f"the same training without: {config.steps:,} steps of the preset for a CPU, from {STEPS_AT_ONCE * REPEATS} steps",
            reach=0.95,
            detail=(
                f"{np.median(without):.0f} s a training ({np.median(a_step):.2f} s a step), {before:.1f} s before, "
                f"{np.median(a_look):.1f} s a measurement, {after:.1f} s after: {np.median(spent / without):.1%} of the training's time"
            ),
            threads=torch.get_num_threads(),
        )
    ]


def _updates(module: PreTrainedModel, config: PretrainConfig) -> Callable[[], None]:
    """One optimizer step of the preset, in its micro-batches, on tokens that mean nothing."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(4096, (config.batch, config.sequence_length + 1))

    def update() -> None:
        for part in tokens.split(config.micro_batch or config.batch):
            logits = module(input_ids=part[:, :-1], use_cache=False).logits
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return update


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
