"""A pair of two tokenizers: what their vocabularies share, and how far their texts go together."""

from collections.abc import Callable, Iterator

from distillkit.core.types import Author, Response, Rollout, Split
from distillkit.models.shared_ids import differ
from distillkit.opinions.translation import Translator
from distillkit.preflight.finding import Finding, fatal, ok
from distillkit.preflight.subject import MissingPartError, Subject

LOOKED_AT = 64
"""Training examples whose references are laid side by side."""
FEW = 0.1
"""Share of the tokens in chunks below which there is next to nothing to learn."""


def is_foreign(subject: Subject) -> bool:
    """Whether the run takes teacher and student for two of different tokenizers."""
    comparison = subject.run.objective.comparison()
    if comparison is not None:
        return comparison.support.FOREIGN
    if subject.run.objective.needs_teacher() or Author.mixture in subject.authors:
        return False
    return differ(subject.teacher, subject.student)


def one_vocabulary(
    look: Callable[[Subject], Iterator[Finding]],
) -> Callable[[Subject], Iterator[Finding]]:
    """A check that reads the same ids with both models, left out where there are two kinds."""

    def alone(subject: Subject) -> Iterator[Finding]:
        if is_foreign(subject):
            raise MissingPartError("reads the same ids with both models, and these have two kinds")
        yield from look(subject)

    return alone


def overlap(subject: Subject) -> Iterator[Finding]:
    """Both tokenizers say which bytes their tokens are, and how many are the same."""
    translator = Translator(subject.student, subject.teacher)
    ours, theirs = (
        {side[number] for number in range(len(side))} - {None}
        for side in (translator.ours, translator.theirs)
    )
    both = len(ours & theirs)
    yield ok(
        f"two tokenizers: {both:,} tokens are the same bytes on both sides, {both / len(ours):.0%} "
        f"of the student's {len(ours):,} and {both / len(theirs):.0%} of the teacher's "
        f"{len(theirs):,}"
    )


def aligned_share(subject: Subject) -> Iterator[Finding]:
    """References of the training split, cut where both sides have a boundary."""
    translator = Translator(subject.student, subject.teacher)
    known = [each for each in subject.examples.get(Split.train, ()) if each.teaches][:LOOKED_AT]
    if not known:
        yield ok("no training example has a reference whose tokens could be laid side by side")
        return
    tokens = inside = chunks = alone = 0
    for example in known:
        ids = subject.student.reference_ids(example)
        response = Response(ids, truncated=not example.closed, author=Author.dataset)
        found = translator.of(Rollout(example, response)).chunks
        tokens, chunks = tokens + len(ids), chunks + len(found)
        inside += sum(len(chunk.ours) for chunk in found)
        alone += sum(len(chunk.ours) == len(chunk.theirs) == 1 for chunk in found)
    share = inside / tokens
    said = (
        f"{share:.0%} of {tokens:,} student tokens of {len(known)} references lie in chunks that "
        f"the teacher has too: {chunks:,} chunks, {tokens / max(1, chunks):.2f} tokens each, "
        f"{alone / max(1, chunks):.0%} of them one token on both sides"
    )
    if share < FEW:
        yield fatal(
            said,
            why="what belongs to no chunk is not learned from",
            mend="Choose another teacher.name=... or student.name=...",
        )
    else:
        yield ok(said)
