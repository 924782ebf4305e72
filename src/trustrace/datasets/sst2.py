"""Robustness: SST-2, sentences of film reviews as they are and with case typos."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from trustrace.core.config import Config
from trustrace.core.draws import generator
from trustrace.core.errors import DataError
from trustrace.core.statements import LabelMeaning, Statements
from trustrace.datasets import sources
from trustrace.datasets.grouping import normalise, runs
from trustrace.datasets.perturbation import flip_case
from trustrace.datasets.splits import assign_splits

MINIMUM_WORDS = 10
"""Shorter phrases of the training file are fragments of sentences."""


class SST2Config(Config):
    """How robustness/defined is built.

    Attributes:
        rate: Share of letters whose case is flipped, in expectation; the paper names 0.05 and 0.20.
        more_phrases: How many phrases of GLUE's training file to add to the 872 sentences of its development file.
        canonical: Read GLUE's own archive in place of the pinned mirror.
    """

    rate: float = Field(default=0.05, gt=0, le=1)
    more_phrases: int = Field(default=0, ge=0)
    canonical: bool = False


def published(*, seed: int, data_dir: Path | None = None) -> Statements:
    """The paper's CSV, row for row: 1,821 sentences twice, 1 = perturbed.

    In 14 pairs nothing was flipped, so that equal texts have both labels. A sentence and its twin form a group.
    """
    texts, labels = sources.read_labelled(sources.PAPER_SST2, data_dir=data_dir)
    groups = tuple(normalise(text) for text in texts)
    return Statements(
        name="robustness/published",
        dimension="robustness",
        texts=texts,
        labels=labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=seed),
        meaning=LabelMeaning(
            one="perturbed: about 5 % of the letters in the other case", zero="the original sentence", desired=0
        ),
        source=sources.PAPER_SST2.source(
            "originals hold no capital, so a single capital gives a perturbed row away; 14 pairs are equal"
        ),
    )


def defined(config: SST2Config, *, seed: int, data_dir: Path | None = None) -> Statements:
    """Each sentence as it is (0) and with case typos (1), as twins in one group.

    Sentences are GLUE's, tokenised and in lower case as distributed; the space at their end is removed. The typos are drawn with `seed`
    by :func:`~trustrace.datasets.perturbation.flip_case`; a pair whose twin came out untouched is dropped, both rows of it. Added phrases
    have at least ten words and share no run of eight words with a sentence or phrase taken before, since the training file holds phrases
    within phrases.
    """
    sentences = [*_sentences(config, data_dir), *_phrases(config, seed, data_dir)]
    pairs = [(sentence, flip_case(sentence, rate=config.rate, seed=seed)) for sentence in sentences]
    touched = [pair for pair in pairs if pair[0] != pair[1]]
    texts = tuple(text for pair in touched for text in pair)
    labels = (0, 1) * len(touched)
    groups = tuple(normalise(text) for text in texts)
    return Statements(
        name="robustness/defined",
        dimension="robustness",
        texts=texts,
        labels=labels,
        groups=groups,
        splits=assign_splits(groups=groups, labels=labels, seed=seed),
        meaning=LabelMeaning(
            one=f"perturbed: {config.rate:.0%} of the letters in the other case",
            zero="the original sentence",
            desired=0,
        ),
        source=(sources.CANONICAL_SST2 if config.canonical else sources.SST2_SENTENCES).source(
            f"{len(sentences)} sentences; dropped: {len(pairs) - len(touched)} pairs whose twin came out untouched; "
            "originals are in lower case throughout, so a capital gives a perturbed row away"
        ),
    )


def _sentences(config: SST2Config, data_dir: Path | None) -> list[str]:
    return _read(sources.SST2_SENTENCES, "SST-2/dev.tsv", config, data_dir)


def _phrases(config: SST2Config, seed: int, data_dir: Path | None) -> list[str]:
    """`more_phrases` phrases of the training file, in a seeded order, that overlap neither each other nor the sentences."""
    if not config.more_phrases:
        return []
    phrases = [
        text
        for text in _read(sources.SST2_PHRASES, "SST-2/train.tsv", config, data_dir)
        if len(text.split()) >= MINIMUM_WORDS
    ]
    order = generator(seed, "more phrases").permutation(len(phrases))
    chosen = _without_overlap(
        (phrases[i] for i in order), taken=_sentences(config, data_dir), limit=config.more_phrases
    )
    if len(chosen) < config.more_phrases:
        raise DataError(
            f"more_phrases is {config.more_phrases}, but only {len(chosen)} phrases overlap no other; ask for at most that many"
        )
    return chosen


def _without_overlap(phrases: Iterable[str], *, taken: list[str], limit: int) -> list[str]:
    seen = {run for text in taken for run in runs(text)}
    chosen: list[str] = []
    for phrase in phrases:
        if len(chosen) == limit:
            break
        if seen.isdisjoint(found := runs(phrase)):
            chosen.append(phrase)
            seen.update(found)
    return chosen


def _read(file: sources.SourceFile, member: str, config: SST2Config, data_dir: Path | None) -> list[str]:
    """The sentences of `file`, or of the `member` of GLUE's archive that holds the same."""
    if config.canonical:
        file = sources.CANONICAL_SST2
        text = _unzipped(sources.read_bytes(file, data_dir=data_dir), member)
    else:
        text = sources.read_text(file, data_dir=data_dir)
    rows = sources.parse_rows(text, file, columns=("sentence", "label"), delimiter="\t")
    return [row["sentence"].strip() for row in rows]


def _unzipped(archive: bytes, member: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return opened.read(member).decode("utf-8-sig")
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(
            f"{sources.CANONICAL_SST2.url} is not GLUE's archive of SST-2 ({error}); leave `canonical` out to use the mirror"
        ) from error
