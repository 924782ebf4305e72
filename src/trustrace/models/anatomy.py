"""Where the residual stream of a decoder can be read, found by structure and by running it, never by the name of its family."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from trustrace.core.errors import ModelError
from trustrace.core.sites import Site, sites_of

Residual = Float[Tensor, "statement token d_model"]
Observer = Callable[[Site, Residual], None]
"""Told of the residual stream at a site, once a forward pass."""
Change = Callable[[Residual], Residual | None]
"""What the residual stream at a site becomes; None leaves it as it is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """The parts of a decoder that the residual stream passes.

    Attributes:
        decoder: The model without its vocabulary head; running it alone computes no logits.
        blocks: Its blocks, in order.
        final_norm: What is applied after the last block, and gives ``last_hidden_state``.
    """

    decoder: PreTrainedModel
    blocks: nn.ModuleList
    final_norm: nn.Module


def find(module: PreTrainedModel) -> Anatomy:
    """The anatomy of a causal language model of any architecture.

    The blocks are the one list of modules in the decoder that is as long as the configuration says. The final norm is whatever
    receives the last block's output and returns the decoder's, which one forward pass of one token shows.

    Raises:
        ModelError: the model has no such list, several of them, or nothing between its last block and its output.
    """
    decoder = module.get_decoder()
    blocks = _blocks(decoder)
    return Anatomy(decoder=decoder, blocks=blocks, final_norm=_final_norm(decoder, blocks))


@contextmanager
def watching(anatomy: Anatomy, sites: Sequence[Site], observe: Observer) -> Iterator[None]:
    """While open, every forward pass of the decoder tells `observe` of the residual stream at `sites`, in order of depth.

    What is observed is the live tensor: it must not be changed in place.

    Raises:
        ModelError: a site lies beyond this decoder's blocks.
    """
    with ExitStack() as hooks:
        for site in sites:
            hooks.callback(_watch(anatomy, site, observe).remove)
        yield


@contextmanager
def changing(anatomy: Anatomy, changes: Mapping[Site, Change]) -> Iterator[None]:
    """While open, the residual stream at each of the sites goes on as its change has it.

    Raises:
        ModelError: a site lies beyond this decoder's blocks.
    """
    with ExitStack() as hooks:
        for site, change in changes.items():
            hooks.callback(_change(anatomy, site, change).remove)
        yield


def residual_out(output: Any) -> Residual:
    """The residual stream in what a block returns: the tensor itself, or the first entry of a tuple, as BLOOM, MPT and Falcon have it."""
    return output if isinstance(output, Tensor) else output[0]


def _blocks(decoder: PreTrainedModel) -> nn.ModuleList:
    n_blocks = decoder.config.get_text_config().num_hidden_layers
    lists = {name: child for name, child in decoder.named_children() if isinstance(child, nn.ModuleList)}
    fitting = [child for child in lists.values() if len(child) == n_blocks]
    if len(fitting) != 1 or not n_blocks:
        lengths = {name: len(child) for name, child in lists.items()}
        raise ModelError(
            f"{type(decoder).__name__}: {len(fitting)} lists of {n_blocks} blocks among {lengths}; "
            "a decoder needs exactly one list as long as its configuration's num_hidden_layers"
        )
    return fitting[0]


def _final_norm(decoder: PreTrainedModel, blocks: nn.ModuleList) -> nn.Module:
    """The child that turns the last block's output into the decoder's output, seen at work on one token."""
    passed: list[tuple[nn.Module, Any, Any]] = []

    def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        passed.append((module, args[0] if args else None, output))

    children = [child for child in decoder.children() if child is not blocks]
    with ExitStack() as hooks:
        for module in [blocks[-1], *children]:
            hooks.callback(module.register_forward_hook(note).remove)
        final = _output_of_one_token(decoder)
    residual = next(residual_out(output) for module, _, output in passed if module is blocks[-1])
    for module, given, returned in passed:
        if module is not blocks[-1] and _same(given, residual) and _same(returned, final):
            return module
    raise ModelError(
        f"{type(decoder).__name__}: no module takes the last block's output to last_hidden_state; "
        "only decoders with one final norm after their blocks can be traced"
    )


def _output_of_one_token(decoder: PreTrainedModel) -> Tensor:
    token = torch.zeros(1, 1, dtype=torch.long, device=decoder.device)
    try:
        with torch.no_grad():
            final: Tensor = decoder(input_ids=token, use_cache=False).last_hidden_state
    # A configuration whose numbers contradict each other makes modules that do not fit each other, and fails in any way.
    except Exception as error:
        raise ModelError(
            f"{type(decoder).__name__} cannot compute one token ({type(error).__name__}: {str(error)[:200]}); its configuration "
            "contradicts itself, or this version of transformers cannot run it"
        ) from error
    return final


def _same(one: Any, other: Tensor) -> bool:
    """Equal in every entry, NaN to NaN: whether a model computes numbers is not the question here."""
    if not isinstance(one, Tensor) or one.numel() != other.numel():
        return False
    return torch.equal(one.reshape(other.shape).to(other.device).nan_to_num(), other.nan_to_num())


def _watch(anatomy: Anatomy, site: Site, observe: Observer) -> RemovableHandle:
    place = _module_at(anatomy, site)
    if site.name == "embed":
        return place.register_forward_pre_hook(
            lambda module, args, kwargs: observe(site, _residual_in(args, kwargs)), with_kwargs=True
        )
    return place.register_forward_hook(lambda module, args, output: observe(site, residual_out(output)))


def _change(anatomy: Anatomy, site: Site, change: Change) -> RemovableHandle:
    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        changed = change(_residual_in(args, kwargs))
        if changed is None:
            return None
        return ((changed, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": changed})

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        changed = change(residual_out(output))
        if changed is None or isinstance(output, Tensor):
            return changed
        return (changed, *output[1:])

    place = _module_at(anatomy, site)
    if site.name == "embed":
        return place.register_forward_pre_hook(before, with_kwargs=True)
    return place.register_forward_hook(after)


def _residual_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Residual:
    """What a block is given."""
    given: Residual = args[0] if args else kwargs["hidden_states"]
    return given


def _module_at(anatomy: Anatomy, site: Site) -> nn.Module:
    """What returns the residual stream at `site`; for ``embed``, the block that is given it."""
    if site not in sites_of(len(anatomy.blocks)):
        raise ModelError(f"{site} is not in {type(anatomy.decoder).__name__}, which has {len(anatomy.blocks)} blocks")
    if site.name == "embed":
        return anatomy.blocks[0]
    return anatomy.final_norm if site.name == "final_norm" else anatomy.blocks[site.depth - 1]
