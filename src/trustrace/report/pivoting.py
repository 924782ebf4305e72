"""From the tidy table to grids: choosing and arranging rows, never changing a number."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import ConfigError, RunError
from trustrace.core.measurements import Measurement
from trustrace.core.sites import Site
from trustrace.report.grids import UNMEASURED, Address, Grid, Series, Trace, View
from trustrace.report.information import is_information
from trustrace.report.phases import without_phases
from trustrace.report.run_folder import COLUMNS

INITIALISATION = "random_init_"
"""How the revision of an untrained twin begins."""

_TEXT = ("dataset", "protocol", "position", "method", "role", "quantity", "site", "checkpoint", "note")
_ADDRESS = ("dataset", "protocol", "position", "method", "role", "quantity", "seed", "model")


def pivot(table: pa.Table) -> Trace:
    """Arrange the tidy table.

    Raises:
        RunError: two rows claim the same place, so that one of them would be lost.
    """
    needs_model = pc.not_equal(pc.fill_null(table.column("checkpoint"), ""), "")
    of_models, phases = without_phases(table.filter(needs_model))
    rows = _encode(of_models)
    grids = {grid.address: grid for grid in _grids(rows)}
    return Trace(
        series=rows.series,
        grids={address: grid for address, grid in grids.items() if not is_information(address.quantity)},
        text_floors=_text_floors(table.filter(pc.invert(needs_model))),
        notes=rows.notes,
        information={address: grid for address, grid in grids.items() if is_information(address.quantity)},
        phases=tuple(phase for phase in phases if is_information(phase.quantity)),
        courses=tuple(phase for phase in phases if not is_information(phase.quantity)),
    )


@dataclass(frozen=True)
class _Coded:
    """A column as codes into its distinct values."""

    codes: Int[np.ndarray, " row"]
    values: tuple[str, ...] | tuple[int, ...]

    def recoded(self, values: tuple[str, ...]) -> Int[np.ndarray, " row"]:
        """The codes of the same column into other `values` that hold all of its own."""
        places = np.array([values.index(str(value)) for value in self.values], dtype=np.int64)
        recoded: Int[np.ndarray, " row"] = np.take(places, self.codes)
        return recoded


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The rows of models: coded columns, and numbers as arrays."""

    coded: Mapping[str, _Coded]
    numbers: Mapping[str, Float[np.ndarray, " row"]]
    checkpoints: tuple[Checkpoint, ...]
    series: Mapping[str, Series]
    notes: tuple[str, ...]


def _encode(table: pa.Table) -> _Rows:
    coded = {name: _coded_text(table, name) for name in _TEXT}
    coded["seed"] = _coded_seed(table)
    checkpoints = _checkpoints(table, coded["checkpoint"])
    models = tuple(sorted({checkpoint.model for checkpoint in checkpoints}))
    model_of = np.array([models.index(checkpoint.model) for checkpoint in checkpoints], dtype=np.int64)
    coded["model"] = _Coded(model_of[coded["checkpoint"].codes], models)
    coded["role"] = _roles(coded["role"], coded["checkpoint"], checkpoints)
    notes = ("", *sorted({str(note) for note in coded["note"].values} - {""}))
    coded["note"] = _Coded(coded["note"].recoded(notes), notes)
    return _Rows(
        coded=coded,
        numbers={name: _numbers(table, name) for name in ("value", "lower", "upper", "n", "n_groups")},
        checkpoints=checkpoints,
        series={model: _series(model, code, coded, checkpoints) for code, model in enumerate(models)},
        notes=notes,
    )


def _coded_text(table: pa.Table, name: str) -> _Coded:
    encoded = pc.fill_null(table.column(name).cast(pa.string()), "").combine_chunks().dictionary_encode()
    return _Coded(encoded.indices.to_numpy().astype(np.int64), tuple(encoded.dictionary.to_pylist()))


def _coded_seed(table: pa.Table) -> _Coded:
    values, codes = np.unique(table.column("seed").to_numpy(), return_inverse=True)
    return _Coded(codes.astype(np.int64), tuple(int(value) for value in values))


def _numbers(table: pa.Table, name: str) -> Float[np.ndarray, " row"]:
    numbers: Float[np.ndarray, " row"] = table.column(name).cast(pa.float64()).to_numpy()
    return numbers


def _checkpoints(table: pa.Table, keys: _Coded) -> tuple[Checkpoint, ...]:
    """The checkpoint of each code, with the step and tokens of the first row that names it."""
    _, first = np.unique(keys.codes, return_index=True)
    where = table.select(["step", "tokens_seen"]).take(pa.array(first)).to_pylist()
    return tuple(_checkpoint(str(key), **at) for key, at in zip(keys.values, where, strict=True))


def _checkpoint(key: str, *, step: int | None, tokens_seen: int | None) -> Checkpoint:
    model, _, revision = key.rpartition("@")
    return Checkpoint(family="", model=model, revision=revision, step=step, tokens_seen=tokens_seen)


def _is_initialisation(checkpoint: Checkpoint) -> bool:
    return checkpoint.revision.startswith(INITIALISATION)


def _roles(roles: _Coded, keys: _Coded, checkpoints: tuple[Checkpoint, ...]) -> _Coded:
    """Roles, with the floor that an untrained twin sets told apart by its checkpoint alone, beside the trained ones."""
    values = tuple(sorted({str(role) for role in roles.values} | {"measured", "floor"}))
    codes = roles.recoded(values)
    untrained = np.array([_is_initialisation(checkpoint) for checkpoint in checkpoints], dtype=bool)[keys.codes]
    floors = untrained & (codes == values.index("floor"))
    return _Coded(np.where(floors, values.index("measured"), codes), values)


def _series(model: str, code: int, coded: Mapping[str, _Coded], checkpoints: tuple[Checkpoint, ...]) -> Series:
    own = [checkpoint for checkpoint in checkpoints if checkpoint.model == model]
    present = np.unique(coded["site"].codes[coded["model"].codes == code])
    return Series(
        model=model,
        checkpoints=tuple(sorted(c for c in own if not _is_initialisation(c))),
        initialisations=tuple(sorted(c for c in own if _is_initialisation(c))),
        sites=tuple(sorted((str(coded["site"].values[site]) for site in present), key=_depth)),
    )


def _depth(site: str) -> tuple[int, str]:
    try:
        return (Site.parse(site).depth, site)
    except ConfigError:  # A table of another tool may name its places otherwise: they follow the known ones.
        return (2_000_000, site)


def _grids(rows: _Rows) -> Iterator[Grid]:
    parts = [rows.coded[name] for name in _ADDRESS]
    key = reduce(lambda sofar, part: sofar * len(part.values) + part.codes, parts[1:], parts[0].codes)
    order = np.argsort(key, kind="stable")
    for member in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        if len(member):
            yield _grid(_address(rows, int(member[0])), rows, member)


def _address(rows: _Rows, row: int) -> Address:
    at = {name: rows.coded[name].values[rows.coded[name].codes[row]] for name in _ADDRESS}
    view = View(
        dataset=str(at["dataset"]),
        model=str(at["model"]),
        protocol=str(at["protocol"]),
        position=str(at["position"]),
        seed=int(at["seed"]),
    )
    return Address(view=view, method=str(at["method"]), role=str(at["role"]), quantity=str(at["quantity"]))


def _grid(address: Address, rows: _Rows, member: Int[np.ndarray, " member"]) -> Grid:
    series = rows.series[address.view.model]
    column_of = {checkpoint: place for place, checkpoint in enumerate(series.columns)}
    columns = np.array([column_of.get(checkpoint, 0) for checkpoint in rows.checkpoints])
    shape = (len(series.columns), len(series.sites))
    sites = np.array([series.sites.index(str(s)) if s in series.sites else 0 for s in rows.coded["site"].values])
    place = columns[rows.coded["checkpoint"].codes[member]], sites[rows.coded["site"].codes[member]]
    _refuse_collisions(address, series, np.ravel_multi_index(place, shape))
    notes = _scattered(rows.coded["note"].codes[member], place, shape, UNMEASURED)
    number = {name: _scattered(column[member], place, shape, np.nan) for name, column in rows.numbers.items()}
    counts = {name: np.nan_to_num(number.pop(name)).astype(np.int64) for name in ("n", "n_groups")}
    return Grid(address=address, notes=notes, **number, **counts)


def _scattered(
    values: np.ndarray, place: tuple[np.ndarray, np.ndarray], shape: tuple[int, int], empty: int | float
) -> np.ndarray:
    grid = np.full(shape, empty, dtype=values.dtype)
    grid[place] = values
    return grid


def _refuse_collisions(address: Address, series: Series, cells: Int[np.ndarray, " member"]) -> None:
    taken, times = np.unique(cells, return_counts=True)
    if not np.any(times > 1):
        return
    column, site = divmod(int(taken[times > 1][0]), len(series.sites))
    view = address.view
    raise RunError(
        f"measurements.parquet: {times.max()} rows claim {address.quantity} ({address.method}, {address.role}) of {view.dataset} at "
        f"{series.sites[site] or 'no site'} of {series.columns[column].key}, protocol {view.protocol}, seed {view.seed}; "
        "one of them would be lost; keep one row per place"
    )


def _text_floors(table: pa.Table) -> tuple[Measurement, ...]:
    rows = table.select(list(COLUMNS)).to_pylist()
    return tuple(Measurement(**{**row, "note": row["note"] or ""}) for row in rows if row["role"] == "floor")
