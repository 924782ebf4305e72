import pytest
import torch

from tests.activations.models import language_model, statements
from trustrace.activations.check import CaptureCheck, check_capture
from trustrace.core.errors import ModelError
from trustrace.models.selfcheck import TOLERANCE


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom", "gemma2"])
@pytest.mark.parametrize("position", ["last", "first", "mean", "max"])
def test_a_capture_is_seen_to_agree_with_the_plain_loop(family, position):
    model = language_model(family)
    check = check_capture(model, statements(), position=position, batch_tokens=100)
    assert check.agrees
    assert set(check.differences) == {site.name for site in model.sites}
    assert max(check.differences.values()) < 1e-5
    assert check.n == len(statements())
    check.require()


def test_a_model_whose_batches_differ_from_single_statements_is_caught():
    model = language_model()

    def leak(module, args, output):
        return output + output.mean(dim=0, keepdim=True)

    with model.anatomy.blocks[1].register_forward_hook(leak):
        check = check_capture(model, statements())
    assert not check.agrees
    assert check.differences["block_0"] < 1e-5
    with pytest.raises(ModelError, match=r"differ from one statement at a time by .* at (block_1|block_2|final_norm)"):
        check.require()


def test_a_difference_that_is_no_number_is_no_agreement():
    check = CaptureCheck(
        differences={"embed": 0.5, "block_0": float("nan")}, tolerance=1.0, n=1, prefix_sharing="not used"
    )
    assert not check.agrees
    with pytest.raises(ModelError, match="at block_0"):
        check.require()


def test_the_check_runs_in_the_precision_of_the_model():
    model = language_model()
    model.module.to(torch.bfloat16)
    check = check_capture(model, statements())
    assert check.tolerance == TOLERANCE[torch.bfloat16]
    assert check.agrees
