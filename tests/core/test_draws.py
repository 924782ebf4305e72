from trustrace.core.draws import generator


def test_the_same_seed_and_purpose_give_the_same_stream() -> None:
    assert generator(3, "folds", 1).integers(1 << 40) == generator(3, "folds", 1).integers(1 << 40)


def test_another_seed_or_purpose_gives_another_stream() -> None:
    drawn = {
        generator(seed, *purpose).integers(1 << 60)
        for seed in (0, 1)
        for purpose in [("a",), ("b",), ("a", "b"), ("ab",), ("a", 1)]
    }
    assert len(drawn) == 10
