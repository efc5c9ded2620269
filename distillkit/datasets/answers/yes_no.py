"""Yes or no, as a text settles on it; true and false say the same."""

import re

from distillkit.datasets.answers.denials import denies
from distillkit.datasets.answers.statements import first_sentence, problems, statements
from distillkit.datasets.answers.typography import plain

_READ = 500
"""Characters after an announcement that are read."""

_MEANS = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}

# The question's own words, as in "Yes or no: no."
_ASKED = re.compile(
    r"\(?\b(?:yes(?: or |/| / )no|no(?: or |/| / )yes|true(?: or |/| / )false)\b\)?[ :,?-]*"
)
_BOTH = re.compile(r"\b(?:yes and no|no and yes|true and false)\b")
_ADVERB = (
    r"(?:(?:a|an|the|clear|resounding|definite|definitive|simple|short|simply|therefore|thus|then|so"
    r"|most|almost|likely|still|indeed|just|now|is|that|it|hence|actually|also|be|[a-z]{2,12}ly)\b[\W_]*)"
)
_STATED = re.compile(rf"[\W_]*{_ADVERB}*(yes|no|true|false)\b")
_BEFORE_A_CLAUSE = (
    r"because|since|as|it|he|she|they|there|this|that|these|those|the|a|an|you|we|i|his|her|their|its"
    r"|but|and|so|if|not|although|though|while|however|for|in|on|at|most|only|even|when"
)
_SAID = re.compile(rf"\b(?:(yes)|(no)(?! (?!(?:{_BEFORE_A_CLAUSE})\b)[a-z])(?!-))\b")
_JUDGED = re.compile(
    r"(?:^|[.!?\n:][\s\"'*]{0,4}|\b(?:statement|claim|this|that|it|which)(?: is|'s) (?:[a-z]+ly )?)"
    r"(true|false)(?=[\"'*]{0,4}\s?(?:[.!,;\n]|$))"
)
_OF_OTHERS = re.compile(
    r"\b(?:many|some|most|people|others?|they|one|you|may|might|everyone|few)"
    r"(?: [a-z]+)? (?:says?|said|thinks?|believes?|answers?|claims?|argues?|guess)(?: that)?"
    r"[ \"':,]*$"
)


def last_yes_or_no(text: str) -> str | None:
    """``yes`` or ``no`` in any case: the last announced one, else the last one said.

    The ``no`` of ``no evidence`` says nothing and is passed over, and so is what others say.
    ``Yes and no`` is neither.
    """
    for part in problems(text):
        said = _ASKED.sub("", plain(part).lower())
        for read in (_announced, _bare):
            found = read(said)
            if found is not None:
                return found or None
    return None


def _announced(part: str) -> str | None:
    """The last announced one; "" where it is both."""
    for statement in reversed(statements(part)):
        said = first_sentence(statement.text[:_READ])
        if _BOTH.search(said):
            return ""
        found = _STATED.match(said)
        if found is not None:
            return _MEANS[found[1]]
        found = re.match(r"[\W_]*not (true|false)\b", said)
        if found is not None:
            return "no" if found[1] == "true" else "yes"
    return None


def _bare(part: str) -> str | None:
    if _BOTH.search(part):
        return ""
    said = [
        (found.start(), _MEANS[found[0]])
        for found in _SAID.finditer(part)
        if not denies(part, found.start())
        and not _OF_OTHERS.search(part[max(0, found.start() - 60) : found.start()])
    ]
    judged = [(found.start(1), _MEANS[found[1]]) for found in _JUDGED.finditer(part)]
    return max((*said, *judged))[1] if said or judged else None
