"""Writes docs/paper.md: ``python docs/make_paper.py``. A test compares the page with what this would write."""

from dataclasses import dataclass
from pathlib import Path

from trustrace.studies.foreseen.bill import Bill
from trustrace.studies.foreseen.machines import assumed, machine
from trustrace.studies.foreseen.studies import foresee
from trustrace.studies.paper.compare import markdown_table
from trustrace.studies.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "paper.md"
MACHINE = "h200"

INTRODUCTION = """\
% Written by docs/make_paper.py; change that, and run it again.

# The paper as studies

Every figure and table of [arXiv 2402.19465](https://arxiv.org/abs/2402.19465) is a file under `studies/paper/`, most of them twice:
`published` follows the paper's scripts, `rigorous` splits by group, holds out, and puts intervals, floors and controls beside each
number. For Pythia-410m (`studies/pythia/`) and OLMo 2 1B (`studies/olmo/`) there are probing, early dynamics and steering, and templates of
them for a run of one's own (`studies/own/`); figures 4 to 6, fine-tuning and proxy-tuning are there for Amber alone.

What is not there: table 4, of which we know only that the paper has one. The paper names neither its grid of sites and strengths, nor
which ARC it asks, nor its recipes of fine-tuning. Where a file had to choose, it says so.

## Beside the paper

```console
trustrace paper compare runs/amber-steer-ckpt179 safe=runs/amber-safe runs/amber-probing --out beside.md
```

lays the tables of any runs beside tables 1 and 2, cell by cell: the paper's value, ours with its interval and n, and whether the former
lies within the latter. `full=RUN`, `lora=RUN` and `safe=RUN` say whose the unsteered rows of a run are. Accuracies of probes stand
beside the ranges of figures 8 to 12, and findings beside the same sentence about ours. What no run holds is listed as missing. The
paper gives neither the number of items nor an interval. A run of other models is compared all the same, and the page says that its
values do not compare.

## What they take

`trustrace plan STUDY --on h200 --gpus 8` foresees this by counted arithmetic, bytes and stated rates, with no network, no weights and no
GPU: each amount over the rate of what it waits for, one after the other, as a run does it. It is no measurement: **nothing below was
run on these machines**, shares of peak rates are assumed, and each assumption is printed with the result.

VALIDATION

Downloads are shared by all devices of a host, and dominate where whole series are fetched. A study runs on one device: several devices
take a study each, with a share of the checkpoints, contrasts or targets. Work that cannot be cut leaves devices idle, and the hours say
so.
"""

VALIDATION = """\
How far it may be off: `--on here` measures the rates of the machine at hand in place of the published ones, and `python -m
benchmarks.forecast` runs a small trace beside that forecast, one thread of a processor, 25 M parameters, 7 sites. Foreseen over taken
was 1.13 with 900 statements and 1.35 with 1,952. That checks the counts; it says nothing of the shares that are assumed of a GPU."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A study on the page."""

    file: str
    makes: str
    command: str
    made_by: str | None = None


def _pair(stem: str, makes: str, verb: str, made_by: str | None = None) -> list[Entry]:
    return [
        Entry(
            file=f"paper/{stem}_{protocol}.yaml",
            makes=f"{makes} ({protocol})",
            command=f"trustrace {verb} studies/paper/{stem}_{protocol}.yaml --out RUN{_options(verb, made_by)}",
            made_by=made_by,
        )
        for protocol in ("published", "rigorous")
    ]


def _options(verb: str, made_by: str | None) -> str:
    return " --no-keep-downloads" if verb == "trace" and made_by is None else ""


def _other(file: str, makes: str, verb: str) -> Entry:
    return Entry(file=file, makes=makes, command=f"trustrace {verb} studies/{file} --out RUN{_options(verb, None)}")


ENTRIES: tuple[Entry, ...] = (
    *_pair("probing", "Figures 2 and 8 to 12: probes on 360 checkpoints, all blocks, five data sets", "trace"),
    Entry(
        file="paper/early_pretrain.yaml",
        makes="Amber's first 6000 steps once more, saved densely",
        command="accelerate launch -m trustrace pretrain studies/paper/early_pretrain.yaml --out runs/amber-early",
    ),
    *_pair("early_trace", "Figures 7 and 13 to 17: I(T;X) and I(T;Y) early on", "trace", "paper/early_pretrain.yaml"),
    *_pair("steering_ckpt179", "Tables 1 and 2: vectors of ckpt_179 in AmberChat", "steer"),
    *_pair("steering_amberchat", "Tables 1 and 2: vectors of AmberChat in itself", "steer"),
    *_pair("figure4", "Figure 4: toxic ratio and perplexity against alpha", "steer"),
    *_pair("figure5", "Figure 5: probes and steering across checkpoints", "steer"),
    *_pair("universal_ckpt179", "Figure 6: one vector for all abilities, of ckpt_179", "steer"),
    *_pair("finetune", 'Table 1, the rows "full fine-tuning" and "LoRA"', "finetune"),
    *_pair("proxy", "Figure 18: proxy-tuning", "proxy-tune"),
    *_pair("universal_amberchat", "Figure 6: the same, of AmberChat itself", "steer"),
    _other("pythia/probing.yaml", "Pythia-410m: probes on all 154 checkpoints", "trace"),
    _other("pythia/probing_published.yaml", "Pythia-410m: the same, as published", "trace"),
    _other("pythia/early.yaml", "Pythia-410m: early dynamics", "trace"),
    _other("pythia/steering.yaml", "Pythia-410m: its own past steers its end", "steer"),
    _other("olmo/probing.yaml", "OLMo 2 1B: probes over its pre-training", "trace"),
    _other("olmo/early.yaml", "OLMo 2 1B: early dynamics", "trace"),
    _other("olmo/steering.yaml", "OLMo 2 1B: its pre-training steers its Instruct model", "steer"),
)


def page() -> str:
    """The page's text."""
    bills = {entry: _bill(entry) for entry in ENTRIES}
    overview = [
        {
            "study": f"`{entry.file}`",
            "makes": entry.makes,
            "hours on 1": f"{bill.hours(1):.3g}",
            "hours on 8": f"{bill.hours(8):.3g}",
            "fetched": _all(bill, "fetched in all"),
            "disk at least": _all(bill, "disk at once where fetched weights are let go")
            or _all(bill, "disk where everything is kept"),
        }
        for entry, bill in bills.items()
    ]
    rates = [{"what": what, "value": value, "source": source} for what, value, source in assumed(machine(MACHINE))]
    parts = [
        INTRODUCTION.replace("VALIDATION", VALIDATION),
        f"### All of them, on one {MACHINE.upper()} and on eight\n\n" + markdown_table(overview),
        "### Rates that are taken for granted\n\n" + markdown_table(rates),
        *(_section(entry, bill, rates) for entry, bill in bills.items()),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _bill(entry: Entry) -> Bill:
    made_by = ROOT / "studies" / entry.made_by if entry.made_by else None
    return foresee(ROOT / "studies" / entry.file, on=MACHINE, made_by=made_by, settings=Settings(device="cpu"))


def _all(bill: Bill, what: str) -> str:
    """The amount in the row `what`, wherever it stands."""
    for row in bill.rows():
        if row["what"] == what:
            return str(row["amount"] or list(row.values())[2])
    return ""


def _section(entry: Entry, bill: Bill, rates: list[dict[str, str]]) -> str:
    own = [row for row in bill.assumed() if row not in rates]
    plan = f"trustrace plan studies/{entry.file} --on {MACHINE}"
    plan += f" --made-by studies/{entry.made_by}" if entry.made_by else ""
    title = f"### {entry.makes}\n\n```console\n{entry.command}\n{plan}\n```"
    return "\n\n".join(
        [title, markdown_table(bill.rows()), "Taken for granted besides the rates:", markdown_table(own)]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
