"""Writes docs/paper.md and the plans under docs/paper/: ``python docs/make_paper.py``. A test compares them with what this would write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trustrace.core.measurements import Protocol
from trustrace.studies.foreseen.bill import Bill, size
from trustrace.studies.foreseen.machines import assumed, machine
from trustrace.studies.foreseen.studies import foresee
from trustrace.studies.paper.page import markdown_table
from trustrace.studies.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "paper.md"
PLANS = ROOT / "docs" / "paper"
MACHINE = "h200"
PROTOCOLS: tuple[Protocol, ...] = ("published", "rigorous")
WRITTEN = "% Written by docs/make_paper.py; change that, and run it again."

INTRODUCTION = """\
# The paper as studies

The figures and tables of [arXiv 2402.19465](https://arxiv.org/abs/2402.19465), but for table 4, are files under `studies/`: for the paper's
own suite, Amber, for two others, and as templates for a run of one's own.

| | Amber | Pythia-410m | OLMo 2 1B | your own run |
| --- | --- | --- | --- | --- |
| files | `studies/paper/` | `studies/pythia/` | `studies/olmo/` | `studies/own/` |
| the pre-training | 360 checkpoints | 154 checkpoints | 40 of its checkpoints | `runs/mine` |
| its first steps | trained once more | published, from step 0 | published, from step 0 | saved densely |
| half-way | `ckpt_179` | `step72000` | `stage1-step950000-tokens1993B` | `step_0003000` |
| the tuned model | AmberChat | `lomahony/eleuther-pythia410m-hh-sft` | `allenai/OLMo-2-0425-1B-Instruct` | `runs/mine-tuned` |
| others to lay beside it | AmberSafe | `lomahony/eleuther-pythia410m-hh-dpo` | its SFT and DPO models | |

EleutherAI tuned no Pythia. The two that are named here are a third party's: the card of the second says that it was
`EleutherAI/pythia-410m`, tuned on Anthropic's hh-rlhf for an epoch, which is the first, and then by DPO on the same.

Every study runs under two protocols. `published` follows the paper's scripts; `rigorous` splits by group, holds out, and puts intervals,
floors and controls beside each number. The two differ in most of what they say, so Amber has a file for each. A study of another suite
differs from Amber's in its models and in the blocks that lie as deep, and says only that: one file for both protocols, based on Amber's
two.

```console
trustrace steer studies/paper/figure4_rigorous.yaml --out runs/amber-figure4
trustrace steer studies/pythia/figure4.yaml --out runs/pythia-figure4
trustrace steer studies/pythia/figure4.yaml --protocol published --out runs/pythia-figure4-published
```

The same two words serve files of one's own: `based_on: OTHER.yaml`, looked up from the file that says so, takes every key from there that
the file does not give itself, whole; what stands under `published:` or `rigorous:` is said under that protocol alone. `trace`, `steer`,
`finetune`, `proxy-tune` and `plan` take `--protocol`; without it, a file that holds both is read as `rigorous`.

## What is not there

* **Table 4.** This project knows of it that the paper has one: neither what it asks nor a cell of it. No file makes it, and
  `trustrace paper compare` has no row for it.
* **What the paper does not name**: its grid of sites and strengths, which ARC it asks, its recipes of fine-tuning, and how its figures
  reach step 6000 on the data of one checkpoint. Where a file had to choose, it says so.
* **The first steps of Pythia and OLMo** are published, so only Amber has a file that trains them again (`paper/early_pretrain.yaml`).
* **A bound of 6 on perplexity** means something for AmberChat, which has 4.5. For other suites it is the same share, 1.333 times what
  their own model has.

## Beside the paper

```console
trustrace paper compare runs/amber-steer-ckpt179 safe=runs/amber-safe runs/amber-probing --out beside.md
```

lays the tables of any runs beside tables 1 and 2, cell by cell: the paper's value, ours with its interval and n, and whether the former
lies within the latter. Every run, model and protocol that holds a cell is listed, by name. A steered cell is of the vector that won on the
development half, for its contrast; the line says of which checkpoint it is, at which site and strength, and by what it won. Of vectors of
earlier checkpoints `ckpt_179` alone competes where there is one. `full=RUN`, `lora=RUN` and `safe=RUN` say whose the unsteered rows of a
run are.

Accuracies of probes stand beside the ranges of figures 8 to 12. Of the other figures no numbers are known here: what they show stands as a
sentence beside ours, for each run, protocol, model and data set on its own, with a verdict. It *agrees* where our whole 95 % interval lies
on the claimed side, *disagrees* where all of it lies on the other, and *cannot be told* otherwise. A claim about blocks is judged by the
shapes that the trace itself found: at least half of the blocks must show it and none the contrary. "Perplexity hardly moves" is taken for
less than 5 % (figure 4), and "abilities are kept" for a loss below 0.02 (figure 6): these two bounds are ours. Strengths in another unit
than the paper's, standard deviations of projections, are not laid beside figure 4, and the page says so.

What no run holds is listed as missing; where there is nothing at all, the command says so and fails. The paper gives neither the number of
items nor an interval. A run of other models is compared all the same, and the page says that its values do not compare. With `--out
FILE.csv` cells, ranges and findings are lines of one table, with interval, n, run and protocol.

## What they take

`trustrace plan STUDY --on h200 --gpus 8` foresees this by counted arithmetic, bytes and stated rates, with no network, no weights and no
GPU: each amount over the rate of what it waits for, one after the other, as a run does it. It is no measurement: **nothing below was
run on these machines**, shares of peak rates are assumed, and each assumption is printed with the result.

How far it may be off: `--on here` measures the rates of the machine at hand in place of the published ones, and `python -m
benchmarks.forecast` runs a small trace beside that forecast, one thread of a processor, 25 M parameters, 7 sites. Foreseen over taken
was 1.13 with 900 statements and 1.35 with 1,952. That checks the counts; it says nothing of the shares that are assumed of a GPU.

Downloads are shared by all devices of a host, and dominate where whole series are fetched. A study runs on one device: several devices
take a study each, with a share of the checkpoints, contrasts or targets. Work that cannot be cut leaves devices idle, and the hours say
so. Of what is fetched and of what must lie on the disk at once, the tables name the larger of both protocols.
"""

OWN = """\
The templates are counted here as they stand, for the small Llama of `own/pretrain.yaml`. What they fetch are judges and a classifier;
name your own and nothing is fetched. Give `plan` your own pre-training file (`--made-by`), or a known repository of like
shape (`--like`)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A study on the page: a figure or table of one suite, in one file for both protocols or in one for each.

    Attributes:
        name: The file's, less the protocol where each has a file of its own.
        makes: What comes out.
        verb: The command.
        files: By protocol; a study without one, such as a pre-training, has its file under ``rigorous`` alone.
        made_by: The pre-training file that makes its checkpoints.
    """

    name: str
    makes: str
    verb: str
    files: Mapping[Protocol, str]
    made_by: str | None = None

    def commands(self, protocol: Protocol) -> str:
        """How it is run, and how it is foreseen."""
        file = f"studies/{self.files[protocol]}"
        said = " --protocol published" if protocol == "published" and len(set(self.files.values())) == 1 else ""
        kept = " --no-keep-downloads" if self.verb == "trace" and self.made_by is None else ""
        by = f" --made-by studies/{self.made_by}" if self.made_by else ""
        start = "accelerate launch -m trustrace" if self.verb == "pretrain" else "trustrace"
        return f"{start} {self.verb} {file}{said} --out RUN{kept}\ntrustrace plan {file}{said} --on {MACHINE}{by}"

    def bill(self, protocol: Protocol) -> Bill:
        """What it takes."""
        made_by = ROOT / "studies" / self.made_by if self.made_by else None
        under = protocol if len(self.files) > 1 else None
        path = ROOT / "studies" / self.files[protocol]
        return foresee(path, on=MACHINE, made_by=made_by, protocol=under, settings=Settings(device="cpu"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Suite:
    """The studies of one suite."""

    name: str
    title: str
    entries: tuple[Entry, ...]
    note: str = ""


MAKES: tuple[tuple[str, str, str, str], ...] = (
    ("probing", "probing", "Figures 2, 8 to 12: probes", "trace"),
    ("early_trace", "early_trace", "Figures 7, 13 to 17: information early on", "trace"),
    ("steering_ckpt179", "steering_middle", "Tables 1, 2: vectors from half-way", "steer"),
    ("steering_amberchat", "steering_tuned", "Tables 1, 2: vectors from the tuned model", "steer"),
    ("figure4", "figure4", "Figure 4: toxicity, perplexity and alpha", "steer"),
    ("figure5", "figure5", "Figure 5: probes and steering", "steer"),
    ("universal_ckpt179", "universal_middle", "Figure 6: one vector for all, from half-way", "steer"),
    ("universal_amberchat", "universal_tuned", "Figure 6: the same, from the tuned model", "steer"),
    ("finetune", "finetune", "Table 1: full fine-tuning and LoRA", "finetune"),
    ("proxy", "proxy", "Figure 18: proxy-tuning", "proxy-tune"),
)
"""A study's name for Amber, its name for other suites, what it makes, and its command."""

EARLY = "paper/early_pretrain.yaml"


def _amber() -> Iterator[Entry]:
    early: dict[Protocol, str] = {"rigorous": EARLY}
    yield Entry(
        name="early_pretrain", makes="The first 6000 steps once more, saved densely", verb="pretrain", files=early
    )
    for name, _, makes, verb in MAKES:
        files = {protocol: f"paper/{name}_{protocol}.yaml" for protocol in PROTOCOLS}
        yield Entry(name=name, makes=makes, verb=verb, files=files, made_by=EARLY if name == "early_trace" else None)


def _twins(suite: str, made_by: str | None = None) -> Iterator[Entry]:
    for _, name, makes, verb in MAKES:
        files = dict.fromkeys(PROTOCOLS, f"{suite}/{name}.yaml")
        yield Entry(name=name, makes=makes, verb=verb, files=files, made_by=made_by)


SUITES = (
    Suite(name="amber", title="Amber", entries=tuple(_amber())),
    Suite(name="pythia", title="Pythia-410m", entries=tuple(_twins("pythia"))),
    Suite(name="olmo", title="OLMo 2 1B", entries=tuple(_twins("olmo"))),
    Suite(name="own", title="A run of your own", entries=tuple(_twins("own", "own/pretrain.yaml")), note=OWN),
)


def pages() -> dict[Path, str]:
    """The text of every page, by its place."""
    found = {suite: {one: {p: one.bill(p) for p in one.files} for one in suite.entries} for suite in SUITES}
    plans = {PLANS / f"{suite.name}.md": _plans(suite, bills) for suite, bills in found.items()}
    tables = [f"### {suite.title}\n\n{suite.note}\n\n{_table(bills)}" for suite, bills in found.items()]
    listed = "\n".join(f"paper/{suite.name}" for suite in SUITES)
    parts = [
        WRITTEN,
        INTRODUCTION,
        *(part.replace("\n\n\n\n", "\n\n") for part in tables),
        "### Rates that are taken for granted\n\n" + _as_markdown(_rates()),
        f"## Every plan in full\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```",
    ]
    return {PAGE: _joined(parts), **plans}


def _table(bills: Mapping[Entry, Mapping[Protocol, Bill]]) -> str:
    """A row a study."""
    return _as_markdown([_row(entry, under) for entry, under in bills.items()])


def _as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Texts of runs lose what Markdown would read in them; these texts are the project's own, and their code stays code."""
    return markdown_table(rows).replace("\\`", "`")


def _row(entry: Entry, bills: Mapping[Protocol, Bill]) -> dict[str, str]:
    hours = {
        f"{protocol}, {count} GPU{'s' if count > 1 else ''}": _time(bills[protocol].hours(count))
        if protocol in bills
        else ""
        for protocol in ("published", "rigorous")
        for count in (1, 8)
    }
    fetched = max(bill.download_bytes for bill in bills.values())
    disk = max(bill.held_bytes or bill.kept_bytes for bill in bills.values())
    return {"makes": entry.makes, "file": f"`{entry.name}`", **hours, "fetched": size(fetched), "disk": size(disk)}


def _time(hours: float) -> str:
    if hours < 1 / 60:
        return "< 1 min"
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.3g} h"


def _rates() -> list[dict[str, str]]:
    return [{"what": what, "value": value, "source": source} for what, value, source in assumed(machine(MACHINE))]


def _plans(suite: Suite, bills: Mapping[Entry, Mapping[Protocol, Bill]]) -> str:
    """Every plan of one suite as `trustrace plan` shows it."""
    above = (
        f"Foreseen by counted arithmetic, never measured; [how](../paper.md). The rates of one {MACHINE.upper()} that all of them take for "
        "granted stand there."
    )
    sections = [_section(entry, protocol, bill) for entry, under in bills.items() for protocol, bill in under.items()]
    return _joined([WRITTEN, f"# {suite.title}: every plan", above, *sections])


def _section(entry: Entry, protocol: Protocol, bill: Bill) -> str:
    own = [row for row in bill.assumed() if row not in _rates()]
    under = f" ({protocol})" if len(entry.files) > 1 else ""
    parts = [
        f"## {entry.makes}{under}",
        f"```console\n{entry.commands(protocol)}\n```",
        _as_markdown(bill.rows()),
        "Taken for granted besides the rates:",
        _as_markdown(own),
    ]
    return "\n\n".join(parts)


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    for place, text in pages().items():
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8")
