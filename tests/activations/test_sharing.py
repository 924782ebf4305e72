import pytest
import torch

from tests.activations.models import language_model, statements
from trustrace.activations.batching import lay_out, plant
from trustrace.activations.encoding import encode
from trustrace.activations.forward import read_sites
from trustrace.activations.sharing import decide
from trustrace.models import tiny
from trustrace.models.selfcheck import TOLERANCE

WINDOWED = {"gemma2", "gemma3_text", "olmo3"}
WITHOUT_POSITIONS = {"bloom", "mpt"}


def sequences_of(model, texts=None):
    return [encoding.ids for encoding in encode(model, texts or statements())]


def gap_between_trees_and_rows(model, sequences):
    site, found = model.sites[-1], []
    for sharing in (True, False):
        batch = lay_out(plant(sequences, sharing=sharing), sequences)
        stream = read_sites(model, batch, [site], lambda residual: residual.flatten(0, 1))[site]
        last = {statement: stream[path[-1]] for statement, path in zip(batch.statements, batch.paths, strict=True)}
        found.append(torch.stack([last[statement] for statement in range(len(sequences))]))
    return float(((found[0] - found[1]).norm(dim=1) / found[1].norm(dim=1)).max())


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_sharing_is_used_exactly_where_it_changes_nothing(family):
    model = language_model(family)
    sequences = sequences_of(model)
    decision = decide(model, sequences, site=model.sites[-1])
    assert decision.used == (family not in WINDOWED | WITHOUT_POSITIONS)
    if family not in WITHOUT_POSITIONS:
        assert (gap_between_trees_and_rows(model, sequences) < TOLERANCE[model.dtype]) == decision.used


def test_a_sliding_window_forbids_sharing_only_beyond_its_length():
    model = language_model("gemma2")
    short = ["abcd", "abce", "abcf"]
    assert decide(model, sequences_of(model, short), site=model.sites[-1]).used
    assert not decide(model, sequences_of(model, [*short, "a longer statement"]), site=model.sites[-1]).used


def test_statements_that_share_nothing_are_not_made_trees():
    model = language_model()
    decision = decide(model, sequences_of(model, ["abc", "def", "ghi"]), site=model.sites[-1])
    assert not decision.used
    assert "save 0.0%" in decision.reason


def test_a_decoder_that_refuses_masks_of_branches_is_read_row_by_row():
    model = language_model()

    def refuse(module, args, kwargs):
        if kwargs.get("attention_mask") is not None:
            raise ValueError("only two dimensions, please")

    with model.anatomy.decoder.register_forward_pre_hook(refuse, with_kwargs=True):
        decision = decide(model, sequences_of(model), site=model.sites[-1])
    assert not decision.used
    assert "only two dimensions" in decision.reason


def test_a_decoder_that_ignores_masks_of_branches_is_read_row_by_row():
    model = language_model()

    def forget(module, args, kwargs):
        return args, kwargs | {"attention_mask": None}

    with model.anatomy.decoder.register_forward_pre_hook(forget, with_kwargs=True):
        decision = decide(model, sequences_of(model), site=model.sites[-1])
    assert not decision.used
    assert decision.difference > 1e-2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_of_a_narrow_precision_does_not_forbid_sharing(dtype):
    model = language_model()
    model.module.to(dtype)
    assert decide(model, sequences_of(model), site=model.sites[-1]).used
