"""A number that knows what it is: one row of the tidy table."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from jaxtyping import Float
from numpy import ndarray

from trustrace.core.checkpoints import Checkpoint

Protocol = Literal["rigorous", "published"]
"""``rigorous``: grouped folds, training-only statistics, intervals, floors. ``published``: the conventions of the paper's scripts."""

Role = Literal["measured", "floor", "control", "null", "ceiling"]
"""``floor``: what is reached without a trained model. ``control``: what a probe reaches on labels that mean nothing, or a measure of
dependence on noise of the same size. ``null``: what permuted rows give. ``ceiling``: the most that a measure can reach."""


Replicates = Float[ndarray, " draw"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its interval, before it is known which model and dataset it belongs to.

    Attributes:
        quantity: What it is (``accuracy``, ``auroc``, ``log_loss``, ``ece``, ``selectivity``, ``mdl`` ...).
        method: What produced it (``logistic``, ``mass_mean``, ``whitened_mean``, ``word_ngrams`` ...).
        value: The number; NaN where it is undefined, and then `note` says why.
        lower: Lower end of the 95 % interval; NaN where there is none.
        upper: Upper end of the 95 % interval.
        n: Rows that were scored.
        n_groups: Groups among them: the unit of resampling.
        role: Measured, floor or control.
        note: What a reader must know about this one number; mostly empty.
        replicates: The bootstrap draws behind the interval, where a curve over checkpoints needs them; no column of the table.
    """

    quantity: str
    method: str
    value: float
    lower: float = math.nan
    upper: float = math.nan
    n: int
    n_groups: int
    role: Role = "measured"
    note: str = ""
    replicates: Replicates | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row of the tidy table, the only thing that reaches a report.

    An :class:`Estimate` and where it was taken. `checkpoint`, `site` and `position` are empty where a number needs no model (floors from
    the text alone); `tokens_seen` and `step` are None where unknown. `vector` and `alpha` name what the model was steered with, at `site`
    and over the tokens of `position`; they are empty and 0 where it was not.
    """

    quantity: str
    method: str
    value: float
    lower: float
    upper: float
    n: int
    n_groups: int
    role: Role
    note: str
    dataset: str
    checkpoint: str
    step: int | None
    tokens_seen: int | None
    site: str
    position: str
    protocol: Protocol
    seed: int
    vector: str = ""
    alpha: float = 0.0

    @classmethod
    def of(
        cls,
        estimate: Estimate,
        *,
        dataset: str,
        protocol: Protocol,
        seed: int,
        checkpoint: Checkpoint | None = None,
        site: str = "",
        position: str = "",
        vector: str = "",
        alpha: float = 0.0,
    ) -> "Measurement":
        """`estimate`, taken on `dataset` at `site` of `checkpoint`; with its replicates where it has some."""
        row = cls(
            **{one.name: getattr(estimate, one.name) for one in fields(Estimate) if one.name != "replicates"},
            dataset=dataset,
            checkpoint=checkpoint.key if checkpoint else "",
            step=checkpoint.step if checkpoint else None,
            tokens_seen=checkpoint.tokens_seen if checkpoint else None,
            site=site,
            position=position,
            protocol=protocol,
            seed=seed,
            vector=vector,
            alpha=alpha,
        )
        if estimate.replicates is None:
            return row
        return ReplicatedMeasurement(**vars(row), replicates=estimate.replicates)


@dataclass(frozen=True, kw_only=True)
class ReplicatedMeasurement(Measurement):
    """A row with the bootstrap draws behind its interval, by which curves over checkpoints are judged; they are no column of the table."""

    replicates: Replicates = field(compare=False, repr=False)
