"""Forecasts without a network: counts that can be checked by hand, and what happens where something is not known."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from trustrace.core.errors import ConfigError, ModelError
from trustrace.core.measurements import Protocol
from trustrace.datasets import catalog
from trustrace.models import shapes, tiny
from trustrace.models.language_model import LanguageModel
from trustrace.models.loading import load
from trustrace.models.passes import reading_flops, step_bytes
from trustrace.models.shapes import Block
from trustrace.models.sources import open_source
from trustrace.studies.abilities import TaskConfig
from trustrace.studies.config import DatasetConfig
from trustrace.studies.files import read_study
from trustrace.studies.foreseen import sizes
from trustrace.studies.foreseen.bill import Bill, Line, flops, size
from trustrace.studies.foreseen.machines import machine
from trustrace.studies.foreseen.steering import passes
from trustrace.studies.foreseen.studies import foresee
from trustrace.studies.foreseen.tuning import adapter_weights
from trustrace.studies.settings import Settings
from trustrace.studies.steering.config import SteerConfig
from trustrace.studies.tuning.config import FinetuneConfig
from trustrace.training.adapters import attach
from trustrace.training.tuning_config import AdapterConfig

STUDIES = Path(__file__).parents[3] / "studies"
PAPER = STUDIES / "paper"
SETTINGS = Settings(device="cpu")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a forecast asks nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def line(bill: Bill, what: str) -> Line:
    return next(one for one in bill.lines if one.what == what)


def test_all_of_amber_is_nearly_ten_terabytes() -> None:
    bill = foresee(PAPER / "probing_rigorous.yaml", on="h200", settings=SETTINGS)
    assert bill.download_bytes == 360 * (4 * 6_738_415_616)
    assert line(bill, "download").seconds == pytest.approx(360 * 26.95e9 / 200e6, rel=1e-3)


def test_reading_costs_two_operations_a_parameter_and_token_at_the_stated_share_of_the_published_rate() -> None:
    bill = foresee(PAPER / "probing_published.yaml", on="h200", settings=SETTINGS)
    tokens = sum(sizes.STATEMENTS[f"{one}/published"].characters for one in _DIMENSIONS) / 3.7
    # float32, as the scripts load.
    by_hand = 360 * 2 * 6_476_267_520 * tokens / (0.6 * 67e12)
    assert line(bill, "reading the statements").seconds == pytest.approx(by_hand, rel=1e-6)


def test_eight_devices_share_the_work_but_not_the_line_to_the_hub() -> None:
    bill = foresee(PAPER / "probing_rigorous.yaml", on="h200", settings=SETTINGS)
    download = line(bill, "download").seconds / 3600
    rest = bill.hours(1) - download
    # 361 models on 8 devices: one device has 46 where an even share is 45.1.
    assert bill.hours(8) == pytest.approx(download + rest / 361 * 46)
    assert bill.hours(1000) == pytest.approx(download + rest / 361)


def test_more_devices_than_parts_bring_nothing() -> None:
    bill = foresee(PAPER / "figure4_published.yaml", on="h200", settings=SETTINGS)
    assert (bill.parts, bill.devices(8)) == (1, 1)
    assert bill.hours(8) == bill.hours(1)


def test_a_search_asks_every_setting_of_every_kind_and_the_plain_model_once_a_batch() -> None:
    study = read_study(PAPER / "figure4_published.yaml", SteerConfig)
    searched = [one for one in passes(study, sources=1) if one.half == "development" and one.versions > 1]
    # 2 sites x 18 strengths take two batches of 32, each beside the plain model; perplexity and the aim.
    assert [one.versions for one in searched] == [38, 38]


def test_random_directions_are_searched_as_one_more_source() -> None:
    study = read_study(PAPER / "figure4_rigorous.yaml", SteerConfig)
    searched = [one.versions for one in passes(study, sources=3) if one.half == "development" and one.versions > 1]
    two_kinds, five_random = 2 * 18, 5 * 18
    assert searched == [*[two_kinds + 2] * 6, *[five_random + 3] * 2]


def test_a_step_of_decoding_reads_all_weights_and_the_cache_of_every_row() -> None:
    amber = shapes.of("LLM360/AmberChat")
    one, two = (step_bytes(amber, rows=rows, length=100, dtype="float16") for rows in (1, 2))
    assert one == 2 * amber.parameters + 100 * 2 * 32 * 4096 * 2
    assert two - one == 100 * 2 * 32 * 4096 * 2
    assert reading_flops(amber, 10) == 20 * amber.body_parameters


def test_training_is_six_operations_a_parameter_and_token() -> None:
    bill = foresee(PAPER / "early_pretrain.yaml", on="h200", settings=SETTINGS)
    assert line(bill, "training").seconds == pytest.approx(6 * 6_738_415_616 * 27_525_120_000 / (0.4 * 989e12))


def test_three_networks_read_for_every_base_and_the_expert_once_more() -> None:
    bill = foresee(PAPER / "proxy_rigorous.yaml", on="h200", settings=SETTINGS)
    # Five bases; apart from them the expert, the anti-expert and a reference, and the expert beside the bases.
    networks = 3 * 5 + 3 + 1
    names = (
        "truthfulqa_classification",
        "truthfulqa_mc1",
        "truthfulqa_mc2",
        "confaide",
        "stereoset",
        "sst2",
        "lambada",
    )
    asked = [sizes.task_size(TaskConfig(name=name), half="test", protocol="rigorous") for name in names]  # type: ignore[arg-type]
    tokens = networks * sum(one.items * one.read for one in asked if one) / sizes.CHARACTERS_PER_TOKEN
    amber = shapes.of("LLM360/Amber")
    by_hand = reading_flops(amber, tokens) / machine("h200").half
    assert line(bill, "reading prompts").seconds == pytest.approx(by_hand, rel=1e-6)
    chat = shapes.of("LLM360/AmberChat").revision_bytes + shapes.of("LLM360/AmberSafe").revision_bytes
    assert bill.download_bytes == pytest.approx(6 * amber.revision_bytes + chat)


def test_tuning_in_full_takes_six_operations_a_weight_and_token_and_under_an_adapter_four() -> None:
    bill = foresee(PAPER / "finetune_rigorous.yaml", on="h200", settings=SETTINGS)
    weights, tokens = shapes.of("LLM360/AmberChat").parameters, 350 / 3.7
    # Activations are computed again in both, at 2 more.
    learned = weights * tokens * 400 * 32 * (8 + 6)
    looked = 2 * weights * tokens * 100 * 2 * (1 + 400 / 25)
    assert line(bill, "tuning, in float32").seconds == pytest.approx((learned + looked) / (0.6 * 67e12))
    held = {what: (value, why) for what, value, why in bill.assumptions}
    # 6,738,415,616 weights: 16 bytes of each in full; 4 of each and an adapter of 20 million under LoRA; the untouched model is not there.
    assert held["device memory of full"][0] == "108 GB and activations"
    assert "13.5 GB of the untouched model" in held["device memory of full"][1]
    assert held["device memory of lora"][0] == "27.3 GB and activations"


@pytest.mark.parametrize("protocol", ["published", "rigorous"])
def test_what_does_not_fit_a_card_is_said_with_the_way_out(protocol: Protocol) -> None:
    said = {
        on: [
            row["amount"]
            for row in foresee(PAPER / f"finetune_{protocol}.yaml", on=on, settings=SETTINGS).rows()
            if row["what"] == "DOES NOT FIT"
        ]
        for on in ("h200", "h100", "a100")
    }
    assert said["h200"] == []
    for on in ("h100", "a100"):
        (told,) = said[on]
        assert told.startswith(
            f"tuning by full holds 108 GB, {on.upper()} has 80 GB: take a larger device, or `method: lora`"
        )
    trained = foresee(STUDIES / "pretrain" / "amber_7b.yaml", on="h100", settings=SETTINGS)
    assert [row["amount"][:27] for row in trained.rows() if row["what"] == "DOES NOT FIT"] == [
        "every device holds 108 GB, "
    ]


@pytest.mark.parametrize("protocol", ["published", "rigorous"])
def test_tunings_of_seven_billion_weights_read_few_exchanges_at_a_time_and_keep_few_activations(
    protocol: Protocol,
) -> None:
    for file in ("paper/finetune_{}", "pythia/finetune", "olmo/finetune", "own/finetune"):
        path = STUDIES / f"{file.format(protocol)}.yaml"
        study = read_study(path, FinetuneConfig, protocol=None if "paper" in file else protocol)
        recipes = [study.recipe_of(method) for method in study.methods]
        assert [(one.rows, one.batch, one.gradient_checkpointing) for one in recipes] == [(4, 32, True)] * 2


def test_a_base_in_bfloat16_takes_half_the_memory_and_the_faster_products(tmp_path: Path) -> None:
    text = (PAPER / "finetune_rigorous.yaml").read_text()
    half = tmp_path / "half.yaml"
    half.write_text(text.replace("rank: 8, alpha: 16,", "rank: 8, alpha: 16, base_dtype: bfloat16,"))
    bill = foresee(half, on="h200", settings=SETTINGS)
    weights, tokens = shapes.of("LLM360/AmberChat").parameters, 350 / 3.7
    looked = 2 * weights * tokens * 100 * (1 + 400 / 25)
    under = 6 * weights * tokens * 400 * 32 + looked
    assert line(bill, "tuning, in bfloat16").seconds == pytest.approx(under / machine("h200").half)
    assert line(bill, "tuning, in float32").seconds == pytest.approx(
        (8 / 6 * (under - looked) + looked) / machine("h200").single
    )
    held = {what: value for what, value, _ in bill.assumptions}
    assert held["device memory of lora"] == "13.8 GB and activations"


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "olmo2"])
def test_an_adapter_has_as_many_weights_as_peft_gives_it(family: Block, tmp_path: Path) -> None:
    source = open_source(str(tiny.save(tmp_path / "model", family)))
    small = load(source, source.checkpoints()[0])
    known = small.module.config
    # None of the suites shares keys and values between heads, as the tiny models do.
    known.num_key_value_heads = known.num_attention_heads
    model = LanguageModel.of(AutoModelForCausalLM.from_config(known), small.tokenizer)
    attach(model, AdapterConfig(rank=3), seed=0)
    shape = replace(
        shapes.of("LLM360/Amber"),
        block=family,
        d_model=known.hidden_size,
        d_mlp=known.intermediate_size,
        n_blocks=known.num_hidden_layers,
    )
    trained = sum(one.numel() for one in model.module.parameters() if one.requires_grad)
    assert adapter_weights(shape, rank=3) == trained


def test_the_trace_of_a_run_is_known_by_the_pretraining_that_makes_it() -> None:
    early, made_by = PAPER / "early_trace_rigorous.yaml", PAPER / "early_pretrain.yaml"
    with pytest.raises(ModelError, match=r"runs/amber-early: the shape.*--made-by"):
        foresee(early, on="h200", settings=SETTINGS)
    bill = foresee(early, on="h200", made_by=made_by, settings=SETTINGS)
    assert (bill.download_bytes, bill.parts) == (0, 43)


def test_a_count_that_nobody_knows_is_not_guessed(tmp_path: Path) -> None:
    study = tmp_path / "own.yaml"
    study.write_text("{name: own, checkpoints: {source: allenai/OLMo-1B-hf}, datasets: [fairness/defined]}")
    with pytest.raises(ConfigError, match=r"allenai/OLMo-1B-hf: nobody lists its checkpoints here, so 'all'"):
        foresee(study, on="h200", settings=SETTINGS)
    study.write_text("{name: own, checkpoints: {source: some/where, select: [a, b]}, datasets: [fairness/defined]}")
    assert foresee(study, on="h200", like="EleutherAI/pythia-70m", settings=SETTINGS).parts == 3


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="--on toaster: no such machine; there are h200"):
        foresee(PAPER / "probing_published.yaml", on="toaster", settings=SETTINGS)


def test_everything_taken_for_granted_is_said_with_its_source() -> None:
    said = foresee(PAPER / "steering_ckpt179_rigorous.yaml", on="h200", settings=SETTINGS).assumed()
    assert all(row["what"] and row["value"] and row["source"] for row in said)
    assert {"download", "memory bandwidth", "characters a token", "judges"} <= {row["what"] for row in said}


def test_this_machine_is_measured() -> None:
    here = machine("here")
    assert here.single > here.double > 0
    assert here.operation < 1e-3
    assert "measured now" in str(here.assumptions)


_DIMENSIONS = ("reliability", "toxicity", "privacy", "fairness", "robustness")


@pytest.mark.parametrize("name", ["fairness/published", "privacy/defined", "robustness/defined"])
def test_the_sizes_of_shipped_sets_are_theirs(name: str, data_dir: Path) -> None:
    statements = catalog.load(name, data_dir=data_dir)
    known = sizes.STATEMENTS[name]
    assert (known.rows, known.characters) == (len(statements), sum(map(len, statements.texts)))


def test_a_set_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("statement,label\n" + "".join(f"abc{row},{row % 2}\n" for row in range(8)))
    own = DatasetConfig(name="own", path=str(tmp_path / "own.csv"))
    assert sizes.statements_size(own, settings=SETTINGS, seed=0) == sizes.Texts(rows=8, characters=32)


def test_half_a_task_is_asked_at_a_time_and_no_more_than_its_limit() -> None:
    whole = sizes.task_size(TaskConfig(name="lambada"), half="test", protocol="rigorous")
    few = sizes.task_size(TaskConfig(name="lambada", limit=7), half="test", protocol="rigorous")
    assert whole is not None
    assert few is not None
    assert (whole.items, few.items) == (2577, 7)
    assert sizes.task_size(TaskConfig(name="world_text"), half="test", protocol="rigorous") is None


def test_amounts_are_said_in_words() -> None:
    assert (size(26.95e9), size(9.7e12), size(5)) == ("26.9 GB", "9.7 TB", "5 B")
    assert (flops(5.75e15), flops(1.1e21)) == ("5.75 PFLOP", "1.1 ZFLOP")
