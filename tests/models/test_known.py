"""What is known of a suite without the hub: as many checkpoints as its publishers say."""

import pytest

from trustrace.models.known import known_checkpoints


@pytest.mark.parametrize(("repository", "count"), [("LLM360/Amber", 360), ("EleutherAI/pythia-410m", 154)])
def test_a_listed_suite_has_all_its_checkpoints_in_order_of_training(repository: str, count: int) -> None:
    found = known_checkpoints(repository)
    tokens = [one.tokens_seen or 0 for one in found]
    assert len(found) == count
    assert tokens == sorted(tokens)


def test_the_last_chunk_of_amber_is_its_main_revision() -> None:
    assert known_checkpoints("LLM360/Amber")[-1].revision == "main"


def test_the_main_revision_of_pythia_is_no_checkpoint_of_its_own() -> None:
    assert known_checkpoints("EleutherAI/pythia-410m")[-1].revision == "step143000"


def test_a_single_revision_is_itself_and_an_unlisted_suite_is_unknown() -> None:
    assert [one.revision for one in known_checkpoints("LLM360/AmberChat@main")] == ["main"]
    assert known_checkpoints("allenai/OLMo-2-0425-1B") == ()
