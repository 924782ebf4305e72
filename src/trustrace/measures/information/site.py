"""Every measure of dependence at one site: on the inputs, on the label, and the spectrum that all of them rest on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64

from trustrace.core.draws import generator
from trustrace.core.measurements import Estimate
from trustrace.measures.config import InformationConfig, Width
from trustrace.measures.information import kernel_pairs, label_pairs
from trustrace.measures.information.exchange import block_permutations
from trustrace.measures.information.influence import SmootherInfluence
from trustrace.measures.information.kernels import Square
from trustrace.measures.information.neighbours import PointPairs, label_contributions, parted
from trustrace.measures.information.operators import inner
from trustrace.measures.information.rows import InformationRows
from trustrace.measures.information.spectrum import Spectrum, effective_rank, participation_ratio, spectral_decay
from trustrace.measures.information.variables import Variable
from trustrace.measures.spaces import symmetric_product

MOST_POINTS = 500
"""Statements that the nearest-neighbour estimate of I(T; X) sees: it looks at all their pairs once for each permutation."""

MOST_EIGENVALUES = 1000
"""Statements whose spectrum is told: eigenvectors cost ten times what a smoother does."""

PERMUTATIONS = 39
"""Of the nearest-neighbour estimate of I(T; X)."""


def site_information(
    gram: Square, inputs: Mapping[str, Variable], rows: InformationRows, *, config: InformationConfig
) -> list[Estimate]:
    """Everything about one representation.

    Args:
        gram: Inner products of the representation's features on the taken rows.
        inputs: What it is compared with, by the name of the quantity.
        rows: The statements.
        config: How it is measured.
    """
    t = Variable.of_features(gram)
    if t.is_constant:
        note = "the representation does not differ between statements"
        undefined = _undefined([*inputs, label_pairs.QUANTITY], rows, config=config, note=note)
        return [*undefined, rows.bare("effective_rank", float("nan"), method="spectrum", note=note)]
    varying = {name: x for name, x in inputs.items() if not x.is_constant}
    constant = [name for name in inputs if name not in varying]
    estimates = list(_undefined(constant, rows, config=config, note="the input does not differ between statements"))
    for place, width in enumerate(config.widths):
        smoothed, method = t.smoother(width, ridge=config.ridge), method_of(width)
        kept = {name: x.kept_smoother(width, ridge=config.ridge) for name, x in varying.items()}
        # The first width's course over training is judged, so it needs replicates; the others show how much hangs on the width.
        influences = SmootherInfluence(None if place == 0 else torch.from_numpy(rows.few).to(gram.device))
        estimates += kernel_pairs.smoother_rows(kept, smoothed, rows, influences=influences, method=method)
        estimates += label_pairs.smoother_rows(smoothed, rows, ridge=config.ridge, method=method)
    estimates += kernel_pairs.kernel_rows(varying, t, rows)
    estimates += label_pairs.kernel_rows(t, rows)
    if config.components is not None:
        estimates += _neighbour_rows(t, varying, rows, components=config.components)
    estimates += _spectrum_rows(t, rows)
    # Only the first width's course over training is judged, and that of the rank beside it.
    judged = {method_of(config.widths[0]), "spectrum"}
    return [one if one.method in judged else replace(one, replicates=None) for one in estimates]


def noise_control(
    n_features: int, inputs: Mapping[str, Variable], rows: InformationRows, *, config: InformationConfig, seed: int
) -> list[Estimate]:
    """What Gaussian noise of as many statements and features gives in place of a representation, at the first width.

    Kernels of many features are nearly diagonal whatever the features mean; this shows how much of a value is only that.
    """
    noise = generator(seed, "information", "noise").normal(size=(len(rows), n_features))
    features = torch.from_numpy(noise - noise.mean(axis=0)).to(rows.directions.device)
    width = config.widths[0]
    smoothed = Variable.of_features(symmetric_product(features)).smoother(width, ridge=config.ridge)
    strength = label_pairs.label_ceiling(rows.label.strength, len(rows), ridge=config.ridge)
    direction = rows.directions[:, 0]
    varying = {name: x for name, x in inputs.items() if not x.is_constant}
    values = {name: inner(x.kept_smoother(width, ridge=config.ridge), smoothed) for name, x in varying.items()}
    values[label_pairs.QUANTITY] = strength * float(direction @ smoothed.matrix @ direction)
    return [rows.bare(name, value, method=method_of(width), role="control") for name, value in values.items()]


def method_of(width: Width) -> str:
    """``nhsic_50``, ``nhsic_median``."""
    return f"nhsic_{width}" if isinstance(width, str) else f"nhsic_{width:g}"


def _neighbour_rows(
    t: Variable, inputs: Mapping[str, Variable], rows: InformationRows, *, components: int
) -> Iterator[Estimate]:
    """Nearest-neighbour estimates in nats on the leading components."""
    points = parted(t.components(components), rng=generator(0, "ties", "T"))
    found = label_contributions(points, rows.labellings)
    yield rows.estimate("I(T;Y)", float(found[:, 0].mean()), _influence(found[:, 0]), method="ksg")
    yield from label_pairs.null_rows(found.mean(axis=0), rows, method="ksg")
    few = generator(0, "few", len(rows)).permutation(len(rows))[:MOST_POINTS]
    for quantity, x in inputs.items():
        if not x.is_kernel:
            others = parted(x.components(components), rng=generator(0, "ties", "X"))
            yield from _pair_rows(quantity, PointPairs(others[few], points[few]), rows.some(few))


def _pair_rows(quantity: str, pairs: PointPairs, rows: InformationRows) -> Iterator[Estimate]:
    """I(T; X) from nearest neighbours; its null from a few permutations, the least and the largest of which are its band."""
    found = pairs.contributions()
    yield rows.estimate(quantity, float(found.mean()), _influence(found), method="ksg")
    groups = tuple(map(str, rows.groups.tolist()))
    orders = block_permutations(np.arange(len(rows)), groups, draws=PERMUTATIONS, rng=generator(0, "orders", len(rows)))
    drawn = np.array([pairs.contributions(order).mean() for order in orders.T])
    lower, upper = float(drawn.min()), float(drawn.max())
    yield rows.bare(quantity, float(drawn.mean()), method="ksg", lower=lower, upper=upper, role="null")
    p_value = (1 + int((drawn >= found.mean()).sum())) / (1 + len(drawn))
    yield rows.bare(f"{quantity} p-value", p_value, method="ksg")


def _influence(contributions: Float64[np.ndarray, " statement"]) -> torch.Tensor:
    return torch.from_numpy(contributions - contributions.mean())


def _spectrum_rows(t: Variable, rows: InformationRows) -> Iterator[Estimate]:
    if len(rows) > MOST_EIGENVALUES:
        chosen = generator(0, "spectrum", len(rows)).permutation(len(rows))[:MOST_EIGENVALUES]
        some = torch.from_numpy(chosen).to(t.gram.device)
        rows, t = rows.some(chosen), Variable.of_features(t.gram[some][:, some])
    spectrum = Spectrum.of(t.gram)
    for measure in (effective_rank, participation_ratio, spectral_decay):
        value = float(measure(spectrum.eigenvalues))
        yield rows.estimate(measure.__name__, value, spectrum.influence(measure), method="spectrum")


def _undefined(
    quantities: Sequence[str], rows: InformationRows, *, config: InformationConfig, note: str
) -> Iterator[Estimate]:
    """A row for each number that a constant variable leaves undefined: a silent 0 would pass for a finding."""
    for quantity in quantities:
        for width in config.widths:
            for name in (quantity, f"{quantity} calibrated"):
                yield rows.bare(name, float("nan"), method=method_of(width), note=note)
