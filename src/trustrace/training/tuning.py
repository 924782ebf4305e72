"""Supervised tuning: a checkpoint learns to answer, and becomes a checkpoint of its own.

The loss is the mean negative log-likelihood of the answers' tokens and of the end-of-sequence token after each; prompts are read, not
learned. Answers of some groups are held out, and the weights at which these were likeliest are the ones that are kept; texts that are
rehearsed beside answers have no say in it. What is trained is every weight, or a low-rank adapter alone; the loop is the same.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.documents import parsed
from trustrace.core.draws import generator
from trustrace.core.errors import ModelError, RunError
from trustrace.core.progress import Progress, silent
from trustrace.models.adapters import BASE, place_of
from trustrace.models.folders import PROGRESS
from trustrace.models.language_model import LanguageModel
from trustrace.models.likelihood import Pair
from trustrace.models.loading import load
from trustrace.models.quiet import quietly
from trustrace.models.sources import CheckpointSource, open_source
from trustrace.training.adapters import attach, save
from trustrace.training.answers import accumulate_, answer_tokens, checkpointed, mean_loss
from trustrace.training.compute import compute_of, tokens_of_update, within
from trustrace.training.corpus import rows_of_step
from trustrace.training.devices import open_devices
from trustrace.training.exchanges import Exchange, Sides, any_asked, divided, fingerprint
from trustrace.training.folder import full_disk_is_an_error, require_space, write_folder
from trustrace.training.schedule import learning_rate
from trustrace.training.tuning_config import AdapterConfig, Budget, TuneConfig

RECORD = "tuning.json"
"""Lies beside the weights: what was tuned, on what, how, and the held-out losses at each look."""


def tune(
    source: Path,
    exchanges: Sequence[Exchange],
    *,
    config: TuneConfig,
    out: Path,
    device: str = "auto",
    progress: Progress = silent,
) -> Path:
    """Tune a checkpoint and save the result as one.

    Args:
        source: A checkpoint's folder, or that of a series, whose last one is meant.
        exchanges: What it is to learn.
        config: How.
        out: The folder to write, whole or not at all; where it already holds this very tuning, nothing is done.
        device: ``auto``, ``cpu``, ``cuda`` ...
        progress: Told of updates.

    Returns:
        `out`: a plain Hugging Face folder, with ``trustrace.json`` as pre-training writes it and ``tuning.json``.

    Raises:
        DataError: an exchange has no answer or is longer than the context, or of those that decide all are on one side.
        RunError: `out` holds something else; the loss is not finite; the disk is full.
        CheckpointError, TokenizerError, ModelError: `source` cannot be used.
        ConfigError: the device does not exist.
    """
    series = open_source(str(source))
    return tune_checkpoint(
        series, series.checkpoints()[-1], exchanges, config=config, out=out, device=device, progress=progress
    )


def tune_checkpoint(
    series: CheckpointSource,
    checkpoint: Checkpoint,
    exchanges: Sequence[Exchange],
    *,
    config: TuneConfig,
    out: Path,
    adapter: AdapterConfig | None = None,
    budget: Budget | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> Path:
    """Tune one checkpoint of a series and save the result as one.

    Args:
        series: Where it comes from.
        checkpoint: Which.
        exchanges: What it is to learn.
        config: How.
        out: The folder to write, whole or not at all; where it already holds this very tuning, nothing is done.
        adapter: A low-rank adapter that is trained in place of the weights; `out` is then a PEFT folder, whose base is `checkpoint`.
        budget: How much to compute, in place of the recipe's number of steps.
        device: ``auto``, ``cpu``, ``cuda`` ...
        trust_remote_code: Run code that comes with the checkpoint.
        progress: Told of updates.

    Returns:
        `out`; ``tuning.json`` in it says what was computed.

    Raises:
        ConfigError: the device does not exist, the adapter has no place in the model, or the budget pays for no update.
        MissingExtraError: an adapter is asked for and peft is not installed.
        DataError, RunError, CheckpointError, TokenizerError, ModelError: as for :func:`tune`.
    """
    pinned = series.pin(checkpoint)
    identity = _identity(pinned, exchanges, config, adapter, budget)
    if _is_done(out, identity):
        return out
    base = place_of(series, pinned) if adapter else None
    place = open_devices(device).device
    model = load(
        series,
        pinned,
        device=str(place),
        dtype=adapter.base_dtype if adapter else "float32",
        trust_remote_code=trust_remote_code,
    )
    sides = divided(model, exchanges, held_out=config.held_out)
    adapted = attach(model, adapter, seed=config.seed) if adapter else None
    recipe = within(budget, config, model.module, sides.learned, sides.held_out) if budget else config
    with _own_randomness(place), full_disk_is_an_error(out), full_memory_is_an_error(pinned.key):
        with checkpointed(model, wanted=recipe.gradient_checkpointing):
            learned = _train(model, sides, config=recipe, progress=progress)
        facts = _progress_of(model, learned, sides, config=recipe)
        record = identity | _record_of(model, learned, sides, config=recipe)
        if adapted is None or base is None:
            _publish(model, out, facts=facts, record=record, write=model.module.save_pretrained)
        else:
            facts |= {BASE: {"checkpoint": pinned.key, "commit": pinned.commit}}
            write = partial(save, adapted, base=base[0], revision=base[1])
            _publish(model, out, facts=facts, record=record, write=write)
    return out


@dataclass(frozen=True, kw_only=True)
class _Learned:
    """The update whose weights the model has now, and held-out losses by update, in nats per answer token.

    Attributes:
        step: The update.
        losses: Of what decides.
        rehearsed: Of texts beside answers; empty where there are none.
    """

    step: int
    losses: dict[int, float]
    rehearsed: dict[int, float]


def _train(model: LanguageModel, sides: Sides, *, config: TuneConfig, progress: Progress) -> _Learned:
    """Train `model` in place; it ends with the weights that were best on the held-out answers."""
    optimizer = _adamw(model, config)
    losses = {0: mean_loss(model, sides.deciding, rows=config.rows)}
    rehearsed = _beside(model, sides, step=0, config=config)
    best, kept = 0, _copied(model)
    for step in range(config.steps):
        _update(model, optimizer, sides.learned, step=step, config=config)
        progress(step + 1, config.steps, "tuning updates")
        if (step + 1) % config.check_every and step + 1 < config.steps:
            continue
        losses[step + 1] = mean_loss(model, sides.deciding, rows=config.rows)
        rehearsed |= _beside(model, sides, step=step + 1, config=config)
        if losses[step + 1] < losses[best]:
            best, kept = step + 1, _copied(model)
        elif _looks_since(best, losses) >= config.patience:
            break
    _restore_(model, kept)
    model.module.eval()
    return _Learned(step=best, losses=losses, rehearsed=rehearsed)


def _update(
    model: LanguageModel, optimizer: torch.optim.Optimizer, training: Sequence[Pair], *, step: int, config: TuneConfig
) -> None:
    rate = learning_rate(step + 1, total=config.steps, optimizer=config.optimizer)
    for group in optimizer.param_groups:
        group["lr"] = rate
    torch.manual_seed(int(generator(config.seed, "tuning", "step", step).integers(2**63)))
    rows = rows_of_step(step, batch=config.batch, n_sequences=len(training), seed=config.seed)
    model.module.train()
    loss = accumulate_(model, [training[row] for row in rows], rows=config.rows)
    if not math.isfinite(loss):
        raise RunError(f"the loss is {loss} at update {step + 1}; lower optimizer.learning_rate ({rate:.2g} here)")
    torch.nn.utils.clip_grad_norm_(_trained(model).values(), config.optimizer.clip)
    optimizer.step()
    optimizer.zero_grad()


def _beside(model: LanguageModel, sides: Sides, *, step: int, config: TuneConfig) -> dict[int, float]:
    """The loss of what is rehearsed after update `step`, where anything is."""
    return {step: mean_loss(model, sides.rehearsed, rows=config.rows)} if sides.rehearsed else {}


def _adamw(model: LanguageModel, config: TuneConfig) -> torch.optim.AdamW:
    recipe, weights = config.optimizer, list(_trained(model).values())
    decayed = [weight for weight in weights if weight.ndim >= 2 or recipe.decayed == "all"]
    others = [weight for weight in weights if weight.ndim < 2 and recipe.decayed != "all"]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        eps=recipe.epsilon,
        # What CUDA does unless told otherwise holds every weight once more while it steps.
        fused=all(weight.is_cuda for weight in weights),
    )


def _trained(model: LanguageModel) -> dict[str, torch.nn.Parameter]:
    """All weights, or the adapter's alone where there is one: the others are frozen."""
    return {name: weight for name, weight in model.module.named_parameters() if weight.requires_grad}


def _copied(model: LanguageModel) -> dict[str, Tensor]:
    """In the processor's memory: an accelerator has use for its own."""
    return {name: weight.detach().to("cpu", copy=True) for name, weight in _trained(model).items()}


def _restore_(model: LanguageModel, kept: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, weight in _trained(model).items():
            weight.copy_(kept[name])


def _looks_since(best: int, losses: dict[int, float]) -> int:
    return sum(step > best for step in losses)


def _record_of(model: LanguageModel, learned: _Learned, sides: Sides, *, config: TuneConfig) -> dict[str, Any]:
    """What came of it."""
    computed = compute_of(model.module, sides.learned, sides.held_out, config=config, updates=max(learned.losses))
    beside = {"held_out_loss_documents": learned.rehearsed} if sides.rehearsed else {}
    counts = {"learned": len(sides.learned), "deciding": len(sides.deciding), "rehearsed": len(sides.rehearsed)}
    return {
        "sides": counts,
        "held_out_loss": learned.losses,
        **beside,
        "kept_step": learned.step,
        "compute": computed.as_record(),
    }


def _progress_of(model: LanguageModel, learned: _Learned, sides: Sides, *, config: TuneConfig) -> dict[str, Any]:
    """Where the tuned model stands: after the steps and tokens of its source, where these are known."""
    tokens = sum(tokens_of_update(step, sides.learned, config) for step in range(learned.step))
    source = model.checkpoint
    return {
        "step": None if source.step is None else source.step + learned.step,
        "tokens_seen": None if source.tokens_seen is None else source.tokens_seen + tokens,
        "held_out_loss": learned.losses[learned.step],
        "held_out_tokens": answer_tokens(sides.deciding),
    }


def _publish(
    model: LanguageModel, out: Path, *, facts: dict[str, Any], record: dict[str, Any], write: Callable[[Path], object]
) -> None:
    """Write the folder: `write` puts the weights into it."""
    size = sum(weight.numel() * weight.element_size() for weight in _trained(model).values())
    out.parent.mkdir(parents=True, exist_ok=True)
    require_space(out.parent, needed=size, what="the tuned model")

    def fill(folder: Path) -> None:
        with quietly():
            write(folder)
        model.tokenizer.save_pretrained(folder)
        (folder / PROGRESS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    write_folder(out, fill)


def _identity(
    pinned: Checkpoint,
    exchanges: Sequence[Exchange],
    config: TuneConfig,
    adapter: AdapterConfig | None,
    budget: Budget | None,
) -> dict[str, Any]:
    """What makes two tunings one: what decided which weights are kept belongs to it."""
    given = {"adapter": adapter, "budget": budget}
    return {
        "tuned_from": {"checkpoint": pinned.key, "commit": pinned.commit},
        "exchanges": {"count": len(exchanges), "sha256": fingerprint(exchanges)},
        "decided_by": "answers" if any_asked(exchanges) else "documents",
        "config": config.model_dump(mode="json"),
    } | {name: one.model_dump(mode="json") for name, one in given.items() if one is not None}


def _is_done(out: Path, identity: dict[str, Any]) -> bool:
    """Whether `out` holds the tuning that `identity` describes.

    Raises:
        RunError: it holds something else.
    """
    if not out.exists():
        return False
    record = out / RECORD
    if not record.is_file():
        raise RunError(f"{out} exists and holds no tuned model; choose another folder")
    way_out = "choose another folder"
    there = parsed(record.read_bytes(), dict, where=record, error=RunError, way_out=way_out)
    asked = dict.fromkeys(("adapter", "budget")) | identity
    differing = [key for key, value in asked.items() if there.get(key) != value]
    if differing:
        raise RunError(f"{out} holds another tuned model: its {', '.join(differing)} differ; choose another folder")
    return True


@contextmanager
def full_memory_is_an_error(what: str) -> Iterator[None]:
    """What does not fit the device's memory is said to be so."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"tuning {what} does not fit the device's memory ({error}): weights, gradients and two moments take 16 bytes a weight in full, "
            "and activations come on top; set micro_batch and gradient_checkpointing, train an adapter on a base in bfloat16, or use a "
            "larger device"
        ) from error


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's generators, which are left as they were found."""
    accelerators = [device.index or 0] if device.type != "cpu" else []
    with torch.random.fork_rng(accelerators, device_type=device.type if accelerators else "cuda"):
        yield
