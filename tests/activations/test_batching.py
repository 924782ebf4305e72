import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trustrace.activations.batching import MOST_PADDING, ROW_TOKENS, batched, lay_out, plant

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), min_size=1, max_size=25)


def prefixes(sequences):
    return {sequence[:length] for sequence in sequences for length in range(1, len(sequence) + 1)}


@given(SEQUENCES, st.booleans())
def test_every_statement_is_in_exactly_one_tree(sequences, sharing):
    planted = [statement for tree in plant(sequences, sharing=sharing) for statement in tree.statements]
    assert sorted(planted) == list(range(len(sequences)))


@given(SEQUENCES)
def test_a_tree_holds_each_distinct_beginning_once(sequences):
    for tree in plant(sequences, sharing=True):
        assert tree.n_tokens == len(prefixes([sequences[i] for i in tree.statements]))


@given(SEQUENCES)
def test_without_sharing_a_tree_is_a_statement(sequences):
    trees = plant(sequences, sharing=False)
    assert sorted(tree.n_tokens for tree in trees) == sorted(map(len, sequences))


@given(SEQUENCES, st.booleans())
def test_the_path_of_a_statement_spells_it_at_the_depths_of_its_tokens(sequences, sharing):
    batch = lay_out(plant(sequences, sharing=sharing), sequences)
    for statement, path in zip(batch.statements, batch.paths, strict=True):
        places = torch.tensor(path)
        assert tuple(batch.tokens.flatten()[places].tolist()) == sequences[statement]
        assert batch.depths.flatten()[places].tolist() == list(range(len(path)))


@given(SEQUENCES)
def test_a_token_attends_to_its_own_beginning_and_to_nothing_else(sequences):
    batch = lay_out(plant(sequences, sharing=True), sequences)
    width = batch.tokens.shape[1]
    for path in batch.paths:
        row = path[0] // width
        for depth, place in enumerate(path):
            seen = batch.ancestry[row, 0, place - row * width].nonzero().flatten().tolist()
            assert [row * width + token for token in seen] == list(path[: depth + 1])


@given(SEQUENCES)
def test_padding_attends_to_itself_so_that_no_softmax_is_empty(sequences):
    batch = lay_out(plant(sequences, sharing=True), sequences)
    assert batch.ancestry.any(dim=-1).all()
    assert batch.ancestry.diagonal(dim1=-2, dim2=-1).all()


@given(SEQUENCES, st.integers(1, 200))
def test_a_batch_is_little_padded_and_keeps_to_its_budget_unless_one_row_alone_exceeds_it(sequences, budget):
    trees = plant(sequences, sharing=True)
    batches = list(batched(trees, batch_tokens=budget))
    assert [tree for batch in batches for tree in batch] == list(trees)
    for batch in batches:
        width = max(tree.n_tokens for tree in batch)
        assert len(batch) == 1 or len(batch) * width <= budget
        padding = len(batch) * width - sum(tree.n_tokens for tree in batch)
        assert padding <= MOST_PADDING * budget


@settings(max_examples=10)
@given(st.integers(10, 400), st.integers(1, 60))
def test_a_long_common_beginning_is_shared_by_rows_of_bounded_length(prompt, n):
    sequences = [(*range(prompt), 1000 + i, 0) for i in range(n)]
    trees = plant(sequences, sharing=True)
    assert max(tree.n_tokens for tree in trees) <= max(ROW_TOKENS, 2 * (prompt + 2))
    assert all(len(tree.statements) > 1 for tree in trees[:-1])
    assert sum(tree.n_tokens for tree in trees) <= 2 * n + len(trees) * prompt


def test_statements_that_share_too_little_stay_rows_of_their_own():
    assert len(plant([(1, 2, 3), (1, 2, 4)], sharing=True)) == 2
    assert len(plant([(1, 2, 3, 4), (1, 2, 3, 5)], sharing=True)) == 1


def test_thousands_of_equal_statements_cost_one():
    trees = plant([(1, 2, 3, 4)] * 5000, sharing=True)
    assert [(len(tree.statements), tree.n_tokens) for tree in trees] == [(5000, 4)]
