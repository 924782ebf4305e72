"""Write the desk's one table into ``docs/desk.md`` from the comparison that ``make paper-desk`` made: `python docs/make_desk.py [CSV]`.

With a path, that ``comparison.csv`` is taken over into ``docs/desk`` first, so that page and run cannot part.
"""

import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).parent
TABLE, PAGE = DOCS / "desk" / "comparison.csv", DOCS / "desk.md"
BEGIN, END = "<!-- Written by docs/make_desk.py from desk/comparison.csv -->", "<!-- End of what is written -->"

MODELS = {
    "demo@tuned": "the assistant",
    "pretrain@step_0000400": "step 400",
    "pretrain@step_0001103": "step 1103, the last",
}
DONE = {
    "as it is": "as it is",
    "instruction": "told: four claims with their verdicts",
    "mass_mean": "steered, best on development data",
    "shuffled_label": "steered by permuted labels (control)",
    "full": "full fine-tuning",
    "lora": "LoRA",
    "proxy": "proxy-tuning",
}
COLUMNS = (
    ("world_reliability", "accuracy", "parsed"),
    ("world_reliability", "due_probability", "log_probability"),
    ("world_reliability", "auroc", "log_probability"),
    ("world_text", "perplexity", "log_probability"),
)


def table(rows: Sequence[dict[str, str]]) -> str:
    """Every way to change a model, in every model, as Markdown."""
    numbers = {(row["target"], kind(row), row["task"], row["quantity"], row["by"]): row for row in rows}
    lines = [
        "| model | what is done | accuracy | due probability | AUROC | its change | p | perplexity |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, title in MODELS.items():
        for done, words in DONE.items():
            found = [numbers.get((model, done, *column)) for column in COLUMNS]
            if all(found):
                lines.append(_line(title, words, [one for one in found if one]))
                title = ""
    return "\n".join(lines)


def kind(row: dict[str, str]) -> str:
    """What was done, without whose vector it was."""
    return row["system"].partition(":")[0]


def _line(title: str, words: str, found: Sequence[dict[str, str]]) -> str:
    accuracy, due, area, perplexity = (float(one["value"]) for one in found)
    change = found[2]
    told = ("", "")
    if change["change"]:
        lower, upper = float(change["change_lower"]), float(change["change_upper"])
        told = (f"{float(change['change']):+.3f} ({lower:+.3f} to {upper:+.3f})", f"{float(change['p']):.2g}")
    cells = (title, words, f"{accuracy:.3f}", f"{due:.3f}", f"{area:.3f}", *told, f"{perplexity:.2f}")
    return f"| {' | '.join(cells)} |"


def page(text: str, rows: Sequence[dict[str, str]]) -> str:
    """The page with the table of these rows in its place."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a comparison."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    if sys.argv[1:]:
        shutil.copyfile(sys.argv[1], TABLE)
    PAGE.write_text(page(PAGE.read_text("utf-8"), read(TABLE)), encoding="utf-8")
