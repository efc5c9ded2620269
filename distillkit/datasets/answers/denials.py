"""Whether a choice or a word is denied by what stands around it."""

import re

_NEAR = 80
"""Characters on either side that are read."""

_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|without|unlike|rejects?|rejected|rejecting|eliminates?|than"
    r"|eliminated|eliminating|excludes?|excluded|excluding|dismiss(?:es|ed|ing)?|instead of"
    r"|discard(?:s|ed|ing)?)|n't(?: be)?|\brul(?:es?|ed|ing) out)"
    r"(?: (?:be|is|the|an?|option|choice|answer|letter|of|both|either))*[ \"'*(\[{]*$",
    re.IGNORECASE,
)
_BAD = (
    r"not|wrong|incorrect|false|out|irrelevant|impossible|implausible|unlikely|unrelated|invalid"
    r"|unsuitable|inappropriate|nonsense|nonsensical|eliminated|excluded|poor|bad|worse|worst|silly"
    r"|strange|odd|less|weak"
)
_BE = r"(?:is|are|was|were|seems?|looks?|sounds?)"
_NOT_OF_A_CHOICE = (
    r"is|are|was|were|do|does|would|makes?|seems?|looks?|has|have|can|cannot|will|because|since|as"
    r"|so|and|but|not|fails?|which|that|it"
)
_AFTER = re.compile(
    r"[)\]}.:*\"']*"
    # The words of the choice itself.
    rf"(?: (?!(?:{_NOT_OF_A_CHOICE})\b)[a-z'-]+){{0,4}}"
    r",?(?: (?:but|and|which|that|it|this|they|both|all|each))*"
    rf" (?:{_BE}(?: [a-z]+ly| also| all| both| just| both)?(?: an?| the)? (?:{_BAD})\b"
    r"|(?:is|are|was|were|do|does|did|would|could|can|will|has|have|should)(?:n't| not| never)\b"
    r"|cannot\b|can't\b|won't\b|makes? (?:no|little)\b|fails?\b|ha(?:s|ve) no(?:thing)?\b"
    r"|can be (?:ruled|eliminated|excluded|dismissed))",
    re.IGNORECASE,
)


def denies(text: str, start: int) -> bool:
    """Whether what stands right before a place denies what begins there."""
    return _BEFORE.search(text[max(0, start - _NEAR) : start]) is not None


def denied(text: str, end: int) -> bool:
    """Whether what follows a place denies what ends there."""
    return _AFTER.match(text[end : end + 2 * _NEAR]) is not None
