"""Case typos: random letters of a sentence with their case flipped."""

from trustrace.core.draws import generator
from trustrace.core.errors import ConfigError


def flip_case(sentence: str, *, rate: float, seed: int) -> str:
    """`sentence` with each letter's case flipped with probability `rate`, independently.

    What is drawn depends on `seed` and the sentence alone: neither on the sentences before it nor on how many there are. Characters
    without another case (digits, marks, most scripts) and those that change length with it (ß, ŉ) stay as they are.

    Args:
        sentence: The text.
        rate: Share of letters to flip, in expectation; above 0, at most 1.
        seed: Another seed flips other letters.

    Raises:
        ConfigError: `rate` is not in (0, 1].

    Example:
        >>> flip_case("a quiet film", rate=1.0, seed=0)
        'A QUIET FILM'
    """
    if not 0 < rate <= 1:
        raise ConfigError(
            f"a rate of {rate} flips no letters that could be told apart; choose one above 0 and at most 1, such as 0.05"
        )
    hits = generator(seed, "case typos", sentence).random(len(sentence)) < rate
    return "".join(_flipped(character) if hit else character for character, hit in zip(sentence, hits, strict=True))


def _flipped(character: str) -> str:
    swapped = character.swapcase()
    return swapped if len(swapped) == 1 and swapped.swapcase() == character else character
