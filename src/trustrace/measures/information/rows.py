"""The statements that information is measured on, and what is the same for every site and checkpoint, so that curves are paired."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from trustrace.core.draws import generator
from trustrace.core.errors import MeasurementError
from trustrace.core.intervals import cluster_weights, percentile_interval
from trustrace.core.measurements import Estimate
from trustrace.core.statements import Statements
from trustrace.measures.config import InformationConfig
from trustrace.measures.information.exchange import Exchange, block_permutations
from trustrace.measures.information.influence import Chosen, Columns
from trustrace.measures.information.kernels import LabelKernel

Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-np.inf, np.inf)
POSITIVE: Bounds = (0.0, np.inf)
SHARE: Bounds = (0.0, 1.0)
AT_MOST_ONE: Bounds = (-np.inf, 1.0)
COSINE: Bounds = (-1.0, 1.0)

FEWEST = 10
"""Statements below which no kernel measure means anything."""

UNDEFINED = "undefined: too few statements differ, or too few have a label"

FEW = 256
"""Statements from whom the sampling error of a costly measure is told: to some 5 % where no few of them dominate it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InformationRows:
    """Which statements, and how they are resampled and permuted.

    Attributes:
        taken: Among all statements.
        labellings: The labels, then permuted ones, a column each.
        directions: The same, centred and at unit length.
        label: The kernel of the labels.
        weights: How each bootstrap draw weighs the statements; a column sums to 1.
        groups: The unit of resampling, numbered.
        few: Some of the statements, in whole groups, from whom the sampling error of costly measures is told.
        exchange: The permutations behind the nulls.
    """

    taken: Bool[np.ndarray, " everything"]
    labellings: Int[np.ndarray, "statement labelling"]
    directions: Columns
    label: LabelKernel
    weights: Float64[Tensor, "statement draw"]
    groups: Int[np.ndarray, " statement"]
    few: Int[np.ndarray, " few"]
    exchange: Exchange

    def __len__(self) -> int:
        return len(self.labellings)

    @cached_property
    def n_labellings(self) -> int:
        """How many different labellings the permutations gave: where groups differ in size they may hardly move a label."""
        return len(np.unique(self.labellings[:, 1:], axis=1).T)

    @cached_property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(np.unique(self.groups))

    def some(self, chosen: Int[np.ndarray, " chosen"]) -> "InformationRows":
        """The same for some of the rows."""
        weights = self.weights[torch.from_numpy(chosen)]
        return replace(
            self,
            labellings=self.labellings[chosen],
            directions=self.directions[torch.from_numpy(chosen).to(self.directions.device)],
            weights=weights / weights.sum(dim=0),
            groups=self.groups[chosen],
        )

    def estimate(
        self, quantity: str, value: float, influence: Chosen, *, method: str, bounds: Bounds = UNBOUNDED, note: str = ""
    ) -> Estimate:
        """`value` with its 95 % interval; neither leaves the `bounds` of the measure. Replicates may: cut off, they would not be paired.

        Influences of all statements give replicates that are paired across checkpoints. Those of `few` are stretched as the error of a
        mean is, and give an interval only.
        """
        whole = len(influence) == len(self)
        moved = self.weights.T @ influence.cpu() if whole else self._from_few(influence.cpu())
        replicates = value + moved.numpy()
        lower, upper = np.clip(percentile_interval(replicates), *bounds) if self.n_groups > 1 else (np.nan, np.nan)
        return self.bare(
            quantity,
            float(np.clip(value, *bounds)),
            method=method,
            lower=float(lower),
            upper=float(upper),
            note=note,
            replicates=replicates if whole else None,
        )

    def _from_few(self, influence: Chosen) -> Float64[Tensor, " draw"]:
        weights = self.weights[torch.from_numpy(self.few)]
        stretch: float = (len(self.few) / len(self)) ** 0.5
        return torch.mv((weights / weights.sum(dim=0)).T, influence) * stretch

    def bare(self, quantity: str, value: float, *, method: str, note: str = "", **others: Any) -> Estimate:
        """`value` as a row of these statements; an undefined one says so."""
        said = note or (UNDEFINED if np.isnan(value) else "")
        return Estimate(
            quantity=quantity, method=method, value=value, n=len(self), n_groups=self.n_groups, note=said, **others
        )


def information_rows(
    statements: Statements, *, config: InformationConfig, seed: int, device: torch.device | str
) -> InformationRows:
    """The rows of `statements`; they depend on `seed`, labels and groups alone.

    Raises:
        MeasurementError: there are fewer than `FEWEST` statements, or those that are taken share a label.
    """
    most = len(statements) if config.max_statements is None else config.max_statements
    taken = _whole_groups(statements.groups, most, rng=generator(seed, "information", "rows"))
    labels = np.asarray(statements.labels)[taken]
    groups = tuple(np.asarray(statements.groups)[taken].tolist())
    _require_enough(statements, labels)
    drawn = block_permutations(labels, groups, draws=config.permutations, rng=generator(seed, "information", "null"))
    labellings = np.column_stack([labels, drawn])
    centred = torch.from_numpy(labellings).double()
    centred -= centred.mean(dim=0)
    counts = cluster_weights(
        groups, draws=config.bootstrap_draws, rng=generator(seed, "information", "bootstrap")
    ).T.astype(np.float64)
    return InformationRows(
        taken=taken,
        labellings=labellings,
        directions=(centred / centred.norm(dim=0)).to(device),
        label=LabelKernel.of(labels),
        weights=torch.from_numpy(counts / counts.sum(axis=0)),
        groups=np.unique(np.asarray(groups), return_inverse=True)[1],
        exchange=Exchange.of(groups, rng=generator(seed, "information", "orders"), device=device),
        few=np.flatnonzero(_whole_groups(groups, FEW, rng=generator(seed, "information", "few"))),
    )


def _require_enough(statements: Statements, labels: Int[np.ndarray, " taken"]) -> None:
    if len(labels) < FEWEST:
        raise MeasurementError(
            f"{statements.name}: {len(labels)} of {len(statements)} statements can be taken in whole groups; dependence needs at least "
            f"{FEWEST}: bring more, raise `max_statements`, or leave `information` out"
        )
    if labels.min() == labels.max():
        raise MeasurementError(
            f"{statements.name}: the {len(labels)} statements that are taken share the label {labels[0]}; raise `max_statements`"
        )


def _whole_groups(groups: Sequence[str], most: int, *, rng: np.random.Generator) -> Bool[np.ndarray, " row"]:
    """At most `most` rows: groups in random order, each taken whole where it still fits."""
    names, membership, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    kept, room = np.zeros(len(names), dtype=bool), most
    for group in rng.permutation(len(names)):
        if sizes[group] <= room:
            kept[group], room = True, room - sizes[group]
    return np.asarray(kept[membership])
