"""Low-rank adapters on a model in memory: put on, trained by the loop of :mod:`trustrace.training.tuning`, saved as a PEFT folder."""

import json
from pathlib import Path
from typing import Any

import torch

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError
from trustrace.models.adapters import CONFIG, WEIGHTS, calmly, peft_of
from trustrace.models.language_model import LanguageModel
from trustrace.training.tuning_config import AdapterConfig


def attach(model: LanguageModel, config: AdapterConfig, *, seed: int) -> Any:
    """Put an adapter that changes nothing yet on `model`, in place: from here on its weights alone can be trained.

    Args:
        model: The model.
        config: The adapter.
        seed: Of the draw of A; torch's generators are left as they were.

    Returns:
        peft's view of the model, which :func:`save` writes.

    Raises:
        ConfigError: the model has none of the target modules.
        MissingExtraError: peft is not installed.
    """
    peft = peft_of("tuning with a low-rank adapter")
    modules = config.target_modules
    wanted = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=modules if modules == "all-linear" else list(modules),
        task_type="CAUSAL_LM",
    )
    device = model.device
    with torch.random.fork_rng(devices=[]), calmly():
        torch.default_generator.manual_seed(int(generator(seed, "adapter").integers(2**63)))
        try:
            # Weights are drawn where the model is, and on every device they should be the same.
            adapted = peft.get_peft_model(model.module.to("cpu"), wanted).to(device)
        except ValueError as error:
            raise ConfigError(
                f"{model.checkpoint.key}: no adapter can be put on {modules}: {str(error).splitlines()[0]}; "
                "name modules that the model has, or use all-linear"
            ) from error
    return adapted


def save(adapted: Any, folder: Path, *, base: str, revision: str | None) -> None:
    """Write the adapter alone as PEFT does: ``adapter_config.json``, which names `base`, and ``adapter_model.safetensors``."""
    config = adapted.peft_config["default"]
    config.base_model_name_or_path, config.revision = base, revision
    with calmly():
        # Asked to decide for itself, peft would ask the hub how many embeddings the base has.
        adapted.save_pretrained(str(folder), save_embedding_layers=False)
    for leftover in folder.iterdir():
        if leftover.name not in (CONFIG, WEIGHTS):
            leftover.unlink()
    written = json.loads((folder / CONFIG).read_text("utf-8"))
    # It is a set, whose order would differ from run to run.
    if isinstance(written["target_modules"], list):
        written["target_modules"].sort()
    (folder / CONFIG).write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
