"""Views of one set of statements: what several checkpoints, or several sites, make of the same rows."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from trustrace.activations.store import Activations
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import AlignmentError
from trustrace.core.statements import Statements
from trustrace.measures.config import ProbingConfig
from trustrace.measures.folds import Fold, evaluation_pairs
from trustrace.measures.scoring import Sample


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One checkpoint's activations at one site, read when they are needed and let go afterwards.

    Attributes:
        name: The checkpoint's key, or the site where views of one checkpoint are compared.
        checkpoint: The model.
        site: Where in it.
        read: Brings the activations, one row per statement.
    """

    name: str
    checkpoint: Checkpoint
    site: str
    read: Callable[[], Float[Tensor, "statement d_model"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """What is the same in every view, so that all comparisons are paired.

    Attributes:
        dataset: The statements' name.
        labels: 0 or 1 each.
        groups: The group of each row.
        pairs: The outer folds, as every other measurement of these statements has them.
        tested: Rows that some fold tests.
        sample: Those rows, as they are scored.
        seed: Of everything that is drawn.
    """

    dataset: str
    labels: Int[np.ndarray, " statement"]
    groups: tuple[str, ...]
    pairs: tuple[Fold, ...]
    tested: Bool[np.ndarray, " statement"]
    sample: Sample
    seed: int

    @classmethod
    def of(cls, statements: Statements, *, config: ProbingConfig, seed: int) -> "Design":
        """The folds and bootstrap samples of `statements`, equal to those of :func:`trustrace.measures.measure.measure`.

        Raises:
            MeasurementError: labels and groups do not allow the folds.
        """
        labels = np.asarray(statements.labels)
        pairs = tuple(evaluation_pairs(statements, folds=config.folds, seed=seed))
        tested = np.asarray(np.any([pair.test for pair in pairs], axis=0))
        groups = tuple(np.asarray(statements.groups)[tested].tolist())
        return cls(
            dataset=statements.name,
            labels=labels,
            groups=statements.groups,
            pairs=pairs,
            tested=tested,
            sample=Sample.of(labels[tested], groups, draws=config.bootstrap_draws, seed=seed),
            seed=seed,
        )

    @property
    def tested_groups(self) -> tuple[str, ...]:
        """The group of each tested row."""
        return tuple(np.asarray(self.groups)[self.tested].tolist())

    def targets(self, device: torch.device) -> Float64[Tensor, " statement"]:
        """The labels as a probe is fitted to them."""
        return torch.from_numpy(self.labels).double().to(device)


def checkpoint_views(
    series: Sequence[Activations], site: str, *, device: torch.device | str = "cpu"
) -> tuple[View, ...]:
    """The views of one site at every checkpoint of `series`, in its order.

    Raises:
        AlignmentError: two checkpoints have one name, the widths differ, or the checkpoints are not in the order of training.
    """
    require_a_course([one.checkpoint for one in series], widths={one.d_model for one in series})
    return tuple(
        View(name=one.checkpoint.key, checkpoint=one.checkpoint, site=site, read=partial(_read, one, site, device))
        for one in series
    )


def site_views(
    activations: Activations, sites: Sequence[str], *, device: torch.device | str = "cpu"
) -> tuple[View, ...]:
    """The views of one checkpoint at several `sites`, in the order given."""
    return tuple(
        View(name=site, checkpoint=activations.checkpoint, site=site, read=partial(_read, activations, site, device))
        for site in sites
    )


def require_same_statements(series: Sequence[Activations], statements: Statements) -> None:
    """Raise unless every one of `series` was captured from `statements`.

    Raises:
        AlignmentError: naming the first that was not.
    """
    for one in series:
        if len(one) != len(statements) or one.fingerprint not in ("", statements.texts_fingerprint):
            raise AlignmentError(
                f"{one.path} holds {len(one)} rows of other statements than the {len(statements)} of {statements.name}; "
                "checkpoints are compared on the same rows in the same order: capture it again"
            )


def _read(activations: Activations, site: str, device: torch.device | str) -> Float[Tensor, "statement d_model"]:
    return activations.values(site).to(device)


def require_a_course(checkpoints: Sequence[Checkpoint], *, widths: Collection[int]) -> None:
    """Raise unless these are one model's checkpoints, each once, in the order of training.

    Raises:
        AlignmentError: two checkpoints have one name, the widths differ, or the checkpoints are not in the order of training.
    """
    keys = [one.key for one in checkpoints]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise AlignmentError(f"checkpoint {twice[0]} occurs {keys.count(twice[0])} times; give each checkpoint once")
    if len(set(widths)) > 1:
        raise AlignmentError(
            f"activations of widths {sorted(set(widths))}; a probe of one model does not read another: give one model's checkpoints"
        )
    if list(checkpoints) != sorted(checkpoints):
        raise AlignmentError(
            f"checkpoints {', '.join(keys[:6])} ... are not in the order of training; sort them by tokens seen"
        )
