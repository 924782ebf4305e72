"""How far ``trustrace plan --on here`` is from what a small trace really takes: `python -m benchmarks.forecast`.

Both are in this process's own time, so that other processes do not count: rates of matrix products, factorisations and memory are measured,
the work is counted, and the trace is run. Floors from the text alone, which a forecast leaves out, are timed apart and taken off.
"""

import tempfile
import time
from pathlib import Path

from benchmarks.example import llama
from trustrace.core.statements import Statements
from trustrace.datasets import catalog
from trustrace.measures.floors import text_floors
from trustrace.studies.config import TraceConfig
from trustrace.studies.foreseen.machines import machine
from trustrace.studies.foreseen.subjects import Hints
from trustrace.studies.foreseen.tracing import foresee_trace
from trustrace.studies.settings import Settings
from trustrace.studies.statements import load_all
from trustrace.studies.trace import run_trace
from trustrace.training.config import PretrainConfig

ROWS = {"wide": 900, "tall": 1952}
"""More statements than twice the width of 512 make a space of coordinates, fewer one of inner products."""


def compare(name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        study = _study(place, rows=ROWS[name])
        settings = Settings(device="cpu")
        before = machine("here")
        started = time.process_time()
        run_trace(study, out=place / "run", settings=settings)
        taken = time.process_time() - started - _floors(study, settings)
        bill = foresee_trace(study, before, hints=Hints(made_by=_made_by()), settings=settings)
    shares = ", ".join(f"{line.what} {line.seconds:.1f} s" for line in bill.lines)
    foreseen = bill.hours(1) * 3600
    return f"{name}: foreseen {foreseen:.1f} s, taken {taken:.1f} s, ratio {foreseen / taken:.2f} ({shares})"


def _study(place: Path, *, rows: int) -> TraceConfig:
    model = llama()
    model.module.save_pretrained(place / "model")
    model.tokenizer.save_pretrained(place / "model")
    statements = catalog.load("fairness/published")
    _write(statements, place / "some.csv", rows=rows)
    values = {
        "name": "forecast",
        "checkpoints": {"source": str(place / "model"), "select": "all"},
        "datasets": [{"name": "some", "path": str(place / "some.csv")}],
        # A random model's input embedding differs so little between statements that its probes do not converge.
        "sites": [*(f"block_{block}" for block in range(6)), "final_norm"],
        "random_init_seeds": [],
        "dtype": "float32",
        "information": {"widths": [50, "median"], "max_statements": 1000, "components": None},
    }
    return TraceConfig.read(values, where="benchmark")


def _write(statements: Statements, path: Path, *, rows: int) -> None:
    quoted = ('"' + text.replace('"', '""') + '"' for text in statements.texts)
    numbers = {group: place for place, group in enumerate(dict.fromkeys(statements.groups))}
    lines = [
        f"{text},{label},{numbers[group]}"
        for text, label, group in zip(quoted, statements.labels, statements.groups, strict=True)
    ]
    path.write_text("\n".join(["statement,label,group", *lines[:rows]]) + "\n", encoding="utf-8")


def _made_by() -> PretrainConfig:
    """A pre-training of the same shape that saves one checkpoint: its first, which is its last."""
    values = {
        "architecture": {
            "model_type": "llama",
            "hidden_size": 512,
            "intermediate_size": 1536,
            "num_hidden_layers": 6,
            "num_attention_heads": 8,
            "num_key_value_heads": 8,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
        },
        "corpus": {"kind": "world"},
        "tokenizer": {"kind": "bpe", "vocab_size": 8192},
        "sequence_length": 8,
        "batch": 1,
        "tokens": 8,
        "optimizer": {"learning_rate": 1e-3},
        "saves": {"dense": 0, "every": 1},
    }
    return PretrainConfig.read(values, where="benchmark")


def _floors(study: TraceConfig, settings: Settings) -> float:
    statements = load_all(study.datasets, settings=settings, seed=study.seed)
    started = time.process_time()
    for one in statements:
        text_floors(one, config=study.probing, protocol="rigorous", seed=study.seed)
    return time.process_time() - started


if __name__ == "__main__":
    for name in ROWS:
        print(compare(name), flush=True)
