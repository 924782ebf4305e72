"""A model is changed from inside while a block of code runs: one version of it, or several as rows of one batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from trustrace.core.errors import ConfigError, ModelError
from trustrace.core.sites import Site, select_sites
from trustrace.interventions.edits import Edit, Layer, moved
from trustrace.interventions.passes import Watcher
from trustrace.interventions.positions import Positions
from trustrace.models.anatomy import Change, changing
from trustrace.models.language_model import LanguageModel, strictest

Residual = Float[Tensor, "row token d_model"]


class Intervention(Protocol):
    """Whatever changes a model for a while."""

    def on(self, model: LanguageModel) -> "Iterator[LanguageModel]":
        """A context in which the model is changed, and yielded as it then is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Steering:
    """Edits of the residual stream.

    >>> with Steering.of([add("block_3", displacement, alpha=2.0)]).on(model) as steered:
    ...     generate(steered, prompts, decoding=Decoding(max_new_tokens=50))

    Attributes:
        versions: The edits of each version of the model; a version without edits is the plain model. Edits at one site act in turn.
        positions: Which tokens they act on.
    """

    versions: tuple[tuple[Edit, ...], ...]
    positions: Positions = field(default_factory=Positions)

    @classmethod
    def of(cls, edits: Sequence[Edit], *, positions: Positions | None = None) -> "Steering":
        """One version of the model, with all of `edits`."""
        return cls(versions=(tuple(edits),), positions=positions or Positions())

    def __post_init__(self) -> None:
        if not self.versions:
            raise ConfigError("no versions to steer; give at least one, if without edits")

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """While open, forward passes of `model` are those of its versions; it is as it was afterwards, however the body ends.

        Interventions nest; at most one of them may have several versions.

        Raises:
            ConfigError: a site is not in the model.
            ModelError: a vector is of another width, or the model holds several versions already.
        """
        if model.variants > 1 and len(self.versions) > 1:
            raise ModelError(
                f"{model.checkpoint.key} holds {model.variants} versions already; put all versions into one intervention"
            )
        watcher = Watcher(model, self.positions, versions=len(self.versions))
        changes = {site: _change(layers, watcher) for site, layers in self._layers(model).items()}
        with watcher.at_work(), changing(model.anatomy, changes):
            yield replace(
                model,
                variants=max(model.variants, len(self.versions)),
                sharing=strictest(model.sharing, self.positions.sharing),
            )

    def _layers(self, model: LanguageModel) -> dict[Site, list[Layer]]:
        """At each site the first edit of every version, then the second, and so on."""
        edits = [edit for version in self.versions for edit in version]
        for edit in edits:
            if len(edit.direction) != model.d_model:
                raise ModelError(
                    f"the vector for {edit.site} has {len(edit.direction)} entries, but {model.checkpoint.key} has width {model.d_model}; "
                    "a vector fits models of its own width only"
                )
        sites = select_sites([edit.site for edit in edits], n_blocks=model.n_blocks) if edits else ()
        return {site: list(self._stack(site, model)) for site in sites}

    def _stack(self, site: Site, model: LanguageModel) -> Iterator[Layer]:
        here = [[edit for edit in version if edit.site == site.name] for version in self.versions]
        for turn in range(max(map(len, here))):
            edits = [own[turn] if turn < len(own) else None for own in here]
            yield Layer.of(edits, d_model=model.d_model, device=model.device)


def _change(layers: Sequence[Layer], watcher: Watcher) -> Change:
    def change(residual: Residual) -> Residual | None:
        chosen = watcher.chosen()
        if chosen is None:
            return None
        for layer in layers:
            residual = moved(residual, layer.displacement(residual, chosen.variants), chosen.tokens)
        return residual

    return change
