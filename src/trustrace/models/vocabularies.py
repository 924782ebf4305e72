"""Whether logits of two vocabularies mean the same, as far as the smaller one goes."""

from collections.abc import Collection, Mapping


def extends(words: Mapping[str, int], base: Mapping[str, int], *, special: Collection[str]) -> bool:
    """Whether `words` are those of `base` under the same ids, and besides only special tokens whose ids lie beyond all of them.

    >>> extends({"a": 0, "b": 1, "<turn>": 2}, {"a": 0, "b": 1}, special={"<turn>"})
    True

    Args:
        words: Tokens with their ids; those of `base` extend it, too.
        base: The same of what may have been extended.
        special: Which of `words` are special tokens.
    """
    beyond = max(base.values(), default=-1)
    gained = words.keys() - base.keys()
    return base.items() <= words.items() and all(token in special and words[token] > beyond for token in gained)
