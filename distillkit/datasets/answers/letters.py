"""The letter of the choice that a text settles on."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from distillkit.datasets.answers.denials import denied, denies
from distillkit.datasets.answers.statements import Kind, first_sentence, problems, statements
from distillkit.datasets.answers.typography import plain

_READ = 500
"""Characters after an announcement that are read."""
_LISTED = 3
"""Letters from the first on, in order and none denied, that are the choices repeated."""
_APART = 60
"""Characters between two choices of a list, at most."""

NOUNS = ("answer", "choice", "option", "letter")
"""What is announced."""

_FILLER = (
    r"(?:(?:the|most|best|correct|right|option|choice|letter|answer|number|likely|therefore|thus"
    r"|then|just|now|so|is|hence|almost|either|both|perhaps|maybe|be|still|indeed|[a-z]{3,12}ly)"
    r"\b[\s:,=$\"'*_-]*)"
)
_AFTER_A_LETTER = (
    r"is|was|because|since|as|and|or|but|not|makes?|seems?|would|does|doesn't|cannot|can't|isn't"
    r"|fits?|works?|if|when|for|so|will|should|must|may|might|has|looks|though|although|which"
)
_CLOSED = r"[)\]}.:*\"']*"
_RIGHT = (
    r"(?: (?:is|was|seems|(?:must|would|should) be)) (?:[a-z]+ly )?(?:(?:the|a|my) )?"
    r"(?:(?:[a-z]+ ){0,2}(?:answer|choice|option)\b|(?:correct|right)(?! [a-z]))"
)
_OPEN = re.compile(
    r"[)\]}]?\s*,?\s*(?:or|and|and/or|/|&|,)\s*(?:(?:option|choice|either|maybe) )?[(\[{]?", re.I
)
_JOINED = re.compile(
    r"[)\]}]?\s*,?\s*(?:(?:and|or|nor|/|&)\s*)?(?:(?:option|choice) )?[(\[{]?", re.I
)
_CONJUNCTION = re.compile(r"\b(?:and|or|nor)\b|[/&]", re.I)


@dataclass(frozen=True, slots=True)
class _Named:
    """A letter in a text; ``denied`` where it is said not to be the answer."""

    letter: str
    start: int
    end: int
    bracketed: bool
    denied: bool = False


@dataclass(frozen=True, slots=True)
class _Patterns:
    """What matches for one set of letters."""

    named: re.Pattern[str]
    """In brackets, or alone and in upper case."""
    opening: re.Pattern[str]
    """What an announcement is followed by, in any case."""
    right: re.Pattern[str]
    """``B is the right answer``."""
    only: re.Pattern[str]
    """A text that says nothing else, or begins as a choice does, ``b) bank``."""


def last_letter(text: str, letters: str) -> str | None:
    """The last announced letter of ``letters``, else the last in brackets, else the last alone.

    Letters that are denied (``not B``, ``C makes no sense``) are passed over, and so are all the
    choices repeated; ``B or C`` is none. A lone ``A`` or ``I`` before a word is that word's. A
    small letter counts in brackets, right after an announcement, and where nothing else is said.
    """
    patterns = _patterns(letters)
    for part in map(plain, problems(text)):
        for read in (_announced, _bare):
            found = read(part, letters, patterns)
            if found is not None:
                return found or None
    return None


@cache
def _patterns(letters: str) -> _Patterns:
    any_case = f"[{letters}{letters.lower()}]"
    article = rf"(?!(?<=[AI])\s+(?!(?:{_AFTER_A_LETTER})\b)[a-z])"
    lone = rf"(?<![A-Za-z]\.)(?P<lone>[{letters}])(?![\w'-]|\.[A-Za-z]){article}"
    named = rf"(?<![\w'\\-])(?:[(\[{{]\s*(?P<bracketed>{any_case})\s*[)\]}}]|{lone})"
    opening = (
        rf"[\W_]*{_FILLER}*[(\[{{]?\s*(?:(?P<upper>[{letters}])|(?P<lower>[{letters.lower()}]))"
        rf"(?![\w'-])(?!(?<=[ai])\s+(?!(?:{_AFTER_A_LETTER})\b)[A-Za-z])"
    )
    return _Patterns(
        named=re.compile(named),
        opening=re.compile(opening),
        right=re.compile(rf"{named}{_CLOSED}{_RIGHT}"),
        only=re.compile(rf"\W*({any_case})(?:\W*$|[.):]\s)"),
    )


def _announced(part: str, letters: str, patterns: _Patterns) -> str | None:
    """The last announced one; "" where the choice is left open."""
    told = [
        (
            each.start,
            _stated(
                each.text if each.kind is Kind.box else first_sentence(each.text[:_READ]),
                letters,
                patterns,
            ),
        )
        for each in statements(part, nouns=NOUNS)
    ]
    right = [
        (found.start(), (found["bracketed"] or found["lone"]).upper())
        for found in patterns.right.finditer(part)
        if not denies(part, found.start())
    ]
    stated = [(start, letter) for start, letter in (*told, *right) if letter is not None]
    return max(stated)[1] if stated else None


def _stated(said: str, letters: str, patterns: _Patterns) -> str | None:
    """What follows an announcement: the first letter that is not denied."""
    named = [each for each in _named(said, patterns) if not each.denied]
    opening = patterns.opening.match(said)
    if opening is not None:
        place = opening.end()
        letter = (opening["upper"] or opening["lower"]).upper()
        first = _Named(letter, place - 1, place, bracketed=False)
        if not denied(said, place) and not denies(said, opening.start("upper")):
            named = [first, *(each for each in named if each.end > place + 1)]
    if not named or len(_listed(said, named, letters)) >= _LISTED:
        return None
    first, *others = named
    if others and others[0].letter != first.letter and _is_open(said, first, others[0]):
        return ""
    return first.letter


def _bare(part: str, letters: str, patterns: _Patterns) -> str | None:
    """The last one named; "" where the choice is left open."""
    only = patterns.only.match(part)
    named = [each for each in _named(part, patterns) if not each.denied]
    listed = _listed(part, named, letters)
    left = [each for each in named if each not in listed]
    preferred = [each for each in left if each.bracketed] or left
    if not preferred:
        return "" if listed else only[1].upper() if only else None
    last = preferred[-1]
    before = next((each for each in reversed(named) if each.start < last.start), None)
    if before and before.letter != last.letter and _is_open(part, before, last):
        return ""
    return last.letter


def _is_open(text: str, one: _Named, other: _Named) -> bool:
    """Whether nothing but ``or`` or ``and`` stands between them."""
    between = text[one.end : other.start]
    return len(between) <= _APART and _OPEN.fullmatch(between) is not None


def _named(text: str, patterns: _Patterns) -> list[_Named]:
    """The letters in order, each with whether it is denied, alone or together with others."""
    found = []
    for each in patterns.named.finditer(text):
        group = "bracketed" if each["bracketed"] else "lone"
        start, end = each.span(group)
        says_no = denies(text, each.start()) or denied(text, end)
        found.append(_Named(each[group].upper(), start, end, group == "bracketed", says_no))
    return [
        replace(each, denied=each.denied or together)
        for group in _groups(text, found)
        for together in [any(each.denied for each in group)]
        for each in group
    ]


def _groups(text: str, named: Sequence[_Named]) -> Iterator[list[_Named]]:
    """Letters that a conjunction joins share what is said of them; any other is alone."""
    group: list[_Named] = []
    for each in named:
        if group and not _JOINED.fullmatch(text[group[-1].end : each.start]):
            yield from _together(text, group)
            group = []
        group.append(each)
    yield from _together(text, group)


def _together(text: str, group: list[_Named]) -> Iterator[list[_Named]]:
    if group and _CONJUNCTION.search(text[group[0].end : group[-1].start]):
        yield group
    else:
        yield from ([each] for each in group)


def _listed(text: str, named: Sequence[_Named], letters: str) -> list[_Named]:
    """All letters of lists that repeat the choices in their order, from the first."""
    listed: list[_Named] = []
    run: list[_Named] = []
    for each in (*named, None):
        follows = (
            each is not None
            and len(run) < len(letters)
            and each.letter == letters[len(run)]
            and (not run or _is_next(text, run[-1], each))
        )
        if each is not None and follows:
            run.append(each)
            continue
        listed += run if len(run) >= _LISTED else []
        run = [each] if each is not None and each.letter == letters[0] else []
    return listed


def _is_next(text: str, one: _Named, other: _Named) -> bool:
    """Whether a choice and the next one are in one sentence, or each on its own line."""
    between = text[one.end : other.start].lstrip(")]}.:*")
    return len(between) <= _APART and not re.search(r"[.!?;]", between)
