import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from trustrace.core.errors import ConfigError, ModelError, RunError, TokenizerError
from trustrace.datasets.corpora import is_held_out
from trustrace.training.config import PretrainConfig
from trustrace.training.corpus import open_packed, rows_of_step, windows
from trustrace.training.folder import steps_in
from trustrace.training.pretrain import initial_model, pretrain
from trustrace.training.schedule import learning_rate, save_steps
from trustrace.training.tokenizer import open_tokenizer

Build = Callable[..., PretrainConfig]

GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}
"""With dropout, so that an interrupted run must draw it again."""

CHILD = """
import json, os, random, signal, sys, time
from pathlib import Path
from trustrace.training.config import PretrainConfig
from trustrace.training.pretrain import pretrain

config = PretrainConfig.read(json.loads(Path(sys.argv[1]).read_text()), where="child")
out = Path(sys.argv[2])

def run(out):
    pretrain(config, out=out, device="cpu", threads=1, state_seconds=0)

"""

KILLER = """
# Two undisturbed runs come first: the first imports what the processes to be killed then need not, the second tells how long a run takes.
run(out.with_name("undisturbed"))
since = time.monotonic()
run(out.with_name("timed"))
whole = time.monotonic() - since
chance, kills, finished = random.Random(0), [], False
while not finished:
    child = os.fork()
    if child == 0:
        run(out)
        os._exit(0)
    time.sleep(whole * chance.uniform(0.05, 0.3) * (1 + len(kills) / 6))
    finished = os.waitpid(child, os.WNOHANG)[0] == child
    if not finished:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills.append(len((out / "log.jsonl").read_text().splitlines()) if (out / "log.jsonl").exists() else 0)
print(json.dumps(kills))
"""

RESUMER = """
import shutil, socket
import accelerate
import torch

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
# What accelerate's launcher starts on several GPUs, on a CPU: here forked, so that torch is imported once.
os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
second = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if second else "1"

def keep_a_state_from_the_middle(done, total, what):
    if what.startswith("steps") and 0 < done < total and not out.with_name("kept").exists():
        shutil.copytree(out / "state", out.with_name("kept"))

pretrain(config, out=out, device="cpu", threads=1, state_seconds=0, progress=keep_a_state_from_the_middle)
if os.environ["RANK"] == "0":
    shutil.copytree(out, out.with_name("resumed"), ignore=shutil.ignore_patterns("state"))
    shutil.copytree(out.with_name("kept"), out.with_name("resumed") / "state")
torch.distributed.barrier()
run(out.with_name("resumed"))
torch.distributed.barrier()
if second:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]))
"""


def weights(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("checkpoints/step_*/model.safetensors"))}


def logged(out: Path, key: str) -> dict[int, float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    found = [(line["step"], line[key]) for line in lines if key in line]
    assert [step for step, _ in found] == sorted({step for step, _ in found}), "steps are logged once and in order"
    return dict(found)


class Finished(NamedTuple):
    config: PretrainConfig
    out: Path
    checkpoints: list[Path]


@pytest.fixture(scope="module")
def finished(tiny: Build, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    config, out = tiny(), tmp_path_factory.mktemp("runs") / "finished"
    checkpoints = pretrain(config, out=out, device="cpu")
    return Finished(config, out, sorted(checkpoints.iterdir()))


def test_checkpoints_stand_at_the_planned_steps_and_say_where_they_are(finished: Finished) -> None:
    planned = save_steps(finished.config.steps, finished.config.saves)
    assert [path.name for path in finished.checkpoints] == [f"step_{step:07d}" for step in planned]
    for step, path in zip(planned, finished.checkpoints, strict=True):
        facts = json.loads((path / "trustrace.json").read_text())
        assert (facts["step"], facts["tokens_seen"]) == (step, step * 64)
        assert facts["held_out_loss"] == logged(finished.out, "held_out_loss")[step]
        assert facts["held_out_tokens"] == 256


def test_training_lowers_the_held_out_loss_from_that_of_a_uniform_guess(finished: Finished) -> None:
    losses = logged(finished.out, "held_out_loss")
    assert losses[0] == pytest.approx(math.log(300), rel=0.01)
    assert losses[40] < losses[0] - 1
    assert logged(finished.out, "held_out_perplexity")[40] == pytest.approx(math.exp(losses[40]))


def test_every_step_is_logged(finished: Finished) -> None:
    assert list(logged(finished.out, "loss")) == list(range(1, 41))
    rates = logged(finished.out, "learning_rate")
    assert rates[40] == pytest.approx(1e-3)
    assert all(rate > 0 for rate in logged(finished.out, "tokens_per_second").values())


def loss_by_transformers(out: Path, checkpoint: Path) -> float:
    """Of the 16 held-out sequences that are evenly spread over the 95 there are, in float64."""
    rows = np.array([i * 95 // 16 for i in range(16)])
    sequences = torch.from_numpy(windows(open_packed(out / "corpus").held_out, rows, length=16))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64).eval()
    with torch.no_grad():
        return sum(model(input_ids=row[None], labels=row[None]).loss.item() for row in sequences) / 16


def test_the_held_out_loss_is_that_of_transformers_in_float64(finished: Finished) -> None:
    assert open_packed(finished.out / "corpus").held_out_tokens // 16 == 95
    loss = loss_by_transformers(finished.out, finished.checkpoints[-1])
    assert logged(finished.out, "held_out_loss")[40] == pytest.approx(loss, rel=1e-5)


def test_the_held_out_loss_is_taken_without_dropout(tiny: Build, tmp_path: Path) -> None:
    # The context is one longer than the sequences, since transformers reads the last token too.
    checkpoints = pretrain(tiny(architecture=GPT2 | {"n_positions": 17}), out=tmp_path / "run", device="cpu")
    loss = loss_by_transformers(tmp_path / "run", checkpoints / "step_0000040")
    assert logged(tmp_path / "run", "held_out_loss")[40] == pytest.approx(loss, rel=1e-5)


def test_a_plain_training_loop_reaches_the_same_weights(finished: Finished) -> None:
    config = finished.config
    corpus, tokenizer = open_packed(finished.out / "corpus"), open_tokenizer(finished.out / "tokenizer")
    with torch.random.fork_rng():
        model = initial_model(config, tokenizer).double()
    decays = [{"params": [p], "weight_decay": 0.1 if p.ndim == 2 else 0.0} for p in model.parameters()]
    optimizer = torch.optim.AdamW(decays, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    n_sequences = (corpus.train_tokens - 1) // 16
    for step in range(15):
        rows = rows_of_step(step, batch=4, n_sequences=n_sequences, seed=0)
        sequences = torch.from_numpy(windows(corpus.train, rows, length=16))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step + 1, total=40, optimizer=config.optimizer)
        optimizer.zero_grad()
        model(input_ids=sequences, labels=sequences).loss.backward()
        norm = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
        for p in model.parameters():
            p.grad *= min(1.0, 1.0 / norm.item())
        optimizer.step()
        assert logged(finished.out, "gradient_norm")[step + 1] == pytest.approx(norm.item(), rel=1e-3)
    saved = load_file(finished.out / "checkpoints" / "step_0000015" / "model.safetensors")
    for name, value in saved.items():
        torch.testing.assert_close(value.double(), model.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_a_checkpoint_is_a_plain_hugging_face_folder(finished: Finished) -> None:
    path = finished.checkpoints[3]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    assert model.dtype == torch.float32
    assert model.config.vocab_size == len(tokenizer) == 300
    assert tokenizer.decode(tokenizer("the old ship").input_ids) == "the old ship"
    assert tokenizer.model_max_length == model.config.max_position_embeddings == 16
    assert (model.config.eos_token_id, model.config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_the_tokenizer_has_not_seen_the_held_out_documents(tiny: Build, tmp_path: Path) -> None:
    config = tiny(tokenizer={"kind": "words", "vocab_size": 90}, tokens=64, optimizer={"learning_rate": 1e-3})
    folder = tmp_path / "books"
    shutil.copytree(config.corpus.path, folder)
    for i, path in enumerate(sorted(folder.iterdir())):
        path.write_text(f"mark{i} " + path.read_text())
    held_out = {i for i, path in enumerate(sorted(folder.iterdir())) if is_held_out(path.read_text(), fraction=0.2)}
    corpus = {"kind": "folder", "path": str(folder)}
    checkpoints = pretrain(tiny(**config.model_dump() | {"corpus": corpus}), out=tmp_path / "run", device="cpu")
    vocabulary = AutoTokenizer.from_pretrained(checkpoints / "step_0000001").get_vocab()
    assert held_out
    assert {i for i in range(40) if f"mark{i}" not in vocabulary} == held_out


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    finished: Finished, tiny: Build, tmp_path: Path
) -> None:
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    pretrain(tiny(), out=tmp_path / "again", device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    pretrain(tiny(seed=1), out=tmp_path / "other", device="cpu")
    assert weights(tmp_path / "again") == weights(finished.out)
    assert weights(tmp_path / "other")["step_0000000"] != weights(finished.out)["step_0000000"]


def test_accumulated_gradients_train_as_whole_batches_do(finished: Finished, tiny: Build, tmp_path: Path) -> None:
    pretrain(tiny(micro_batch=3), out=tmp_path / "run", device="cpu")
    whole, parts = logged(finished.out, "loss"), logged(tmp_path / "run", "loss")
    assert list(parts.values()) == pytest.approx(list(whole.values()), rel=1e-3)
    assert logged(tmp_path / "run", "held_out_loss") == pytest.approx(logged(finished.out, "held_out_loss"), rel=1e-3)


def test_bfloat16_arithmetic_trains_float32_weights(finished: Finished, tiny: Build, tmp_path: Path) -> None:
    checkpoints = pretrain(tiny(dtype="bfloat16"), out=tmp_path / "run", device="cpu")
    assert {value.dtype for value in load_file(checkpoints / "step_0000040" / "model.safetensors").values()} == {
        torch.float32
    }
    low, full = (logged(out, "held_out_loss")[40] for out in (tmp_path / "run", finished.out))
    assert low != full
    assert low == pytest.approx(full, rel=0.03)


def test_a_finished_run_is_left_as_it_is(finished: Finished) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.out.rglob("*")}
    assert pretrain(finished.config, out=finished.out, device="cpu") == finished.out / "checkpoints"
    assert {path: path.stat().st_mtime_ns for path in finished.out.rglob("*")} == before


def test_a_given_tokenizer_is_used_as_it_is(finished: Finished, tiny: Build, tmp_path: Path) -> None:
    given = {"kind": "given", "path": str(finished.out / "tokenizer")}
    pretrain(tiny(tokenizer=given), out=tmp_path / "run", device="cpu")
    assert weights(tmp_path / "run") == weights(finished.out)


def test_a_missing_tokenizer_is_named(tiny: Build, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokenizerError, match="empty: no tokenizer could be read"):
        pretrain(tiny(tokenizer={"kind": "given", "path": str(tmp_path / "empty")}), out=tmp_path / "run", device="cpu")


class _Interrupt:
    """Interrupts at the n-th report of progress."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, done: int, total: int, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("state_seconds", [0.0, 600.0])
def test_interrupted_at_every_report_a_run_ends_as_an_undisturbed_one(
    tiny: Build, tmp_path: Path, state_seconds: float
) -> None:
    config = tiny(architecture=GPT2)
    pretrain(config, out=tmp_path / "undisturbed", device="cpu")
    out, interruptions = tmp_path / "interrupted", 0
    while True:
        try:
            # The first report of a resumed run may be one it has made before, the second never is.
            pretrain(config, out=out, device="cpu", progress=_Interrupt(2), state_seconds=state_seconds)
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions >= 5
    assert weights(out) == weights(tmp_path / "undisturbed")
    assert logged(out, "loss") == logged(tmp_path / "undisturbed", "loss")
    assert logged(out, "held_out_loss") == logged(tmp_path / "undisturbed", "held_out_loss")


def test_killed_at_any_instant_a_run_ends_as_an_undisturbed_one(tiny: Build, tmp_path: Path) -> None:
    config = tiny(architecture=GPT2, tokens=64 * 120, saves={"dense": 5, "dense_until": 30, "every": 25})
    out = tmp_path / "killed"
    description, script = tmp_path / "config.json", tmp_path / "killer.py"
    description.write_text(config.model_dump_json())
    script.write_text(CHILD + KILLER)
    done = subprocess.run(
        [sys.executable, str(script), str(description), str(out)], timeout=300, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kills = json.loads(done.stdout)
    assert len(kills) >= 2
    assert weights(out) == weights(tmp_path / "undisturbed")
    assert logged(out, "loss") == logged(tmp_path / "undisturbed", "loss")
    assert [path.name for path in out.rglob(".*")] == [".lock"]
    assert steps_in(out / "state") == [120]


def test_two_processes_train_as_one_does_and_resume_as_if_undisturbed(finished: Finished, tmp_path: Path) -> None:
    description, script = tmp_path / "config.json", tmp_path / "child.py"
    description.write_text(finished.config.model_dump_json())
    script.write_text(CHILD + RESUMER)
    command = [sys.executable, str(script), str(description), str(tmp_path / "run")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(weights(tmp_path / "run")) == [path.name for path in finished.checkpoints]
    assert steps_in(tmp_path / "kept")[-1] < 40
    assert weights(tmp_path / "resumed") == weights(tmp_path / "run")
    assert logged(tmp_path / "resumed", "loss") == logged(tmp_path / "run", "loss")
    one, two = logged(finished.out, "loss"), logged(tmp_path / "run", "loss")
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-3)
    assert logged(tmp_path / "run", "held_out_loss") == pytest.approx(logged(finished.out, "held_out_loss"), rel=1e-3)


def test_the_folder_of_another_run_is_refused_with_what_differs(finished: Finished, tiny: Build) -> None:
    before = weights(finished.out)
    with pytest.raises(RunError, match=r"belongs to another pre-training run.*\n  seed: 0 there, 5 now"):
        pretrain(tiny(seed=5), out=finished.out, device="cpu")
    assert weights(finished.out) == before


def test_a_folder_of_something_else_is_refused(tiny: Build, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="is not empty and holds no pre-training run"):
        pretrain(tiny(), out=tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_that_is_not_to_be_resumed_is_refused(finished: Finished) -> None:
    with pytest.raises(RunError, match="already holds this run"):
        pretrain(finished.config, out=finished.out, device="cpu", resume=False)


def test_checkpoints_whose_state_is_gone_are_not_overwritten(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished.out, out)
    shutil.rmtree(out / "state")
    with pytest.raises(RunError, match="has checkpoints up to step 40 but its training state is gone"):
        pretrain(finished.config, out=out, device="cpu")
    assert weights(out) == weights(finished.out)


def test_a_full_disk_stops_a_run_before_it_writes_and_loses_nothing(
    tiny: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = 0

    def usage(path: Path) -> object:
        nonlocal reports
        reports += 1
        return type("usage", (), {"free": 10**12 if reports < 6 else 100})

    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", usage)
        with pytest.raises(RunError, match=r"needs .* MB but .* MB are free; free some space and start again"):
            pretrain(tiny(), out=tmp_path / "run", device="cpu")
    pretrain(tiny(), out=tmp_path / "run", device="cpu")
    pretrain(tiny(), out=tmp_path / "undisturbed", device="cpu")
    assert weights(tmp_path / "run") == weights(tmp_path / "undisturbed")


def test_a_run_that_diverges_says_so(tiny: Build, tmp_path: Path) -> None:
    config = tiny(optimizer={"learning_rate": 1e30, "clip": 1e30})
    with pytest.raises(
        RunError, match=r"the loss is (nan|inf) at step \d+: training diverged; lower the learning rate"
    ):
        pretrain(config, out=tmp_path / "run", device="cpu")


def test_an_architecture_that_reads_ahead_is_refused(tiny: Build, tmp_path: Path) -> None:
    bert = {
        "model_type": "bert",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    with pytest.raises(ModelError, match="'bert' reads ahead"):
        pretrain(tiny(architecture=bert), out=tmp_path / "encoder", device="cpu")
    pretrain(tiny(architecture=bert | {"is_decoder": True}), out=tmp_path / "decoder", device="cpu")


def test_a_device_that_is_not_there_is_named(tiny: Build, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device 'warp' cannot be used"):
        pretrain(tiny(), out=tmp_path / "run", device="warp")


def test_progress_reaches_the_end(tiny: Build, tmp_path: Path) -> None:
    reports: list[tuple[int, int, str]] = []
    pretrain(tiny(), out=tmp_path / "run", device="cpu", progress=lambda *report: reports.append(report))
    steps = [report for report in reports if report[2].startswith("steps")]
    assert steps[-1][:2] == (40, 40)
    assert "tokens/s" in steps[-1][2]
