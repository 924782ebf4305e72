"""One whole checkpoint on one device: loading, capturing and measuring it, and how much of the device that uses.

    python -m benchmarks.card --shape 7b --device cuda                  # a 7B-shaped Llama in bfloat16, the paper's five data sets
    python -m benchmarks.card --shape 7b --device cuda --profile        # and what the time goes to

Weights are random and drawn on the spot, since only their shape costs anything. What a checkpoint takes is printed part by part, with the
share of the device's own matrix products that capturing reaches, the most memory that was held, and what the paper's 360 checkpoints would
take. The small shape goes the same way on a processor and is part of ``make bench``.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.rows import Row, peak, seconds
from trustrace.activations.capture import capture
from trustrace.activations.store import Activations
from trustrace.core.statements import Statements
from trustrace.datasets import catalog
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.measures.information.inputs import FixedInputs
from trustrace.measures.measure import measure
from trustrace.models import tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.studies.config import TraceConfig
from trustrace.studies.inputs import read_inputs
from trustrace.studies.settings import Settings

CHECKPOINTS = 360
"""Those of the paper's series."""

FIVE = ("reliability", "toxicity", "privacy", "fairness", "robustness")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama and what is asked of it.

    Attributes:
        blocks: Transformer blocks.
        width: Of the residual stream.
        inner: Of the feed-forward layers.
        heads: Attention heads.
        vocabulary: Tokens.
        dtype: Of weights and arithmetic.
        datasets: Published sets whose statements are read.
        every: Every so many-th group of each.
        reach: The share of the matrix rate that capturing should reach.
    """

    blocks: int
    width: int
    inner: int
    heads: int
    vocabulary: int
    dtype: str
    datasets: tuple[str, ...] = FIVE
    every: int = 1
    reach: float = 0.45


SHAPES = {
    "7b": Shape(blocks=32, width=4096, inner=11008, heads=32, vocabulary=32000, dtype="bfloat16"),
    "1b": Shape(blocks=16, width=2048, inner=5632, heads=16, vocabulary=32000, dtype="bfloat16"),
    "small": Shape(
        blocks=6,
        width=512,
        inner=1536,
        heads=8,
        vocabulary=8192,
        dtype="float32",
        datasets=("reliability", "privacy"),
        every=4,
    ),
}


@dataclass(kw_only=True)
class Taken:
    """What one checkpoint took, in seconds.

    Attributes:
        load: From the files to the device.
        capture: By data set.
        measure: By data set.
        tokens: Tokens that went through the blocks.
        rate: Operations a second of a large matrix product of the same type.
        work: Operations of all captures: two a weight of the blocks and a token.
        held: The most bytes that were held, on the device or, on a processor, by the process.
    """

    load: float = 0.0
    capture: dict[str, float] = field(default_factory=dict)
    measure: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    rate: float = 0.0
    work: float = 0.0
    held: int = 0

    @property
    def share(self) -> float:
        """Of the matrix rate that capturing reaches."""
        return self.work / sum(self.capture.values()) / self.rate

    @property
    def asked(self) -> float:
        """Seconds of capturing and measuring."""
        return sum(self.capture.values()) + sum(self.measure.values())

    def __str__(self) -> str:
        sets = "\n".join(
            f"  {name:12s} capture {self.capture[name]:7.2f} s   measure {self.measure[name]:7.2f} s"
            for name in self.capture
        )
        hours = CHECKPOINTS * (self.load + self.asked) / 3600
        return (
            f"load {self.load:.2f} s\n{sets}\n"
            f"capture and measure: {self.asked:.1f} s a checkpoint, {self.tokens} tokens through the blocks\n"
            f"capture reaches {self.share:.1%} of {self.rate / 1e12:.2f} TFLOP/s of matrix products\n"
            f"most memory held: {self.held / 1e9:.2f} GB\n"
            f"{CHECKPOINTS} checkpoints: {hours:.1f} h with loading, downloads aside"
        )


def run() -> list[Row]:
    shape = SHAPES["small"]
    taken = [one_checkpoint(shape, device="cpu") for _ in range(3)]
    detail = "; ".join(
        f"load {one.load:.1f} s, capture {sum(one.capture.values()):.1f} s, measure {sum(one.measure.values()):.1f} s"
        for one in taken
    )
    return [
        Row.of(
            [one.share for one in taken],
            what="capture within a whole checkpoint, 25 M parameter Llama, two data sets, as a part of the matrix rate",
            baseline="torch.mm in the same type; the work is 2 x block parameters x tokens computed",
            reach=shape.reach,
            detail=detail,
            threads=torch.get_num_threads(),
        )
    ]


def one_checkpoint(shape: Shape, *, device: str, information: bool = True) -> Taken:
    """Everything that is done with a checkpoint, part by part."""
    taken = Taken(rate=matrix_rate(device, shape.dtype))
    study = _study(shape, information=information)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        texts = [_thinned(catalog.load(f"{name}/published"), shape.every) for name in shape.datasets]
        _write(shape, place / "model", texts, device=device)
        source = open_source(str(place / "model"))
        (checkpoint,) = source.checkpoints()
        loaded: list[LanguageModel] = []
        taken.load = _timed(device, lambda: loaded.append(load(source, checkpoint, device=device, dtype=shape.dtype)))
        (model,) = loaded
        settings = Settings(device=device)
        inputs = {one.name: _inputs(model, one, study=study, settings=settings, place=place) for one in texts}
        for one in texts:
            _take(taken, model, one, study=study, inputs=inputs, place=place, device=device)
        weights = sum(parameter.numel() for parameter in model.anatomy.blocks.parameters())
        taken.work = 2.0 * weights * taken.tokens
    taken.held = torch.cuda.max_memory_allocated() if device.startswith("cuda") else peak()
    return taken


def _take(
    taken: Taken,
    model: LanguageModel,
    statements: Statements,
    *,
    study: TraceConfig,
    inputs: Mapping[str, FixedInputs],
    place: Path,
    device: str,
) -> None:
    out, found = place / "activations.safetensors", list[Activations]()
    taken.capture[statements.name] = _timed(
        device,
        lambda: found.append(capture(model, statements.texts, out=out, fingerprint=statements.texts_fingerprint)),
    )
    (activations,) = found
    taken.tokens += int(activations.provenance["tokens_computed"])
    taken.measure[statements.name] = _timed(
        device,
        lambda: measure(
            activations,
            statements,
            config=study.probing,
            protocol="rigorous",
            seed=study.seed,
            information=study.information,
            inputs=inputs.get(statements.name),
            device=device,
        ),
    )


def _inputs(
    model: LanguageModel, statements: Statements, *, study: TraceConfig, settings: Settings, place: Path
) -> FixedInputs:
    out = place / "inputs.safetensors"
    embedding, tokens = read_inputs(model, statements, settings=settings, truncation=study.truncation, out=out)
    return FixedInputs(embedding=embedding, tokens=tokens)


def matrix_rate(device: str, dtype: str) -> float:
    """Operations a second of a large product, the best of several."""
    kind, size = getattr(torch, dtype), 8192 if device.startswith("cuda") else 1536
    one, other = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    torch.mm(one, other)
    return max(2.0 * size**3 / _timed(device, lambda: torch.mm(one, other)) for _ in range(8))


def _study(shape: Shape, *, information: bool) -> TraceConfig:
    values = {
        "name": "card",
        "checkpoints": {"source": "."},
        "datasets": [f"{name}/published" for name in shape.datasets],
        "dtype": shape.dtype,
        "probing": ProbingConfig().model_dump(mode="json"),
        "information": InformationConfig().model_dump(mode="json") if information else None,
    }
    return TraceConfig.read(values, where="benchmark")


def _write(shape: Shape, folder: Path, datasets: Sequence[Statements], *, device: str) -> None:
    """Random weights, drawn where they are fastest to draw, as a checkpoint's folder."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.blocks,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=2048,
    )
    with torch.device(device):
        module = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, shape.dtype))
    module.save_pretrained(folder)
    texts = [text for one in datasets for text in one.texts]
    tiny.tokenizer(adds_bos=True, texts=texts, vocab_size=shape.vocabulary).save_pretrained(folder)
    del module
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _timed(device: str, work: Callable[[], object]) -> float:
    """A device that works by itself is waited for."""

    def awaited() -> None:
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return seconds(awaited)


def _thinned(statements: Statements, every: int) -> Statements:
    order = {group: place for place, group in enumerate(dict.fromkeys(statements.groups))}
    return statements.take([row for row, group in enumerate(statements.groups) if order[group] % every == 0])


def _profiled(shape: Shape, device: str) -> str:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.startswith("cuda"):
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        one_checkpoint(shape, device=device)
    key = "self_cuda_time_total" if device.startswith("cuda") else "self_cpu_time_total"
    return str(profiler.key_averages().table(sort_by=key, row_limit=25))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--profile", action="store_true", help="print what the time goes to")
    given = parser.parse_args()
    print(one_checkpoint(SHAPES[given.shape], device=given.device), flush=True)
    if given.profile:
        print(_profiled(SHAPES[given.shape], given.device))
