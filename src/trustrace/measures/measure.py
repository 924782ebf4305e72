"""From activations to the tidy table: every probing quantity at every site, one site in memory at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from trustrace.activations.store import Activations
from trustrace.core.draws import generator
from trustrace.core.errors import AlignmentError, MeasurementError
from trustrace.core.measurements import Estimate, Measurement, Protocol
from trustrace.core.statements import Statements
from trustrace.measures.config import InformationConfig, ProbingConfig
from trustrace.measures.controls import ControlTask, control_log_odds, control_task
from trustrace.measures.description_length import Portions, code_lengths, mixture_bits, portions
from trustrace.measures.folds import Fold, evaluation_pairs
from trustrace.measures.information.course import Course, course, require_memory
from trustrace.measures.information.inputs import FIRST_BLOCK, FixedInputs
from trustrace.measures.mean_probes import mass_mean_scores, mean_probe, whitened_mean_scores
from trustrace.measures.probing import FoldSpace, Probe, fold_spaces, logistic_probe
from trustrace.measures.published import (
    PUBLISHED_MATRICES,
    published_accuracy,
    published_information,
    published_smoother,
)
from trustrace.measures.scoring import Sample, Weights, correct, mean, scores, v_information
from trustrace.measures.spaces import require_finite

CHOSEN = "chosen"
"""Stands for a site in rows where each fold chose its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Design:
    """What is the same at every site and checkpoint, so that curves are paired.

    Attributes:
        pairs: The outer folds.
        tested: Rows that some fold tests, in order.
        sample: Those rows, as they are scored.
        controls: The control labellings.
        guesses: The log-odds of each scored row's label by the label rate of the rows that train its probe.
        order: The portions of the description length.
        sent: The rows of those portions, as they are scored.
    """

    labels: Int[np.ndarray, " statement"]
    pairs: tuple[Fold, ...]
    tested: Bool[np.ndarray, " statement"]
    sample: Sample
    controls: ControlTask
    guesses: Float64[np.ndarray, " tested"]
    order: Portions
    sent: Sample


def measure(
    activations: Activations,
    statements: Statements,
    *,
    config: ProbingConfig,
    protocol: Protocol,
    seed: int,
    information: InformationConfig | None = None,
    inputs: FixedInputs | None = None,
    sites: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
) -> list[Measurement]:
    """Probe `activations` for the labels of `statements`, and measure what they keep of input and label.

    Under ``rigorous``, per site: ``accuracy``, ``auroc``, ``log_loss`` (nats), ``ece`` and ``information_bound`` (nats) of the methods
    ``logistic``, ``mass_mean`` and ``whitened_mean``, out of fold; of ``logistic`` also ``selection_log_loss`` (nats, from inner folds of
    training rows: the number by which a site may be chosen), the control task's ``accuracy`` (role ``control``), ``selectivity``, ``mdl``
    (bits per statement) and ``compression``. With several sites, the scores of ``logistic`` come once more at the site
    ``chosen``: each fold at the site that its own training rows prefer. With `information`, per site also ``I(T;X)`` and its like (see
    :mod:`trustrace.measures.information`). Under ``published``, per site: ``accuracy``, and with `information` the scripts' two numbers.

    Args:
        activations: One row per statement, in the order of `statements`.
        statements: Texts, labels, groups and splits.
        config: How probes are fitted.
        protocol: Which conventions are followed.
        seed: Of folds, control labels, portions and bootstrap.
        information: How dependence on input and label is measured; None leaves it out.
        inputs: What the statements are to no model; by default the words of the texts.
        sites: Which sites; all of them by default.
        device: Where the linear algebra runs.

    Returns:
        Rows in order of site. The same arguments on the same machine give the same bits.

    Raises:
        AlignmentError: the number of activations is not the number of statements.
        MeasurementError: a site or protocol is unknown, a value is not finite, or labels and groups do not allow the folds.
    """
    wanted = _select(activations, sites)
    _require_same_statements(activations, statements)
    _require_both_labels(statements)
    if protocol == "published":
        estimates = _published_sites(activations, wanted, statements, informed=information is not None, device=device)
    elif protocol == "rigorous":
        design = _design(statements, config=config, seed=seed)
        shared = (
            course(activations, statements, inputs=inputs, config=information, seed=seed, device=device)
            if information
            else None
        )
        estimates = _rigorous_sites(activations, wanted, statements, design, shared, config=config, device=device)
    else:
        raise MeasurementError(f"unknown protocol {protocol!r}; protocols are 'rigorous' and 'published'")
    return [
        Measurement.of(
            estimate,
            dataset=statements.name,
            protocol=protocol,
            seed=seed,
            checkpoint=activations.checkpoint,
            site=site,
            position=activations.position,
        )
        for site, estimate in estimates
    ]


def _rigorous_sites(
    activations: Activations,
    sites: Sequence[str],
    statements: Statements,
    design: _Design,
    shared: Course | None,
    *,
    config: ProbingConfig,
    device: torch.device | str,
) -> Iterator[tuple[str, Estimate]]:
    """Every site's estimates, then those of the sites that folds choose."""
    probes: dict[str, Probe] = {}
    for site in sites:
        with _naming(activations, statements, site):
            found, probes[site] = _rigorous(_values(activations, site, device), design, shared, config=config)
        yield from ((site, estimate) for estimate in found)
    if len(probes) > 1:
        yield from ((CHOSEN, estimate) for estimate in _chosen(probes, design))


def _published_sites(
    activations: Activations,
    sites: Sequence[str],
    statements: Statements,
    *,
    informed: bool,
    device: torch.device | str,
) -> Iterator[tuple[str, Estimate]]:
    """The scripts' accuracy and, where asked for, their two dependences."""
    labels = np.asarray(statements.labels)
    if informed:
        require_memory(PUBLISHED_MATRICES * len(labels) ** 2 * 8, n=len(labels), device=torch.device(device))
    has_first = informed and FIRST_BLOCK in activations.sites
    first = published_smoother(_values(activations, FIRST_BLOCK, device)) if has_first else None
    for site in sites:
        with _naming(activations, statements, site):
            values = _values(activations, site, device)
            yield site, published_accuracy(values, labels, groups=statements.groups)
            if informed:
                own = first if site == FIRST_BLOCK else published_smoother(values)
                for estimate in published_information(own, first, labels, groups=statements.groups):
                    yield site, estimate


def _values(activations: Activations, site: str, device: torch.device | str) -> Tensor:
    values = activations.values(site).to(device)
    require_finite(values)
    return values


@contextmanager
def _naming(activations: Activations, statements: Statements, site: str) -> Iterator[None]:
    """Say where it was that a number could not be computed."""
    try:
        yield
    except MeasurementError as error:
        raise MeasurementError(f"{statements.name} at {site} of {activations.checkpoint.key}: {error}") from error


def _require_same_statements(activations: Activations, statements: Statements) -> None:
    if len(activations) != len(statements):
        raise AlignmentError(
            f"{statements.name}: {len(statements)} statements but {len(activations)} activations of {activations.checkpoint.key}; "
            "both must come from the same rows in the same order: capture again"
        )
    if activations.fingerprint not in ("", statements.texts_fingerprint):
        raise AlignmentError(
            f"{activations.path} was captured from other statements than {statements.name}, or from the same in another order; "
            "measure it against the file it was captured from, or capture again"
        )


def _select(activations: Activations, sites: Sequence[str] | None) -> Sequence[str]:
    unknown = [site for site in sites or () if site not in activations.sites]
    if unknown:
        raise MeasurementError(
            f"sites {unknown} were not captured from {activations.checkpoint.key}; there are {', '.join(activations.sites)}"
        )
    return activations.sites if sites is None else sites


def _require_both_labels(statements: Statements) -> None:
    if len(set(statements.labels)) < 2:
        raise MeasurementError(
            f"{statements.name}: all {len(statements)} labels are {statements.labels[0]}; a probe needs statements of both kinds"
        )


def _design(statements: Statements, *, config: ProbingConfig, seed: int) -> _Design:
    labels = np.asarray(statements.labels)
    groups = np.asarray(statements.groups)
    pairs = tuple(evaluation_pairs(statements, folds=config.folds, seed=seed))
    tested = np.any([pair.test for pair in pairs], axis=0)
    # Where the split carries meaning, its test rows belong to the probes alone.
    sent = np.ones_like(tested) if statements.scheme == "folds" else pairs[0].train
    controls = control_task(
        statements.texts,
        statements.groups,
        statements.labels,
        pairs,
        draws=config.control_draws,
        rng=generator(seed, "control"),
    )

    def sample(rows: Bool[np.ndarray, " statement"]) -> Sample:
        return Sample.of(labels[rows], tuple(groups[rows].tolist()), draws=config.bootstrap_draws, seed=seed)

    scored = sample(tested)
    return _Design(
        labels=labels,
        pairs=pairs,
        tested=tested,
        sample=scored,
        controls=controls,
        guesses=_guesses(labels, pairs)[tested],
        order=portions(statements.groups, rows=sent, rng=generator(seed, "portions")),
        sent=scored if (sent == tested).all() else sample(sent),
    )


def _guesses(labels: Int[np.ndarray, " statement"], pairs: Sequence[Fold]) -> Float64[np.ndarray, " statement"]:
    """The log-odds of label 1 that the training rows of each fold give its test rows."""
    guesses = np.full(len(labels), np.nan)
    for pair in pairs:
        rate = labels[pair.train].mean()
        guesses[pair.test] = np.log(rate / (1 - rate))
    return guesses


def _rigorous(
    values: Tensor, design: _Design, shared: Course | None, *, config: ProbingConfig
) -> tuple[list[Estimate], Probe]:
    """Every estimate at one site, and its logistic probe."""
    spaces = fold_spaces(values, design.pairs, features=config.features)
    labels = torch.from_numpy(design.labels).double().to(values.device)
    constant = all(part.space.is_constant for part in spaces)
    note = "activations do not differ between statements; the probe knows the label rate alone" if constant else ""
    probe = logistic_probe(spaces, labels, design.pairs, regularisers=config.regularisers)
    estimates = scores(design.sample, probe.log_odds[design.tested], method="logistic", note=note)
    estimates.append(
        v_information(design.sample, probe.log_odds[design.tested], design.guesses, method="logistic", note=note)
    )
    estimates.append(_selection(probe, design))
    for method, direction in (("mass_mean", mass_mean_scores), ("whitened_mean", whitened_mean_scores)):
        log_odds = mean_probe(direction, spaces, labels, design.pairs, regularisers=probe.regularisers)
        estimates += scores(design.sample, log_odds[design.tested], method=method, note=note)
    estimates += _control(spaces, probe, design, note=note)
    estimates += _description(values, spaces, labels, design, config=config)
    return estimates + (shared.at(values, spaces, features=config.features) if shared else []), probe


def _chosen(probes: Mapping[str, Probe], design: _Design) -> list[Estimate]:
    """The logistic probe with the site chosen too: each outer fold is scored at the site whose loss inside its own training rows is lowest.

    The best of several sites, chosen by a loss averaged over all folds, would have been chosen on rows that score it.
    """
    losses = np.array([probe.inner_losses for probe in probes.values()])
    names = [list(probes)[site] for site in losses.argmin(axis=0)]
    log_odds = np.full(len(design.labels), np.nan)
    for pair, name in zip(design.pairs, names, strict=True):
        log_odds[pair.test] = probes[name].log_odds[pair.test]
    counts = ", ".join(f"{name} ({times} of {len(names)} folds)" for name, times in Counter(names).items())
    return scores(design.sample, log_odds[design.tested], method="logistic", note=f"site chosen: {counts}")


def _selection(probe: Probe, design: _Design) -> Estimate:
    chosen = ", ".join(
        f"{c:g} ({times} of {len(design.pairs)} folds)" for c, times in Counter(probe.regularisers).items()
    )
    rows = np.any([pair.train for pair in design.pairs], axis=0)
    return Estimate(
        quantity="selection_log_loss",
        method="logistic",
        value=float(np.mean(probe.inner_losses)),
        n=int(rows.sum()),
        n_groups=design.sent.n_groups,
        note=f"C chosen: {chosen}",
    )


def _control(spaces: Sequence[FoldSpace], probe: Probe, design: _Design, *, note: str) -> list[Estimate]:
    """The accuracy of the control labellings, averaged over draws, and selectivity."""
    task, sample = design.controls, design.sample
    if task.labels.shape[1] == 0:
        note = "no control labelling gives both labels to every training set; more groups or word types are needed"
        return [
            _undefined("accuracy", sample, role_is_control=True, note=note),
            _undefined("selectivity", sample, note=note),
        ]
    log_odds = control_log_odds(spaces, task, design.pairs, regularisers=probe.regularisers)
    hits = [
        correct(labels[design.tested].astype(np.int64), predicted[design.tested])
        for labels, predicted in zip(task.labels.T, log_odds.T, strict=True)
    ]
    memorised = np.mean(hits, axis=0)
    gained = correct(sample.labels, probe.log_odds[design.tested]) - memorised
    return [
        sample.estimate(
            "accuracy", lambda w: mean(memorised, w), method="logistic", role="control", note=note or task.note
        ),
        sample.estimate("selectivity", lambda w: mean(gained, w), method="logistic", note=note or task.note),
    ]


def _description(
    values: Tensor, spaces: Sequence[FoldSpace], labels: Tensor, design: _Design, *, config: ProbingConfig
) -> list[Estimate]:
    """Prequential code length, and how many times shorter it is than one bit per label."""
    bits = code_lengths(
        values, spaces, labels, design.order, regularisers=config.regularisers, features=config.features
    )
    sent = bits[~np.isnan(bits[:, 0])]

    def per_statement(weights: Weights) -> np.ndarray:
        return mixture_bits(sent, weights)

    return [
        design.sent.estimate("mdl", per_statement, method="logistic"),
        design.sent.estimate("compression", lambda w: 1 / per_statement(w), method="logistic"),
    ]


def _undefined(quantity: str, sample: Sample, *, note: str, role_is_control: bool = False) -> Estimate:
    return Estimate(
        quantity=quantity,
        method="logistic",
        value=np.nan,
        n=len(sample),
        n_groups=sample.n_groups,
        role="control" if role_is_control else "measured",
        note=note,
    )
