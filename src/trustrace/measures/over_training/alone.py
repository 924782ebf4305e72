"""What one checkpoint says by itself: all that its course over training needs once its activations have gone.

Two checkpoints can be compared with each other only while the activations of both are at hand. The course of a number over training takes
far less: what each checkpoint's own probe says of every statement, and how much noise would sway it.
"""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from trustrace.activations.store import Activations
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import IntegrityError
from trustrace.measures.config import ProbingConfig
from trustrace.measures.over_training.fragility import margins_and_spreads
from trustrace.measures.over_training.linear import fit
from trustrace.measures.over_training.views import Design, site_views


@dataclass(frozen=True, kw_only=True, eq=False)
class Alone:
    """What the logistic probes of one checkpoint, one a site, say of the tested statements.

    Attributes:
        checkpoint: The model.
        sites: Where it was read, in order of depth.
        d_model: The width of what was read.
        log_odds: Of label 1, from the fold that tests the statement.
        spread: The deviation that noise of one unit gives each of them (:mod:`.fragility`).
        digest: Of the activations at the last site; equal where those of two checkpoints are.
    """

    checkpoint: Checkpoint
    sites: tuple[str, ...]
    d_model: int
    log_odds: Float64[np.ndarray, "site tested"]
    spread: Float64[np.ndarray, "site tested"]
    digest: str

    @classmethod
    def of(
        cls, activations: Activations, design: Design, *, config: ProbingConfig, device: torch.device | str = "cpu"
    ) -> "Alone":
        """What `activations` say, the probes fitted as where they are compared with others.

        Raises:
            MeasurementError: a value is not finite.
        """
        said = []
        for view in site_views(activations, activations.sites, device=device):
            probes = fit(view, design, config=config, methods=("logistic",))["logistic"]
            said.append(margins_and_spreads(view, probes, design, config=config))
        return cls(
            checkpoint=activations.checkpoint,
            sites=activations.sites,
            d_model=activations.d_model,
            log_odds=np.stack([log_odds for log_odds, _ in said]),
            spread=np.stack([spread for _, spread in said]),
            digest=digest(activations, activations.sites[-1]),
        )

    def to_bytes(self) -> bytes:
        """As a file, which does not say of which checkpoint it is."""
        file = io.BytesIO()
        np.savez(
            file,
            sites=np.array(self.sites),
            d_model=np.array(self.d_model),
            log_odds=self.log_odds,
            spread=self.spread,
            digest=np.array(self.digest),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, checkpoint: Checkpoint) -> "Alone":
        """What :meth:`to_bytes` wrote of `checkpoint`.

        Raises:
            IntegrityError: it is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as held:
                sites, log_odds, spread = tuple(map(str, held["sites"])), held["log_odds"], held["spread"]
                if log_odds.shape != spread.shape or log_odds.shape[:1] != (len(sites),) or log_odds.ndim != 2:
                    raise ValueError(
                        f"{len(sites)} sites, and predictions of shape {log_odds.shape} and {spread.shape}"
                    )
                return cls(
                    checkpoint=checkpoint,
                    sites=sites,
                    d_model=int(held["d_model"]),
                    log_odds=log_odds,
                    spread=spread,
                    digest=str(held["digest"]),
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"what was kept of {checkpoint.key} is damaged ({error}); compare again") from error


Member = Activations | Alone
"""A checkpoint of a series: with its activations, or what it said while they were there."""


def digest(one: Member, site: str) -> str:
    """What tells the activations of one checkpoint at `site` from those of others; its own name where they are gone and were not asked."""
    if isinstance(one, Alone):
        return one.digest if one.sites[-1] == site else one.checkpoint.key
    return hashlib.sha256(one.values(site).numpy().tobytes()).hexdigest()


def at_hand(series: Sequence[Member]) -> list[int]:
    """The places of the checkpoints whose activations are there."""
    return [place for place, one in enumerate(series) if isinstance(one, Activations)]
