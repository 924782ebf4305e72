"""Where in a model an activation is read.

A decoder with L blocks has L + 2 sites, in order: ``embed`` (what enters the first block), ``block_0`` .. ``block_{L-1}`` (the
residual stream after each block, before the final norm), ``final_norm``. The last block's raw output and the final norm's output are
different places: Hugging Face's ``hidden_states[-1]`` is ``final_norm``, and no entry of ``hidden_states`` is ``block_{L-1}``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from trustrace.core.errors import ConfigError

Position = Literal["last", "first", "mean", "max"]
"""How the tokens of a statement become one vector. ``mean`` and ``max`` leave out a beginning-of-sequence token."""

POSITIONS: tuple[str, ...] = get_args(Position)

_BLOCK = re.compile(r"block_(0|[1-9]\d*)")


@dataclass(frozen=True, order=True)
class Site:
    """A named place in the residual stream; `depth` is 0 for ``embed``, i + 1 for ``block_i``, and above every block for ``final_norm``."""

    depth: int
    name: str

    @classmethod
    def parse(cls, name: str) -> "Site":
        """The site called `name`.

        Raises:
            ConfigError: `name` is none of ``embed``, ``block_<i>``, ``final_norm``.
        """
        if name == "embed":
            return cls(0, name)
        if name == "final_norm":
            return cls(1_000_000, name)
        if match := _BLOCK.fullmatch(name):
            return cls(int(match[1]) + 1, name)
        raise ConfigError(f"unknown site {name!r}; sites are 'embed', 'block_0', 'block_1', ... and 'final_norm'")

    def __str__(self) -> str:
        return self.name


def sites_of(n_blocks: int) -> tuple[Site, ...]:
    """All sites of a decoder with `n_blocks` blocks, in order of depth."""
    names = ["embed", *(f"block_{i}" for i in range(n_blocks)), "final_norm"]
    return tuple(Site.parse(name) for name in names)


def select_sites(wanted: Sequence[str] | Literal["all"], *, n_blocks: int) -> tuple[Site, ...]:
    """The `wanted` sites of a decoder with `n_blocks` blocks, in order of depth, each once.

    Raises:
        ConfigError: a wanted site is no site name, or this decoder has no such block.
    """
    available = sites_of(n_blocks)
    if wanted == "all":
        return available
    parsed = sorted({Site.parse(name) for name in wanted})
    absent = [site.name for site in parsed if site not in available]
    if absent or not parsed:
        raise ConfigError(
            f"sites {absent or '(none)'} are not in this model, which has {n_blocks} blocks: "
            f"'embed', 'block_0' .. 'block_{n_blocks - 1}', 'final_norm'"
        )
    return tuple(parsed)
