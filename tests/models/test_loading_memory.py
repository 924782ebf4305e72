"""Loading takes the memory of one model, whatever the number of files: measured in a process of its own.

What is counted is anonymous memory (``RssAnon``), sampled while a checkpoint is loaded, in shares of the model's own size. Pages of files
that are mapped, as safetensors are, count in a process's resident size as well, but the system takes them back when it needs them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from trustrace.models import tiny

SCRIPT = """
import json, sys, threading, time
from pathlib import Path
import torch
from safetensors.torch import load_file
from trustrace.models import tiny
from trustrace.models.loading import load
from trustrace.models.sources import open_source

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

def peak(work):
    seen, ended = [anonymous()], threading.Event()
    def sample():
        while not ended.wait(0.002):
            seen.append(anonymous())
    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    made = work()
    ended.set()
    thread.join()
    return (max(seen) - seen[0]) / sum(one.numel() * one.element_size() for one in made)

def loaded(folder, dtype):
    source = open_source(str(folder))
    return list(load(source, source.checkpoints()[0], dtype=dtype).module.parameters())

def careless(folder):
    held = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    copies = [{name: one.clone() for name, one in shard.items()} for shard in held]
    return [one.float() for shard in copies for one in shard.values()]

torch.set_num_threads(1)
small, folder = map(Path, sys.argv[1:])
loaded(small, "float32")
kinds = [("safetensors", "auto"), ("safetensors", "float32"), ("bin", "auto"), ("bin", "float32")]
found = {f"{kind} {dtype}": peak(lambda: loaded(folder / kind, dtype)) for kind, dtype in kinds}
print(json.dumps({**found, "careless": peak(lambda: careless(folder / "safetensors"))}))
"""


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The largest share of a model that its loading took: 130 MB of bfloat16 in five shards, as safetensors and as pickles."""
    folder = tmp_path_factory.mktemp("large")
    config = tiny.config("llama", n_blocks=6, d_model=768, vocab_size=4096)
    config.intermediate_size = 3072
    module = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    module.save_pretrained(folder / "safetensors", max_shard_size="30MB")
    for kind in ("safetensors", "bin"):
        tiny.tokenizer().save_pretrained(folder / kind)
        config.save_pretrained(folder / kind)
    weights = list(module.state_dict().items())
    names = {f"pytorch_model-{i + 1:05d}-of-00005.bin": dict(weights[i::5]) for i in range(5)}
    for name, shard in names.items():
        torch.save({key: one.clone() for key, one in shard.items()}, folder / "bin" / name)
    index = {"metadata": {}, "weight_map": {key: name for name, shard in names.items() for key in shard}}
    (folder / "bin" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    small = tiny.save(folder / "small", "llama")
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(small), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert said.returncode == 0, said.stderr[-2000:]
    found: dict[str, float] = json.loads(said.stdout)
    return found


pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the memory's kinds are told by Linux")


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_their_own_dtype_stay_in_their_files(kind: str, shares: dict[str, float]) -> None:
    assert shares[f"{kind} auto"] < 0.4


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_another_dtype_take_the_memory_of_one_model(kind: str, shares: dict[str, float]) -> None:
    """Twice as wide: 1 is the model itself, and 1.5 would be all that is stored beside it. A sampler sees its height or a little less."""
    assert 0.7 < shares[f"{kind} float32"] < 1.25


def test_careless_reading_is_seen(shares: dict[str, float]) -> None:
    """The control: all shards are copied, and then converted."""
    assert shares["careless"] > 1.3
