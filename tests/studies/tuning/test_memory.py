"""While a model is tuned, the one that nothing was done to waits in the processor's memory."""

from pathlib import Path
from typing import Any

import pytest

from tests.studies.small_studies import READING, SETTINGS
from tests.studies.tuning.test_run import RECIPE, write_instructions
from trustrace.models import tiny
from trustrace.models.loading import load
from trustrace.models.sources import open_source
from trustrace.studies.tuning import run as running
from trustrace.studies.tuning.config import FinetuneConfig
from trustrace.studies.tuning.run import _Plain, run_finetune


def test_a_model_waits_on_the_processor_and_is_asked_on_the_device(tmp_path: Path) -> None:
    source = open_source(str(tiny.save(tmp_path / "model", "llama")))
    plain = _Plain(model=load(source, source.checkpoints()[-1]))
    plain.aside()
    assert {weight.device.type for weight in plain.model.module.parameters()} == {"cpu"}
    assert plain.on("meta") is plain.model
    assert {weight.device.type for weight in plain.model.module.parameters()} == {"meta"}


def test_each_tuning_has_the_device_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def heard(owner: Any, name: str) -> None:
        done = getattr(owner, name)

        def said(*given: Any, **how: Any) -> Any:
            told.append(name)
            return done(*given, **how)

        monkeypatch.setattr(owner, name, said)

    heard(_Plain, "aside")
    heard(_Plain, "on")
    heard(running, "tune_checkpoint")
    tiny.save(tmp_path / "target", "llama")
    write_instructions(tmp_path / "told.jsonl")
    values = {
        "name": "small",
        "models": [str(tmp_path / "target")],
        "data": [{"kind": "instructions", "path": str(tmp_path / "told.jsonl"), "name": "told"}],
        "methods": ["full", {"method": "lora", "rank": 2}],
        "recipe": RECIPE,
        "tasks": [READING],
        "perplexity": READING,
    }
    run_finetune(FinetuneConfig.read(values, where="study.yaml"), out=tmp_path / "run", settings=SETTINGS)
    assert told == ["on", "aside", "tune_checkpoint", "aside", "tune_checkpoint"]
