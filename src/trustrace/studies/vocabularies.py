"""The vocabulary of a checkpoint as its files have it: read without weights, to be compared before anything is loaded."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models.sources import CheckpointSource
from trustrace.models.weights import read_json

FILE = "tokenizer.json"

Found = TypeVar("Found")


def vocabulary_of(source: CheckpointSource, checkpoint: Checkpoint) -> dict[str, int] | None:
    """Tokens and their ids, added ones among them; None where its files do not say so in a form that is read here.

    Raises:
        ModelError: the checkpoint cannot be had.
    """
    return _read(source, checkpoint, _tokens)


def special_tokens_of(source: CheckpointSource, checkpoint: Checkpoint) -> frozenset[str]:
    """Those of its tokens that were added as special ones; none where its files do not say so.

    Raises:
        ModelError: the checkpoint cannot be had.
    """
    return _read(source, checkpoint, _special) or frozenset()


def _read(source: CheckpointSource, checkpoint: Checkpoint, what: Callable[[Mapping[str, Any]], Found]) -> Found | None:
    with source.path(checkpoint, with_weights=False) as folder:
        if not (folder / FILE).is_file():
            return None
        try:
            return what(read_json(folder / FILE))
        except (CheckpointError, KeyError, TypeError, AttributeError, ValueError):
            # Whether a damaged tokenizer can be used is said where it is loaded.
            return None


def _special(content: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(added["content"] for added in content.get("added_tokens", ()) if added.get("special"))


def _tokens(content: Mapping[str, Any]) -> dict[str, int]:
    held = content["model"]["vocab"]
    # A unigram model lists its tokens with their scores; a token's place is its id.
    known = dict(held) if isinstance(held, dict) else {token: place for place, (token, _) in enumerate(held)}
    return known | {added["content"]: int(added["id"]) for added in content.get("added_tokens", ())}
