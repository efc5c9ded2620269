"""What a teacher is asked: templates by round, and the lesson in its reply.

After UNDO (arXiv:2504.02521). The paper's own words are not public: headings, the five checks and
the five requirements follow the first commit of a third party's re-implementation
(MT121201/undo-iterative-distill). The untargeted prompt is the control without errors in view.
"""

import re
from typing import Any, ClassVar

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.templates import RenderingError, render_strict, variables_of
from distillkit.core.types import Message
from distillkit.lessons.base import Request, ValidationRecord

NEW_ANSWER = re.compile(r"^[ \t]*#+[ \t]*\**new\\?_answer\b[:* \t]*", re.IGNORECASE | re.MULTILINE)
"""The heading under which a rewritten lesson stands."""

SAMPLE = ValidationRecord(id="0", question="Why?", lesson="Because.", answer="So.", correct=False)


@spec("prompt/maths")
class Prompts:
    """Jinja templates by round, with ``question``, ``ending`` and ``words``, which may be none.

    All but ``write`` also have ``lessons``, oldest first. ``first`` and ``later`` also have
    ``answer`` and ``correct`` (the student's answer to the question and whether it is right, none
    where not shown) and ``evidence``, records with ``question``, ``lesson``, ``answer`` and
    ``correct``.
    """

    system: str = ""
    """System message, no template; left out where empty, as some models know none."""
    ending: str
    """The required last line, in words that finish a sentence."""
    write: str
    """The first lesson for a question: ordinary chain of thought."""
    first: str
    """The first rewriting, with the student's errors in view."""
    later: str
    """Further rewritings, with all earlier lessons and the student's errors in view."""
    untargeted: str
    """Any rewriting with earlier lessons in view and nothing of the student's."""

    VARIABLES: ClassVar = {
        "write": {"question"},
        "first": {"question", "lessons", "answer", "correct", "evidence"},
        "later": {"question", "lessons", "answer", "correct", "evidence"},
        "untargeted": {"question", "lessons"},
    }

    def __post_init__(self) -> None:
        for field, variables in self.VARIABLES.items():
            self._check(field, variables | {"ending", "words"})

    def conversation(self, request: Request) -> tuple[Message, ...]:
        """What a teacher is asked for a lesson, by the template that fits what is given.

        Without earlier lessons ``write`` is used, without an answer and evidence ``untargeted``.
        The right answer to the training question is not shown.
        """
        lessons, field = request.lessons, "write"
        if lessons and not request.evidence and request.answer is None:
            field = "untargeted"
        elif lessons:
            field = "first" if len(lessons) == 1 else "later"
        values = {
            "question": "\n\n".join(turn.content for turn in request.example.prompt),
            "lessons": list(lessons),
            "answer": request.answer,
            "correct": request.correct,
            "evidence": list(request.evidence),
        }
        known = {name: values[name] for name in self.VARIABLES[field]}
        text = self._render(field, {**known, "words": request.words})
        opening = (Message("system", self.system),) if self.system else ()
        return (*opening, Message("user", text))

    def _render(self, field: str, values: dict[str, Any]) -> str:
        try:
            return render_strict(getattr(self, field), {"ending": self.ending, **values}).strip()
        except RenderingError as error:
            raise ConfigError(f"prompt.{field} cannot be rendered ({error}). Mend it.") from error

    def _check(self, field: str, allowed: set[str]) -> None:
        """Refuse what could not be rendered in the middle of a run."""
        try:
            used = variables_of(getattr(self, field))
        except RenderingError as error:
            raise ConfigError(
                f"prompt.{field} is no Jinja template ({error}). Mend it there."
            ) from error
        if unknown := sorted(used - allowed):
            raise ConfigError(
                f"prompt.{field} uses {', '.join(unknown)}, which it is not given. It may use "
                f"{', '.join(sorted(allowed))}."
            )
        if "question" not in used:
            raise ConfigError(
                f"prompt.{field} does not ask the question. Put {{{{ question }}}} in."
            )
        shared = {"question": "Why?", "lessons": ["Because.", "So."]}
        shown = {"answer": "So.", "correct": False, "evidence": [SAMPLE], "words": 100}
        hidden: dict[str, Any] = {"answer": None, "correct": None, "evidence": [], "words": None}
        for given in (shown, hidden):
            values = {name: (shared | given)[name] for name in allowed - {"ending"}}
            self._render(field, values)


def lesson_of(text: str) -> str:
    """What a teacher wrote after its last ``### new_answer``, or all of it, without its thoughts.

    A thought that was never finished hides all that follows.
    """
    said = text.rpartition("</think>")[2].partition("<think>")[0]
    return NEW_ANSWER.split(said)[-1].strip()
