"""What is known of the suites, against the figures that they publish."""

import pytest

from trustrace.models import families

BILLION = 10**9


@pytest.mark.parametrize(
    ("repository", "family", "revision", "step", "billions"),
    [
        # Figures as published: Amber 1,259 B tokens in 360 chunks; Pythia 300 B in 143,000 steps; CrystalCoder 345 + 927 + 110 B.
        ("LLM360/Amber", "amber", "ckpt_000", 762, 3.496),
        ("LLM360/Amber", "amber", "main", 762 * 360, 1259),
        ("LLM360/CrystalCoder", "crystalcoder", "CrystalCoder_phase1_checkpoint_079721", 79_721, 345),
        ("LLM360/Crystal", "crystalcoder", "CrystalCoder_phase2_checkpoint_214387", 79_721 + 214_387, 1272),
        ("LLM360/CrystalCoder", "crystalcoder", "main", 79_721 + 214_387 + 27_728, 1382),
        ("LLM360/K2-V2", "k2", "base_1245000", 1_245_000, 12_240),
        ("EleutherAI/pythia-1.4b-deduped", "pythia", "step0", 0, 0),
        ("EleutherAI/pythia-12b", "pythia", "main", 143_000, 300),
        ("EleutherAI/pythia-410m-seed3", "pythia", "step512", 512, 1.074),
        ("EleutherAI/pythia-160m-data-seed2", "pythia", "step1000", 1000, 2.097),
        ("allenai/OLMo-1B", "olmo1", "step117850-tokens494B", 117_850, 494),
        ("allenai/OLMo-1B-0724-hf", "olmo1", "step1454000-tokens3048B", 1_454_000, 3048),
        ("allenai/OLMoE-1B-7B-0924", "olmo1", "step995000-tokens4173B", 995_000, 4173),
        ("allenai/OLMo-2-0425-1B", "olmo2", "stage1-step1907359-tokens4001B", 1_907_359, 4001),
        ("allenai/OLMo-2-0425-1B-early-training", "olmo2", "stage1-step1000-tokens3B", 1000, 3),
        ("allenai/OLMo-2-1124-7B", "olmo2", "stage2-ingredient3-step11931-tokens50B", 928_646 + 11_931, 3946),
        ("allenai/OLMo-2-0325-32B", "olmo2", "stage1-step721901-tokens6056B", 721_901, 6056),
        ("allenai/Olmo-3-1025-7B", "olmo3", "stage1-step1413814", 1_413_814, 5930),
        ("allenai/Olmo-3-1025-7B", "olmo3", "stage2-step47684", 1_413_814 + 47_684, 6030),
        ("allenai/Olmo-3-1125-32B", "olmo3", "stage1-step656000", 656_000, 5503),
        ("HuggingFaceTB/SmolLM2-1.7B-intermediate-checkpoints", "smollm2", "step-125000", 125_000, 262),
        ("HuggingFaceTB/SmolLM3-3B-checkpoints", "smollm3", "stage3-step-4720000", 4_720_000, 11_136),
        ("swiss-ai/Apertus-8B-2509", "apertus", "step2627139-tokens15T", 2_627_139, 15_000),
        ("HuggingFaceFW/ablation-model-fineweb-edu", "fineweb", "step-001000-2BT", 1000, 2),
    ],
)
def test_steps_and_tokens_are_those_that_were_published(
    repository: str, family: str, revision: str, step: int, billions: float
) -> None:
    known = families.of(repository)
    assert known.name == family
    place = known.place(revision)
    assert place is not None
    assert place[0] == step
    assert place[1] == pytest.approx(billions * BILLION, rel=2e-3)


def test_pythia_has_154_revisions_dense_early() -> None:
    expected = families.of("EleutherAI/pythia-70m").expected
    assert len(expected) == len(set(expected)) == 154
    assert expected[:5] == ("step0", "step1", "step2", "step4", "step8")
    assert expected[-1] == "step143000"


def test_amber_has_359_branches_and_its_last_checkpoint_on_main() -> None:
    amber = families.of("LLM360/Amber")
    assert (len(amber.expected), amber.expected[0], amber.expected[-1]) == (359, "ckpt_000", "ckpt_358")
    assert amber.place("main") == amber.place("ckpt_359")


def test_smollm3_has_118_revisions() -> None:
    assert len(families.of("HuggingFaceTB/SmolLM3-3B-checkpoints").expected) == 118


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: f"{family.name}: {family.repositories}")
def test_expected_revisions_are_understood_and_in_order(family: families.Family) -> None:
    places = [family.place(revision) for revision in family.expected]
    assert None not in places
    assert places == sorted(places)


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: f"{family.name}: {family.repositories}")
def test_what_main_equals_is_a_revision_of_the_family(family: families.Family) -> None:
    assert family.main in {"", "main"} or family.place(family.main)


def test_where_training_ended_apart_from_any_revision_main_has_no_place_and_where_it_is_empty_it_is_none() -> None:
    assert families.of("allenai/OLMo-2-1124-7B").place("main") == (None, None)
    assert families.of("HuggingFaceTB/SmolLM3-3B-checkpoints").place("main") is None


@pytest.mark.parametrize(
    ("repository", "revision", "place"),
    [
        ("OpenLLM-France/Lucie-7B", "step0005000", (5000, None)),
        ("OpenLLM-France/Lucie-7B", "extension_step0001220", (755_071, None)),
        ("bigscience/bloom-560m-intermediate", "global_step10000", (10_000, None)),
        ("allenai/Olmo-3-1125-32B", "stage2-ingredient1-step7000", (663_000, None)),
        ("HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints", "step-240000", (240_000, None)),
    ],
)
def test_tokens_that_nobody_published_are_not_made_up(repository: str, revision: str, place: tuple[int, None]) -> None:
    assert families.of(repository).place(revision) == place


@pytest.mark.parametrize(
    ("revision", "place"),
    [
        ("step3000", (3000, None)),
        ("checkpoint-500", (500, None)),
        ("step20-tokens84B", (20, 84 * BILLION)),
        ("main", (None, None)),
        ("v1.0", None),
        ("it-SFT", None),
    ],
)
def test_unknown_repositories_are_read_by_the_usual_names(revision: str, place: object) -> None:
    assert families.of("somebody/model").place(revision) == place


@pytest.mark.parametrize(
    "repository", ["EleutherAI/pythia-70m-v0", "EleutherAI/pythia-70m-instruct", "EleutherAI/gpt-neo-125m"]
)
def test_neighbours_of_a_family_do_not_belong_to_it(repository: str) -> None:
    assert families.of(repository).name == "hub"
