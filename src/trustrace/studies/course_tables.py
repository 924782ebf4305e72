"""The table of a comparison of checkpoints, as it is shown: when concepts emerge, and one row for each pair of a transfer."""

import csv
from pathlib import Path
from typing import Any

from trustrace.measures.over_training.chance import METHOD
from trustrace.measures.over_training.compare import FROM
from trustrace.runs.table import read_table

TABLE = "dynamics.parquet"
TRANSFERS = "transfer.csv"
_NULLS = {"transfer auroc": "auroc", "transfer auroc p": "p", "transfer auroc q": "q"}


def emergences(table: Path) -> list[dict[str, Any]]:
    """When each concept emerges at each site, for a table."""
    shown = ("dataset", "site", "quantity", "value", "lower", "upper", "note")
    rows = read_table(table).to_pylist()
    wanted = [row for row in rows if " emergence " in row["quantity"] and not row["quantity"].endswith(" q")]
    return [{name: row[name] for name in shown} for row in wanted]


def transfers(table: Path) -> list[dict[str, Any]]:
    """The AUROC of each pair of views, with the band that chance reaches, its p-value and its q-value: a row a pair."""
    pairs: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in read_table(table).to_pylist():
        method, _, source = row["method"].partition(FROM)
        if not row["quantity"].startswith("transfer auroc") or method != METHOD:
            continue
        place = {"dataset": row["dataset"], "site": row["site"], "source": source, "target": row["checkpoint"]}
        found = pairs.setdefault(tuple(place.values()), place)
        if row["quantity"] == "transfer auroc null":
            found |= {"null_low": row["lower"], "null_high": row["upper"]}
        else:
            found[_NULLS[row["quantity"]]] = row["value"]
        if row["quantity"] == "transfer auroc":
            found |= {"lower": row["lower"], "upper": row["upper"], "n": row["n"], "n_groups": row["n_groups"]}
    return list(pairs.values())


def write_transfers(folder: Path) -> None:
    """``transfer.csv`` beside the table in `folder`."""
    columns = ("dataset", "site", "source", "target", "auroc", "lower", "upper", "null_low", "null_high", "p", "q")
    with (folder / TRANSFERS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*columns, "n", "n_groups"])
        writer.writeheader()
        writer.writerows(transfers(folder / TABLE))
