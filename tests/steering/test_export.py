import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.steering.examples import checkpoint, make_vector
from trustrace.core.errors import AlignmentError, ConfigError, DataError, ModelError
from trustrace.models import tiny
from trustrace.models.fingerprints import module_names, module_names_of
from trustrace.models.language_model import LanguageModel
from trustrace.steering.export import displacements, to_gguf, to_lm_eval, to_numpy
from trustrace.steering.vectors import SteeringVector

FAMILIES = sorted(tiny.FAMILIES)


def two() -> list[SteeringVector]:
    torch.manual_seed(0)
    return [make_vector(torch.randn(32), site=site) for site in ("block_2", "block_1")]


def test_displacements_are_strength_times_unit_times_direction_by_depth() -> None:
    moves = displacements(two(), alpha=-1.5, unit="residual_norm")
    assert list(moves) == ["block_1", "block_2"]
    torch.testing.assert_close(moves["block_2"], two()[0].direction * -60.0)


@pytest.mark.parametrize("alpha", [math.nan, math.inf])
def test_a_strength_is_finite(alpha: float) -> None:
    with pytest.raises(ConfigError, match="finite strength"):
        displacements(two(), alpha=alpha, unit="one")


def test_an_export_holds_one_vector_a_site_of_one_model() -> None:
    with pytest.raises(DataError, match="one vector a site"):
        displacements([make_vector(), make_vector(kind="random")], alpha=1.0, unit="one")
    with pytest.raises(DataError, match="no site"):
        displacements([], alpha=1.0, unit="one")
    with pytest.raises(AlignmentError, match="several models"):
        displacements([make_vector(), make_vector(site="block_2", checkpoint=checkpoint(5))], alpha=1.0, unit="one")


def test_ggufs_own_reader_finds_the_same_displacement_under_the_number_of_the_block(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="install the extra 'export'")
    path = tmp_path / "vector.gguf"
    to_gguf(two(), path, alpha=0.75, unit="within_std")
    reader = gguf.GGUFReader(path)
    assert reader.get_field("general.architecture").contents() == "controlvector"
    assert reader.get_field("controlvector.model_hint").contents() == "llama"
    assert reader.get_field("controlvector.layer_count").contents() == 2
    read = {tensor.name: tensor for tensor in reader.tensors}
    assert set(read) == {"direction.1", "direction.2"}
    for vector in two():
        tensor = read[f"direction.{vector.site[-1]}"]
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert list(tensor.shape) == [32]
        np.testing.assert_allclose(tensor.data, 0.75 * 0.5 * vector.direction.numpy(), rtol=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == ["vector.gguf"]


@pytest.mark.parametrize("site", ["embed", "block_0", "final_norm"])
def test_a_site_that_gguf_has_no_place_for_is_refused(tmp_path: Path, site: str) -> None:
    with pytest.raises(ConfigError, match=f"{site} has no place in a GGUF"):
        to_gguf([make_vector(site=site)], tmp_path / "vector.gguf")
    assert not list(tmp_path.iterdir())


def test_numpy_reads_the_same_displacement(tmp_path: Path) -> None:
    to_numpy(two(), tmp_path / "vector.npz", alpha=2.0, unit="distance")
    with np.load(tmp_path / "vector.npz", allow_pickle=False) as read:
        assert set(read.files) == {"block_1", "block_2"}
        np.testing.assert_allclose(read["block_1"], 4.0 * two()[1].direction.numpy(), rtol=1e-6)
        assert read["block_1"].dtype == np.float32
    with pytest.raises(ConfigError, match=r"ends in \.npz"):
        to_numpy(two(), tmp_path / "vector.npy")


@pytest.mark.parametrize("family", FAMILIES)
def test_module_names_lead_to_the_blocks_below_the_base_model(family: str) -> None:
    model = LanguageModel.of(tiny.build(family), tiny.tokenizer())
    names = module_names(model)
    assert list(names) == ["block_0", "block_1", "block_2", "final_norm"]
    below = dict(model.module.base_model.named_modules())
    assert all(below[names[f"block_{i}"]] is block for i, block in enumerate(model.anatomy.blocks))
    assert below[names["final_norm"]] is model.anatomy.final_norm
    assert module_names_of(family, n_blocks=3) == names


@pytest.mark.parametrize(
    ("family", "name"), [("llama", "layers.1"), ("gpt2", "h.1"), ("gpt_neox", "layers.1"), ("opt", "decoder.layers.1")]
)
def test_module_names_are_those_of_the_architecture(family: str, name: str) -> None:
    assert module_names_of(family, n_blocks=2)["block_1"] == name


def test_an_architecture_without_a_tiny_model_needs_a_real_one() -> None:
    with pytest.raises(ModelError, match="not known without a model"):
        module_names_of("mamba", n_blocks=2)


def steered_by_hand(module: nn.Module, tokens: Tensor, moves: dict[int, Tensor]) -> Tensor:
    """Logits with a displacement added to the output of blocks, everywhere."""

    def add(move: Tensor) -> object:
        def hook(block: nn.Module, args: object, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
            return output + move if isinstance(output, Tensor) else (output[0] + move, *output[1:])

        return hook

    blocks = module.get_decoder().get_submodule("h" if hasattr(module, "transformer") else "layers")  # type: ignore[operator]
    handles = [blocks[number].register_forward_hook(add(move)) for number, move in moves.items()]  # type: ignore[index]
    with torch.no_grad():
        logits: Tensor = module(tokens).logits
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_harness_steers_as_a_hook_does(tmp_path: Path, family: str) -> None:
    steered = pytest.importorskip("lm_eval.models.hf_steered", reason="install the extra 'eval'")
    folder, vectors = tiny.save(tmp_path / "model", family), two()
    path = tmp_path / "vector.pt"
    to_lm_eval(vectors, path, modules=module_names_of(family, n_blocks=3), alpha=1.5, unit="distance")
    harness = steered.SteeredModel(pretrained=str(folder), steer_path=str(path), device="cpu", batch_size=1)
    tokens = torch.tensor([[5, 90, 17, 33, 210, 8]])
    logits = harness._model_call(tokens)
    moves = {int(vector.site[-1]): 3.0 * vector.direction for vector in vectors}
    torch.testing.assert_close(logits, steered_by_hand(harness.model, tokens, moves), rtol=1e-5, atol=1e-5)
    assert (logits - steered_by_hand(harness.model, tokens, {})).abs().max() > 0.1


def test_the_harnesss_file_holds_nothing_that_could_run(tmp_path: Path) -> None:
    to_lm_eval(two(), tmp_path / "v.pt", modules=module_names_of("llama", n_blocks=3))
    read = torch.load(tmp_path / "v.pt", weights_only=True)
    assert set(read) == {"layers.1", "layers.2"}


def test_a_site_that_is_no_modules_output_is_refused(tmp_path: Path) -> None:
    modules = module_names_of("llama", n_blocks=3)
    with pytest.raises(ConfigError, match=r"\['embed'\] are the output of no module"):
        to_lm_eval([make_vector(site="embed")], tmp_path / "v.pt", modules=modules)
    with pytest.raises(ConfigError, match=r"end in \.pt"):
        to_lm_eval(two(), tmp_path / "v.safetensors", modules=modules)
