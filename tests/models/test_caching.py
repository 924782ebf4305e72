"""Keys and values that grow in place are those of transformers' own cache."""

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from trustrace.models import tiny
from trustrace.models.caching import RoomyLayer, spread


def drawn(rows: int, tokens: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 2, tokens, 4, generator=rng), torch.randn(rows, 2, tokens, 4, generator=rng)


def filled(rows: int, tokens: int = 5, layers: int = 2) -> DynamicCache:
    cache = DynamicCache()
    for layer in range(layers):
        cache.update(*drawn(rows, tokens, layer), layer)
    return cache


@pytest.mark.parametrize("rows", [[0, 0, 0], [1, 0, 1, 1], [2], [0, 1, 2]])
@pytest.mark.parametrize("room", [0, 1, 2, 9])
def test_a_spread_cache_holds_the_rows_and_grows_as_transformers_own_does(rows: list[int], room: int) -> None:
    n = max(rows) + 1
    cache, textbook = filled(n), filled(n)
    ours = spread(cache, torch.tensor(rows), room=room)
    textbook.batch_select_indices(torch.tensor(rows))
    for step, tokens in enumerate((1, 1, 3, 2)):
        for layer in range(2):
            new = drawn(len(rows), tokens, 10 * step + layer)
            for mine, theirs in zip(ours.update(*new, layer), textbook.update(*new, layer), strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
        assert ours.get_seq_length() == textbook.get_seq_length()


def test_what_was_spread_is_left_as_it_was_and_two_spreads_do_not_meet() -> None:
    cache = filled(2)
    before = [layer.keys.clone() for layer in cache.layers]
    one, other = (spread(cache, torch.tensor([0, 1]), room=4) for _ in range(2))
    one.update(*drawn(2, 2, 7), 0)
    other.update(*drawn(2, 2, 8), 0)
    again = spread(one, torch.tensor([1, 1, 0]), room=4)
    again.update(*drawn(3, 1, 9), 0)
    for layer, held in zip(cache.layers, before, strict=True):
        torch.testing.assert_close(layer.keys, held, rtol=0, atol=0)
    torch.testing.assert_close(one.layers[0].keys[:, :, 5:], drawn(2, 2, 7)[0], rtol=0, atol=0)
    torch.testing.assert_close(other.layers[0].keys[:, :, 5:], drawn(2, 2, 8)[0], rtol=0, atol=0)


@pytest.mark.parametrize("change", ["reorder", "select", "repeat", "crop"])
def test_whatever_transformers_does_to_a_cache_is_done_to_the_room_as_well(change: str) -> None:
    ours, textbook = spread(filled(3), torch.tensor([0, 1, 2]), room=3), filled(3)
    for cache in (ours, textbook):
        for layer in cache.layers:
            match change:
                case "reorder":
                    layer.reorder_cache(torch.tensor([2, 0, 1]))
                case "select":
                    layer.batch_select_indices(torch.tensor([2, 0]))
                case "repeat":
                    layer.batch_repeat_interleave(2)
                case "crop":
                    layer.crop(-2)
    rows = len(textbook.layers[0].keys)
    for step in range(2):
        new = drawn(rows, 2, step)
        for mine, theirs in zip(ours.update(*new, 1), textbook.update(*new, 1), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_an_empty_cache_spreads_to_one_that_shares_nothing_with_it() -> None:
    empty = DynamicCache(config=tiny.config("llama"))
    one = spread(empty, torch.tensor([0, 0]), room=5)
    one.update(*drawn(2, 3, 0), 0)
    assert (empty.get_seq_length(), one.get_seq_length()) == (0, 3)


@pytest.mark.parametrize("room", [0, 3, 9])
def test_an_empty_cache_spreads_to_one_with_room_that_grows_as_transformers_own_does(room: int) -> None:
    ours, textbook = spread(DynamicCache(config=tiny.config("llama")), torch.tensor([0, 0]), room=room), DynamicCache()
    for change in ("reorder", "select", "repeat", "crop", "nothing"):
        match change:
            case "reorder":
                ours.reorder_cache(torch.tensor([0]))
            case "select":
                ours.batch_select_indices(torch.tensor([0]))
            case "repeat":
                ours.batch_repeat_interleave(2)
            case "crop":
                ours.crop(-1)
    for step, tokens in enumerate((3, 1, 4)):
        for layer in range(3):
            new = drawn(2, tokens, 10 * step + layer)
            for mine, theirs in zip(ours.update(*new, layer), textbook.update(*new, layer), strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    assert ours.get_seq_length() == textbook.get_seq_length() == 8


def test_a_sliding_window_keeps_its_own_kind_of_layer() -> None:
    cache = DynamicCache(config=tiny.config("gemma2"))
    kinds = [type(layer) for layer in cache.layers]
    for layer in range(len(kinds)):
        cache.update(*drawn(2, 5, layer), layer)
    taken = spread(cache, torch.tensor([1, 1, 0]), room=2)
    slides = [getattr(layer, "is_sliding", False) for layer in cache.layers]
    assert any(slides)
    assert [type(layer) for layer in taken.layers] == [
        kind if sliding else RoomyLayer for kind, sliding in zip(kinds, slides, strict=True)
    ]
    torch.testing.assert_close(taken.layers[0].keys, cache.layers[0].keys[[1, 1, 0]], rtol=0, atol=0)
