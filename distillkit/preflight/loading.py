"""What was mended while the models were loaded, and how they read what they write."""

from collections.abc import Iterator

from distillkit.core.types import Author
from distillkit.models.reading import UNCACHED
from distillkit.preflight.finding import Finding, ok, warning
from distillkit.preflight.subject import Subject


def mended(subject: Subject) -> Iterator[Finding]:
    """Settings of a model that a run could not have saved."""
    notes = [note for _, model in subject.sides() for note in model.notes]
    for note in notes:
        yield warning(
            note,
            why="a run would have ended in an error after its last step",
            mend="Mend the file where the model came from, or leave it: a run saves what is valid",
        )
    if not notes:
        yield ok("nothing had to be mended")


def cached(subject: Subject) -> Iterator[Finding]:
    """Text that is written behind a cache is what whole passes give, of every model that writes."""
    for side, model in subject.sides():
        if not _writes(subject, side):
            continue
        if model.way.name == UNCACHED:
            yield warning(
                f"{side}: text that {type(model.module).__name__} writes behind its cache is not "
                "what it writes without one, so it writes without",
                why="every token costs a pass through the whole text before it",
                mend=f"Choose another {side}.name=..., lower rollout.max_new_tokens, or leave it: "
                "the text is right",
            )
        else:
            yield ok(f"{side}: writes with {model.way.name}, as whole passes would")


def _writes(subject: Subject, side: str) -> bool:
    """Whether a model writes anything in this run, be it to be measured."""
    run = subject.run
    if run.evaluation.test != 0 or (side == "student" and run.evaluation.every):
        return True
    own = Author.student if side == "student" else Author.teacher
    return bool(subject.authors & {own, Author.mixture})
