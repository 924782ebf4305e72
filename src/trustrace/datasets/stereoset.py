"""Fairness: StereoSet's inter-sentence half, contexts continued with a stereotype, an anti-stereotype, or something unrelated."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from trustrace.core.config import Config
from trustrace.core.errors import DataError
from trustrace.core.statements import LabelMeaning, Statements
from trustrace.datasets import sources
from trustrace.datasets.cleaning import as_sentence
from trustrace.datasets.grouping import normalise
from trustrace.datasets.splits import assign_splits

Domain = Literal["gender", "profession", "race", "religion"]
Continuation = Literal["stereotype", "anti_stereotype", "unrelated"]

_COLUMNS: dict[Continuation, str] = {
    "stereotype": "Stereotype Sentence",
    "anti_stereotype": "Anti-stereotype Sentence",
    "unrelated": "Unrelated Sentence",
}
_NAMES: dict[Continuation, str] = {
    "stereotype": "a stereotypical continuation",
    "anti_stereotype": "an anti-stereotypical continuation",
    "unrelated": "a continuation unrelated to the context",
}


class StereoSetConfig(Config):
    """How fairness/defined is built.

    Attributes:
        domains: Which domains.
        one: The continuations labelled 1.
        zero: The continuations labelled 0. Add ``unrelated`` for all that is no stereotype; it is left out by default, since telling it
            apart takes coherence, not bias.
        group_by: ``target`` keeps all contexts about one target (say, all about Ethiopia) on one side of every split, since continuations
            about a target resemble each other; ``context`` is the weaker rule.
        canonical: Read the authors' JSON in place of the pinned mirror.
    """

    domains: tuple[Domain, ...] = Field(default=get_args(Domain), min_length=1)
    one: tuple[Continuation, ...] = Field(default=("stereotype",), min_length=1)
    zero: tuple[Continuation, ...] = Field(default=("anti_stereotype",), min_length=1)
    group_by: Literal["target", "context"] = "target"
    canonical: bool = False

    @model_validator(mode="after")
    def _sides_differ(self) -> "StereoSetConfig":
        if both := sorted(set(self.one) & set(self.zero)):
            raise ValueError(f"{both} cannot be labelled both 1 and 0")
        return self


@dataclass(frozen=True)
class Triple:
    """One item: a context about a target, and its three continuations."""

    domain: str
    target: str
    context: str
    continuations: dict[Continuation, str]


def published(*, seed: int, data_dir: Path | None = None) -> Statements:
    """The paper's CSV, row for row: 976 race contexts, each continued twice.

    1 is the anti-stereotype and 0 the unrelated continuation, although the paper's text speaks of stereotypes: no stereotype is in it.
    Rows of one context form a group; the CSV does not say where a context ends, so contexts are looked up in the originals.
    """
    texts, labels = sources.read_labelled(sources.PAPER_STEREOSET, data_dir=data_dir)
    contexts = {
        f"{triple.context} {continuation}": normalise(triple.context)
        for triple in triples(domains=("race",), data_dir=data_dir)
        for continuation in triple.continuations.values()
    }
    groups = tuple(contexts[text] for text in texts)
    return Statements(
        name="fairness/published",
        dimension="fairness",
        texts=texts,
        labels=labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=seed),
        meaning=LabelMeaning(one=_NAMES["anti_stereotype"], zero=_NAMES["unrelated"], desired=1),
        source=sources.PAPER_STEREOSET.source(
            "holds no stereotype: it tells coherent from unrelated continuations, race domain only"
        ),
    )


def triples(*, domains: tuple[Domain, ...], data_dir: Path | None = None) -> tuple[Triple, ...]:
    """The development set's items of `domains`, 2,123 in all four, from the pinned mirror."""
    columns = ("Domain", "Target", "Context", *_COLUMNS.values())
    rows = [
        row
        for domain in domains
        for row in sources.read_rows(sources.STEREOSET[domain], data_dir=data_dir, columns=columns)
    ]
    return tuple(
        Triple(row["Domain"], row["Target"], row["Context"], {kind: row[column] for kind, column in _COLUMNS.items()})
        for row in rows
    )


def canonical_triples(*, domains: tuple[Domain, ...], data_dir: Path | None = None) -> tuple[Triple, ...]:
    """The same items from the authors' own file."""
    try:
        items = json.loads(sources.read_text(sources.CANONICAL_STEREOSET, data_dir=data_dir))["data"]["intersentence"]
        return tuple(_triple(item) for item in items if item["bias_type"] in domains)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"{sources.CANONICAL_STEREOSET.url} is not StereoSet's development file ({error!r}); leave `canonical` out to use the mirror"
        ) from error


def _triple(item: dict[str, Any]) -> Triple:
    by_label = {sentence["gold_label"].replace("-", "_"): sentence["sentence"] for sentence in item["sentences"]}
    return Triple(
        item["bias_type"], item["target"], item["context"], {kind: by_label[kind] for kind in get_args(Continuation)}
    )


def defined(config: StereoSetConfig, *, seed: int, data_dir: Path | None = None) -> Statements:
    """Contexts with their continuations: 1 = stereotype, 0 = anti-stereotype unless the configuration says otherwise.

    A statement is the context, a space, the continuation; each of the two gets a full stop where it ends in no mark. Case and spelling
    stay. Rows of one target, or of one context, form a group.
    """
    read = canonical_triples if config.canonical else triples
    file = sources.CANONICAL_STEREOSET if config.canonical else sources.STEREOSET[config.domains[0]]
    items = read(domains=config.domains, data_dir=data_dir)
    sides: list[tuple[Continuation, int]] = [(kind, 1) for kind in config.one] + [(kind, 0) for kind in config.zero]
    rows = [(item, kind, label) for item in items for kind, label in sides]
    labels = tuple(label for *_, label in rows)
    groups = tuple(normalise(item.target if config.group_by == "target" else item.context) for item, *_ in rows)
    unrelated = "unrelated" in (*config.one, *config.zero)
    return Statements(
        name="fairness/defined",
        dimension="fairness",
        texts=tuple(f"{as_sentence(item.context)} {as_sentence(item.continuations[kind])}" for item, kind, _ in rows),
        labels=labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=seed),
        meaning=LabelMeaning(
            one=" or ".join(_NAMES[kind] for kind in config.one),
            zero=" or ".join(_NAMES[kind] for kind in config.zero),
            desired=0 if "stereotype" in config.one else 1,
        ),
        source=file.source(
            f"{len(items)} contexts, domains {', '.join(config.domains)}; unrelated continuations {'kept' if unrelated else 'left out'}"
        ),
    )
