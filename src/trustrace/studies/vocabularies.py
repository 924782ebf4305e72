"""The vocabulary of a checkpoint as its files have it: read without weights, to be compared before anything is loaded."""

from collections.abc import Mapping
from typing import Any

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models.sources import CheckpointSource
from trustrace.models.weights import read_json

FILE = "tokenizer.json"


def vocabulary_of(source: CheckpointSource, checkpoint: Checkpoint) -> dict[str, int] | None:
    """Tokens and their ids, added ones among them; None where its files do not say so in a form that is read here.

    Raises:
        ModelError: the checkpoint cannot be had.
    """
    with source.path(checkpoint, with_weights=False) as folder:
        if not (folder / FILE).is_file():
            return None
        try:
            return _tokens(read_json(folder / FILE))
        except (CheckpointError, KeyError, TypeError, AttributeError, ValueError):
            # Whether a damaged tokenizer can be used is said where it is loaded.
            return None


def _tokens(content: Mapping[str, Any]) -> dict[str, int]:
    held = content["model"]["vocab"]
    # A unigram model lists its tokens with their scores; a token's place is its id.
    known = dict(held) if isinstance(held, dict) else {token: place for place, (token, _) in enumerate(held)}
    return known | {added["content"]: int(added["id"]) for added in content.get("added_tokens", ())}
