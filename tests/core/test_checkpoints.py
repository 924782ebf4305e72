from trustrace.core.checkpoints import Checkpoint


def checkpoint(revision: str, *, step: int | None = None, tokens_seen: int | None = None) -> Checkpoint:
    return Checkpoint(
        family="pythia", model="EleutherAI/pythia-70m", revision=revision, step=step, tokens_seen=tokens_seen
    )


def test_a_series_is_ordered_by_tokens_seen_and_unknown_moments_come_last() -> None:
    late, early, unknown = checkpoint("a", tokens_seen=200), checkpoint("z", tokens_seen=10), checkpoint("main")
    assert sorted([unknown, late, early]) == [early, late, unknown]


def test_steps_order_what_has_no_token_count() -> None:
    assert sorted([checkpoint("step10", step=10), checkpoint("step9", step=9)])[0].revision == "step9"


def test_the_key_is_readable_and_safe_in_paths() -> None:
    assert checkpoint("feature/x").key == "EleutherAI--pythia-70m@feature--x"
