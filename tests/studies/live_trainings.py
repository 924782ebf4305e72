"""Trainings that take a second, and traces of them: what tests of tracing while training share."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer, TrainingArguments

from tests.studies.small_studies import pets
from trustrace.models import tiny
from trustrace.studies.config import TraceConfig
from trustrace.studies.settings import Settings
from trustrace.studies.trace import run_trace

STEPS = 8
PROBING: dict[str, Any] = {"folds": 3, "bootstrap_draws": 100, "regularisers": [0.1, 1.0], "control_draws": 1}


def measuring(folder: Path, **changes: Any) -> dict[str, Any]:
    """A trace of pets at every second step, whatever it costs."""
    data = pets(folder / "pets.csv", wrong=0.3)
    return {
        "name": "pets",
        "datasets": [{"name": "pets", "path": str(data)}],
        "probing": PROBING,
        "schedule": {"every": 2},
        "budget": None,
        "sites": ["embed", "block_1"],
        **changes,
    }


def model(*, seed: int = 0) -> PreTrainedModel:
    """A Llama whose dropout draws from torch's generator at every step."""
    config = tiny.config("llama", n_blocks=2, d_model=16)
    config.attention_dropout = 0.2
    torch.manual_seed(seed)
    made: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return made


def trainer(out: Path, module: PreTrainedModel | None = None, **changes: Any) -> Trainer:
    """A Trainer of eight steps that saves at every second one."""
    made = model() if module is None else module
    rows = torch.randint(258, (64, 12), generator=torch.Generator().manual_seed(1))
    options: dict[str, Any] = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "save_steps": 2,
        "logging_steps": 2,
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "include_num_input_tokens_seen": "all",
        "dataloader_pin_memory": False,
    }
    args = TrainingArguments(output_dir=str(out), **options | changes)
    return Trainer(
        model=made,
        args=args,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        processing_class=tiny.tokenizer(adds_bos=True),
    )


def traced(series: Path, asked: dict[str, Any], *, out: Path) -> list[dict[str, Any]]:
    """The table of a trace of the checkpoints in `series`."""
    values = {key: value for key, value in asked.items() if key not in ("schedule", "budget")}
    study = TraceConfig.read(
        values | {"checkpoints": {"source": str(series)}, "random_init_seeds": [], "information": None}, where="study"
    )
    return table(run_trace(study, out=out, settings=Settings(device="cpu")).parent)


def table(run: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run / "measurements.parquet").to_pylist()
    return rows


def at_steps(rows: list[dict[str, Any]], *steps: int) -> list[dict[str, Any]]:
    """The rows of a model at these steps, without those that judge a whole course."""
    return [row for row in rows if row["step"] in steps and len(row["quantity"].split()) == 1]


def same(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    """Whether two tables are equal in every cell, to the last bit; an undefined number equals another."""
    return repr(some) == repr(others)
