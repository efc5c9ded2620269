"""Which ids are real: those that a token has, and whose row both heads of a pair have.

The ids of a tokenizer may have holes, and a head may be longer than its tokenizer (rows of padding)
or shorter by added tokens. What is not real is given no probability, on both sides alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from distillkit.core.errors import ModelError


@dataclass(frozen=True, slots=True)
class RealIds:
    """The ids that may be predicted."""

    end: int
    """One more than the largest; rows of a head from here on are cut."""
    holes: tuple[int, ...] = ()
    """Ids below it that are masked."""
    unscored: frozenset[int] = frozenset()
    """Ids of tokens that are no real ids, so that no text to be learnt may hold them."""

    @property
    def count(self) -> int:
        """How many there are."""
        return self.end - len(self.holes)


def among(scored: Iterable[int], tokens: Iterable[int]) -> RealIds:
    """Those ids that are scored, of a tokenizer whose tokens have all of these."""
    scored = frozenset(scored)
    end = max(scored) + 1
    holes = () if len(scored) == end else tuple(sorted(set(range(end)) - scored))
    return RealIds(end, holes, frozenset(tokens) - scored)


def real_ids(tokenizer: Any, rows: int, *, side: str) -> RealIds:
    """The real ids of one model.

    Args:
        tokenizer: a transformers tokenizer.
        rows: of the head.
        side: ``teacher`` or ``student``, for error messages.

    Raises:
        ModelError: the head has no row for ordinary tokens, or for the end token.
    """
    ids = frozenset(tokenizer.get_vocab().values())
    beyond = {each for each in ids if each >= rows}
    added = frozenset(tokenizer.added_tokens_decoder)
    if not beyond <= added or len(beyond) == len(ids):
        raise ModelError(
            f"{side}.name: the head has {rows} rows for a tokenizer of {len(tokenizer)} entries. "
            "Use the tokenizer that the model was trained with."
        )
    if tokenizer.eos_token_id in beyond:
        raise ModelError(
            f"{side}.name: the head has {rows} rows, and none of them is for the end token "
            f"{tokenizer.eos_token!r}, id {tokenizer.eos_token_id}, so no response could end. Set "
            f"eos_token in tokenizer_config.json of {side}.name to the end token that the model "
            "was trained with."
        )
    return among(ids - beyond, ids)


def only_added(
    left: dict[str, int], right: dict[str, int], *, added: Iterable[str]
) -> frozenset[str] | None:
    """Tokens that one of two vocabularies has alone, where the two agree but for added tokens.

    Returns:
        None where a token has two ids, an id two tokens, or the tokens are no added ones.
    """
    alone = left.keys() ^ right.keys()
    if any(left[token] != right[token] for token in left.keys() & right.keys()):
        return None
    ids = [left.get(token, right.get(token)) for token in alone]
    shared = {left[token] for token in left.keys() & right.keys()}
    if len(set(ids)) < len(ids) or not shared.isdisjoint(ids) or not alone <= set(added):
        return None
    return frozenset(alone)
