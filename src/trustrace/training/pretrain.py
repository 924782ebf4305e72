"""Pre-training from random initialisation, saved on a schedule, resumable at any instant.

A run is a function of its configuration: the initialisation, the held-out documents, the order of the data and dropout are each drawn from
the seed and the step. A run that was killed and started again therefore ends with the weights of one that was not: bit for bit on a CPU
with the same number of threads, and on a GPU up to the order in which its kernels add.

On several devices, start the same command through accelerate, which decides how they work together (data parallel, FSDP, DeepSpeed)::

    accelerate launch -m trustrace pretrain CONFIG.yaml --out RUN
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError, ModelError, RunError
from trustrace.core.progress import Progress, silent
from trustrace.models.quiet import quietly
from trustrace.training.config import Optimizer, PretrainConfig, context_length, model_config
from trustrace.training.corpus import (
    PackedCorpus,
    documents,
    n_windows,
    open_packed,
    pack,
    rows_of_step,
    split_documents,
    windows,
)
from trustrace.training.devices import Devices, open_devices
from trustrace.training.folder import (
    RunFolder,
    finish_folder,
    full_disk_is_an_error,
    partial_of,
    require_space,
    start_folder,
    step_name,
    steps_in,
    write_folder,
)
from trustrace.training.log import TrainingLog, truncate
from trustrace.training.plots import Plots
from trustrace.training.schedule import learning_rate, save_steps
from trustrace.training.tokenizer import make_tokenizer, open_tokenizer
from trustrace.training.watching import Moment, Watcher


def pretrain(
    config: PretrainConfig,
    *,
    out: Path,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = silent,
    resume: bool = True,
    state_seconds: float = 600.0,
    watcher: Watcher | None = None,
    plots: Plots | None = None,
) -> Path:
    """Train a model from random initialisation and save its checkpoints.

    Args:
        config: What to train, on what, and when to save.
        out: The run's folder; see :mod:`trustrace.training.folder` for what it holds.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` ...
        threads: Threads of the arithmetic on a CPU; what torch chooses where unset.
        progress: Told of every few steps.
        resume: Go on with a run that is in `out`; otherwise refuse it.
        state_seconds: The training state is kept at each save, and after so many seconds without one.
        watcher: Is handed the model at the steps that he asks for; the weights are the same bit for bit as without him.
        plots: Is given loss, learning rate, gradient norm and held-out loss, and what the watcher has to plot.

    Returns:
        The folder of the checkpoints.

    Raises:
        ModelError: the architecture reads ahead.
        RunError: `out` belongs to another run; the disk is full; the loss is not finite.
        DataError: the corpus is too small.
        TokenizerError: a given tokenizer cannot be used.
        ConfigError: the device does not exist, a variable in a path is not set, the processes cannot share a batch evenly, or none of them
            holds the whole model for the watcher.
        TrustraceError: what the watcher refuses before training begins.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    folder = RunFolder(out)
    devices = open_devices(device)
    if config.batch % devices.n_processes:
        raise ConfigError(
            f"batch {config.batch} cannot be shared evenly by {devices.n_processes} processes; choose a multiple"
        )
    with folder.alone() if devices.rank == 0 else nullcontext(), full_disk_is_an_error(out):
        if devices.rank == 0:
            _prepare_folder(folder, config, resume=resume, progress=progress)
        devices.wait()
        with _private_randomness(devices.device):
            if config.steps not in steps_in(folder.state):
                run = _open_run(folder, config, devices)
                with closing(plots) if plots is not None else nullcontext():
                    _train(run, plots, progress=progress, state_seconds=state_seconds, watcher=watcher)
    return folder.checkpoints


def _prepare_folder(folder: RunFolder, config: PretrainConfig, *, resume: bool, progress: Progress) -> None:
    """Tokenizer and packed corpus, each made once."""
    folder.claim(config, resume=resume)
    if not folder.tokenizer.is_dir():
        progress(0, 1, "tokenizer")
        training = (text for text, is_held_out in _split(config) if not is_held_out)
        tokenizer = make_tokenizer(config.tokenizer, training, max_tokens=context_length(config))
        write_folder(folder.tokenizer, tokenizer.save_pretrained)
        progress(1, 1, "tokenizer")
    if not folder.corpus.is_dir():
        progress(0, 1, "packed corpus")
        pack(
            _split(config),
            tokenizer=open_tokenizer(folder.tokenizer),
            folder=folder.corpus,
            min_tokens=config.sequence_length + 1,
        )
        progress(1, 1, "packed corpus")


def _split(config: PretrainConfig) -> Iterator[tuple[str, bool]]:
    return split_documents(documents(config.corpus), held_out=config.held_out)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Everything a step needs; the model and the optimizer are what changes."""

    config: PretrainConfig
    folder: RunFolder
    devices: Devices
    tokenizer: PreTrainedTokenizerBase
    corpus: PackedCorpus
    model: nn.Module
    optimizer: Any

    @property
    def n_sequences(self) -> int:
        return n_windows(self.corpus.train_tokens, length=self.config.sequence_length)


def _open_run(folder: RunFolder, config: PretrainConfig, devices: Devices) -> _Run:
    tokenizer = open_tokenizer(folder.tokenizer)
    bare = initial_model(config, tokenizer)
    _require_causal(bare, config)
    model, optimizer = devices.prepare(bare, _adamw(bare, config.optimizer))
    return _Run(
        config=config,
        folder=folder,
        devices=devices,
        tokenizer=tokenizer,
        corpus=open_packed(folder.corpus),
        model=model,
        optimizer=optimizer,
    )


def _open_log(run: _Run, plots: Plots | None, progress: Progress) -> TrainingLog:
    """The log, which the first process writes."""
    is_first = run.devices.rank == 0
    return TrainingLog(
        run.folder.log if is_first else None,
        total=run.config.steps,
        tokens_per_step=run.config.tokens_per_step,
        progress=progress if is_first else silent,
        plots=plots if is_first else None,
    )


def initial_model(config: PretrainConfig, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The model at random initialisation, drawn from the seed; its weights are float32."""
    settings = model_config(
        config,
        vocab_size=len(tokenizer),
        bos=tokenizer.bos_token_id,
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
    )
    torch.manual_seed(_torch_seed(config.seed, "initialisation"))
    model: nn.Module = AutoModelForCausalLM.from_config(settings, dtype=torch.float32)
    return model.train()


def _require_causal(model: nn.Module, config: PretrainConfig) -> None:
    """Refuse a model whose prediction depends on the token it is to predict: its loss would mean nothing."""
    texts = torch.arange(8).repeat(2, 1)
    texts[1, -1] = 8
    with torch.no_grad():
        logits = model.eval()(input_ids=texts, use_cache=False).logits[:, :-1]
    model.train()
    if (logits[0] - logits[1]).abs().max() > 1e-5 * logits.abs().max():
        raise ModelError(
            f"architecture {config.architecture['model_type']!r} reads ahead: the last token changes the predictions before it; "
            "choose a decoder, or settings that make it one (is_decoder: true)"
        )


def _adamw(model: nn.Module, recipe: Optimizer) -> torch.optim.AdamW:
    decayed = [p for p in model.parameters() if p.ndim >= 2 or recipe.decayed == "all"]
    others = [p for p in model.parameters() if p.ndim < 2 and recipe.decayed != "all"]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        eps=recipe.epsilon,
        fused=True,
    )


def _train(
    run: _Run, plots: Plots | None, *, progress: Progress, state_seconds: float, watcher: Watcher | None
) -> None:
    total = run.config.steps
    saves = save_steps(total, run.config.saves)
    done = _resume(run)
    if plots is not None and run.devices.rank == 0:
        plots.begin(done or 0)
    log = _open_log(run, plots, progress)
    watched = _begin_watching(run, watcher, done or 0, log)
    if done is None:
        done = 0
        _save(run, done, log)
    kept_at = time.monotonic()
    while done < total:
        _update(run, done, log)
        done += 1
        # Before the state is kept: a run that goes on from there has been looked at until there.
        if done in watched:
            log.flush()
            _show(run, watcher, done, log)
            log.rested()
        if done in saves:
            log.flush()
            _save(run, done, log)
            kept_at = time.monotonic()
        elif log.is_due:
            log.flush()
            if _any_process(run, time.monotonic() - kept_at >= state_seconds):
                _keep_state(run, done)
                kept_at = time.monotonic()


def _begin_watching(run: _Run, watcher: Watcher | None, step: int, log: TrainingLog) -> frozenset[int]:
    """Let `watcher` see the model where training begins or goes on; the steps at which he is shown it, which every process knows."""
    if watcher is None:
        return frozenset()
    moment = _moment(run, step)
    if run.devices.rank == 0:
        watcher.begin(moment)
    _show(run, watcher, step, log)
    return watcher.steps(moment.total) | {moment.total}


def _show(run: _Run, watcher: Watcher | None, step: int, log: TrainingLog) -> None:
    """Show `watcher` the model if he wants to see this step, plot what he saw, and tell him if it is the last; other processes wait."""
    if watcher is not None and run.devices.rank == 0:
        moment = _moment(run, step)
        if step in watcher.steps(moment.total):
            log.plot(step, {f"train/{name}": value for name, value in watcher.observe(moment).items()})
        if step == moment.total:
            watcher.end(moment)
    run.devices.wait()


def _moment(run: _Run, step: int) -> Moment:
    return Moment(
        module=run.devices.whole(run.model),
        tokenizer=run.tokenizer,
        checkpoint=Checkpoint(
            family="pretrain",
            model=run.folder.out.resolve().name,
            revision=step_name(step),
            step=step,
            tokens_seen=step * run.config.tokens_per_step,
        ),
        step=step,
        total=run.config.steps,
        training=run.config.model_dump(mode="json"),
    )


def _resume(run: _Run) -> int | None:
    """Load the newest state and forget what came after it; None where the run has not begun."""
    folder = run.folder
    newest = max(steps_in(folder.state), default=None)
    later = [step for step in steps_in(folder.checkpoints) if newest is None or step > newest]
    if newest is None and max(later, default=0) > 0:
        raise RunError(
            f"{folder.out} has checkpoints up to step {later[-1]} but its training state is gone from {folder.state}; "
            "put it back, or train anew in another folder"
        )
    run.devices.wait()
    if run.devices.rank == 0:
        truncate(folder.log, step=-1 if newest is None else newest)
        for step in later:
            shutil.rmtree(folder.checkpoints / step_name(step))
    run.devices.wait()
    if newest is not None:
        run.devices.load_state(run.model, run.optimizer, folder.state / step_name(newest))
    return newest


def _update(run: _Run, step: int, log: TrainingLog) -> None:
    """One optimizer step, the (`step` + 1)-th."""
    config, devices = run.config, run.devices
    rate = learning_rate(step + 1, total=config.steps, optimizer=config.optimizer)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    torch.manual_seed(_torch_seed(config.seed, "step", step, devices.rank))
    rows = rows_of_step(step, batch=config.batch, n_sequences=run.n_sequences, seed=config.seed)
    loss = _accumulate_gradients(run, _tokens(run, run.corpus.train, rows[devices.rank :: devices.n_processes]))
    norm = devices.clip_(run.model.parameters(), max_norm=config.optimizer.clip)
    run.optimizer.step()
    run.optimizer.zero_grad()
    log.note(step + 1, learning_rate=rate, loss=devices.total(loss) / devices.n_processes, gradient_norm=norm)


def _accumulate_gradients(run: _Run, sequences: Int[Tensor, "sequence token"]) -> Float[Tensor, ""]:
    """The gradient of the mean loss over `sequences`, in micro-batches; returns that loss."""
    loss = torch.zeros((), device=run.devices.device)
    parts = torch.split(sequences, run.config.micro_batch or len(sequences))
    for i, part in enumerate(parts):
        with run.devices.accumulating(run.model, is_last=i == len(parts) - 1):
            share = _mean_loss(run, part) * (len(part) / len(sequences))
            run.devices.backward(share)
        loss += share.detach()
    return loss


def _mean_loss(run: _Run, sequences: Int[Tensor, "sequence token"]) -> Float[Tensor, ""]:
    """Mean negative log-likelihood per predicted token, in nats."""
    use_bfloat16 = run.config.dtype == "bfloat16"
    with torch.autocast(run.devices.device.type, torch.bfloat16, enabled=use_bfloat16):
        logits = run.model(input_ids=sequences[:, :-1], use_cache=False).logits
    return functional.cross_entropy(logits.flatten(0, 1).float(), sequences[:, 1:].flatten())


def _tokens(
    run: _Run, tokens: UInt[np.ndarray, " place"], rows: Int[np.ndarray, " sequence"]
) -> Int[Tensor, "sequence token"]:
    sequences = torch.from_numpy(windows(tokens, rows, length=run.config.sequence_length))
    return sequences.to(run.devices.device, non_blocking=True)


def _held_out_loss(run: _Run) -> tuple[float, int]:
    """Mean negative log-likelihood of held-out sequences, evenly spread, in nats per token; and the tokens scored."""
    length, devices = run.config.sequence_length, run.devices
    available = n_windows(run.corpus.held_out_tokens, length=length)
    count = min(available, max(1, run.config.held_out_tokens // length))
    rows = np.arange(count) * available // count
    at_once = (run.config.micro_batch or -(-run.config.batch // devices.n_processes)) * devices.n_processes
    summed = torch.zeros((), device=devices.device)
    run.model.eval()
    with torch.no_grad():
        for start in range(0, len(rows), at_once):
            chunk = rows[start : start + at_once]
            mine = chunk[devices.rank :: devices.n_processes]
            # A process without a share runs along all the same: data-parallel models meet at every forward pass.
            summed += _mean_loss(run, _tokens(run, run.corpus.held_out, mine if len(mine) else chunk[:1])) * len(mine)
    run.model.train()
    return float(devices.total(summed)) / len(rows), len(rows) * length


def _save(run: _Run, step: int, log: TrainingLog) -> None:
    """A checkpoint of `step`, its line in the log, then the state: what the state vouches for is on disk before it."""
    loss, scored = _held_out_loss(run)
    bare, weights = run.devices.weights(run.model)
    if run.devices.rank == 0:
        needed = sum(weight.numel() * weight.element_size() for weight in weights.values())
        require_space(run.folder.out, needed=needed, what=f"the checkpoint of step {step}")
        facts = {
            "step": step,
            "tokens_seen": step * run.config.tokens_per_step,
            "held_out_loss": loss,
            "held_out_tokens": scored,
        }

        def write(folder: Path) -> None:
            with quietly():
                bare.save_pretrained(folder, state_dict=weights)
            run.tokenizer.save_pretrained(folder)
            (folder / "trustrace.json").write_text(json.dumps(facts, indent=1) + "\n")

        write_folder(run.folder.checkpoints / step_name(step), write)
        log.saved(step, held_out_loss=loss, held_out_tokens=scored)
    _keep_state(run, step)


def _keep_state(run: _Run, step: int) -> None:
    """Replace the training state by that of `step`."""
    path = run.folder.state / step_name(step)
    is_first = run.devices.rank == 0
    if is_first:
        size = sum(p.numel() * p.element_size() for p in run.model.parameters())
        require_space(run.folder.out, needed=3 * size, what=f"the training state of step {step}")
        start_folder(path)
    run.devices.wait()
    run.devices.save_state(run.model, run.optimizer, partial_of(path))
    run.devices.wait()
    if is_first:
        finish_folder(path)
        for older in steps_in(run.folder.state):
            if older < step:
                shutil.rmtree(run.folder.state / step_name(older))


def _any_process(run: _Run, is_true: bool) -> bool:
    return bool(run.devices.total(torch.tensor(float(is_true), device=run.devices.device)) > 0)


def _torch_seed(seed: int, *purpose: str | int) -> int:
    return int(generator(seed, *purpose).integers(2**63))


@contextmanager
def _private_randomness(device: torch.device) -> Iterator[None]:
    """The generators of torch itself, which initialisation and dropout draw from, are left as they were found."""
    accelerators = [device.index or 0] if device.type != "cpu" else []
    with torch.random.fork_rng(accelerators, device_type=device.type if accelerators else "cuda"):
        yield
