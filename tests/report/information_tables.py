"""A made-up information plane with a known answer: what rises, what falls, where it peaks, and what calibration leaves of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.report.tables import N_GROUPS, N, Shape, checkpoints
from trustrace.core.checkpoints import Checkpoint
from trustrace.core.draws import generator
from trustrace.core.measurements import Estimate, Measurement
from trustrace.core.sites import sites_of

X, FINAL, TOKENS, Y = "I(T;X)", "I(T;X_embedding)", "I(T;X_tokens)", "I(T;Y)"
WIDTHS = {"nhsic_50": 1.0, "nhsic_100": 0.6, "nhsic_200": 0.3, "nhsic_400": 0.12, "nhsic_median": 5.0}
MAIN = "nhsic_50"
OTHERS = {"hsic": 0.02, "hsic_unbiased": 0.015, "cka": 0.05, "cka_debiased": 0.04, "ksg": 0.11}
NULL, TOP = {X: 4.0, FINAL: 4.0, TOKENS: 5.0, Y: 0.05}, {X: 18.0, FINAL: 18.0, TOKENS: 20.0, Y: 0.909}
PEAK = 7.4
"""log10 of the tokens at which planted curves are highest."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """The shape planted at one site: of the moving X as measured and calibrated, and of an X held fixed and calibrated."""

    raw: str
    calibrated: str
    fixed: str = "flat"


def planted(site: str) -> Planted:
    """Two phases everywhere with the moving X; at some sites once calibrated; nowhere with X held fixed."""
    if site in {"embed", "block_0"}:
        return Planted(raw="flat", calibrated="flat")
    return Planted(raw="rises then falls", calibrated="rises then falls" if site in {"block_2", "block_3"} else "rises")


def information_rows(
    shape: Shape, *, others: bool = True, widths: tuple[str, ...] = tuple(WIDTHS)
) -> list[Measurement]:
    """Every row of the information plane of a table of `shape`, phases last."""
    found: list[Measurement] = []
    series = checkpoints(shape)
    twin = Checkpoint(family="pretrain", model=shape.model, revision="random_init_0", step=0, tokens_seen=0)
    methods = {name: WIDTHS[name] for name in widths} | (OTHERS if others else {})
    for place, dataset in enumerate(shape.datasets):
        for checkpoint in (*series, twin):
            for site in sites_of(shape.n_blocks):
                for estimate in _estimates(checkpoint, site.name, place, methods):
                    row = _row(estimate, dataset, shape, checkpoint, site.name)
                    untrained = checkpoint is twin and row.role == "measured"
                    found.append(replace(row, role="floor") if untrained else row)
        for site in sites_of(shape.n_blocks):
            found += [_row(one, dataset, shape, series[-1], site.name) for one in _phases(site.name)]
    return found


def published_rows(shape: Shape) -> list[Measurement]:
    """The same by the conventions of the paper's scripts: one width, no interval, no null."""
    return [
        replace(row, protocol="published", lower=math.nan, upper=math.nan)
        for row in information_rows(shape, others=False, widths=(MAIN,))
        if row.quantity in {X, Y} and row.role in {"measured", "floor"}
    ]


def _row(estimate: Estimate, dataset: str, shape: Shape, checkpoint: Checkpoint, site: str) -> Measurement:
    return Measurement.of(
        estimate,
        dataset=dataset,
        protocol=shape.protocol,
        seed=shape.seed,
        checkpoint=checkpoint,
        site=site,
        position=shape.position,
    )


def _course(checkpoint: Checkpoint, shape: str) -> float:
    """A planted curve between 0 and 1."""
    at = math.log10(checkpoint.tokens_seen) if checkpoint.tokens_seen else 5.2
    rise = 1 / (1 + math.exp(-3.0 * (at - PEAK + 0.9)))
    fall = 1 / (1 + math.exp(-3.0 * (at - PEAK - 0.7)))
    return {"flat": 0.3, "rises": 0.2 + 0.6 * rise, "rises then falls": 0.2 + 0.7 * rise - 0.55 * fall}[shape]


def _estimates(checkpoint: Checkpoint, site: str, place: int, methods: dict[str, float]) -> Iterator[Estimate]:
    rng = generator(0, "information", checkpoint.key, site, place)
    depth = 0.55 + 0.45 * math.exp(-(((len(site) and sum(map(ord, site)) % 5) / 5 - 0.4) ** 2))
    shapes = planted(site)
    values = {
        X: (_course(checkpoint, shapes.raw), _course(checkpoint, shapes.calibrated)),
        FINAL: (_course(checkpoint, shapes.raw) * 0.8, _course(checkpoint, shapes.fixed)),
        TOKENS: (_course(checkpoint, shapes.raw) * 0.7, _course(checkpoint, shapes.fixed)),
        Y: (_course(checkpoint, "rises") * 0.5, _course(checkpoint, "rises") * 0.45),
    }
    for quantity, (raw, calibrated) in values.items():
        raw, calibrated = (course * depth + 0.012 * float(rng.standard_normal()) for course in (raw, calibrated))
        for method, scale in methods.items():
            yield from _dependence(quantity, method, scale, raw, calibrated)
    rank = 20 + 90 * _course(checkpoint, "rises" if site == "block_1" else shapes.raw) * depth
    for name, value in (("effective_rank", rank), ("participation_ratio", rank / 3), ("spectral_decay", 40 / rank)):
        yield _estimate(name, "spectrum", value, 0.06 * value)


def _dependence(quantity: str, method: str, scale: float, raw: float, calibrated: float) -> Iterator[Estimate]:
    null, top = NULL[quantity], TOP[quantity]
    value = (null + raw * (top - null)) * (scale if quantity != Y else scale**0.2)
    if method not in WIDTHS:
        yield _estimate(quantity, method, value, 0.04 * value)
        return
    factor = scale if quantity != Y else scale**0.2
    yield _estimate(quantity, method, value, 0.06 * top * factor)
    yield _estimate(quantity, method, null * factor, 0.35 * null * factor, role="null")
    yield _estimate(f"{quantity} calibrated", method, calibrated * scale**0.1, 0.05)
    yield _estimate(f"{quantity} p-value", method, 0.005 if calibrated > 0.2 else 0.21, math.nan)
    if quantity == Y:
        yield _estimate(quantity, method, 0.909 * factor, math.nan, role="ceiling")
    if method == MAIN:
        yield _estimate(quantity, method, null * 1.1, math.nan, role="control")


def _phases(site: str) -> Iterator[Estimate]:
    shapes = planted(site)
    told = {
        X: (shapes.raw, shapes.calibrated),
        FINAL: (shapes.raw, shapes.fixed),
        TOKENS: (shapes.raw, shapes.fixed),
        Y: ("rises", "rises"),
    }
    for quantity, (raw, calibrated) in told.items():
        yield from _phase(quantity, raw)
        yield from _phase(f"{quantity} calibrated", calibrated)
    rank = "rises" if site == "block_1" else shapes.raw
    yield from (replace(one, method="spectrum") for one in _phase("effective_rank", rank))


def _phase(stem: str, shape: str) -> Iterator[Estimate]:
    rises, falls = "rises" in shape, "falls" in shape
    q = 0.4 if shape == "flat" else 0.01
    yield _estimate(f"{stem} shape", MAIN, q, math.nan, note=shape)
    for name, found in (("rise", rises), ("fall", falls)):
        yield _estimate(f"{stem} {name} p", MAIN, 0.002 if found else 0.4, math.nan)
        yield _estimate(f"{stem} {name} q", MAIN, 0.01 if found else 0.4, math.nan)
    peak = 10**PEAK if rises and falls else math.nan
    none = "" if rises and falls else "no rise and fall"
    yield replace(_estimate(f"{stem} peak", MAIN, peak, math.nan, note=none), lower=peak * 0.5, upper=peak * 1.7)
    onset = 10 ** (PEAK - 1.4) if rises else math.nan
    yield replace(
        _estimate(f"{stem} onset", MAIN, onset, math.nan, note="" if rises else "no rise"),
        lower=onset * 0.6,
        upper=onset * 1.5,
    )


def _estimate(
    quantity: str, method: str, value: float, half: float, *, role: str = "measured", note: str = ""
) -> Estimate:
    return Estimate(
        quantity=quantity,
        method=method,
        value=value,
        lower=value - half,
        upper=value + half,
        n=N,
        n_groups=N_GROUPS,
        role=role,
        note=note,
    )
