"""The checkpoints of a suite as far as is known without asking the hub."""

from trustrace.core.checkpoints import Checkpoint
from trustrace.models import families


def known_checkpoints(repository: str) -> tuple[Checkpoint, ...]:
    """The checkpoints that a repository's family is known to publish, in order of training, none of them pinned to a commit.

    Args:
        repository: ``owner/name``, or ``owner/name@revision`` for that one alone.

    Returns:
        Nothing where the family has no list of its revisions.
    """
    name, _, revision = repository.partition("@")
    family = families.of(name)
    if revision:
        return (_described(name, family, revision),)
    if not family.expected:
        return ()
    ends = (families.MAIN,) if family.main and family.main not in family.expected else ()
    return tuple(sorted(_described(name, family, revision) for revision in (*family.expected, *ends)))


def _described(repository: str, family: families.Family, revision: str) -> Checkpoint:
    step, tokens = family.place(revision) or (None, None)
    return Checkpoint(family=family.name, model=repository, revision=revision, step=step, tokens_seen=tokens)
