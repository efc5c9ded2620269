"""Prompts that would not survive, and references that are missing or would be cut."""

from collections.abc import Iterator, Sequence

from distillkit.core.types import Author, Split
from distillkit.preflight.finding import Finding, fatal, ok, warning
from distillkit.preflight.subject import Subject

OFTEN = 0.1
"""Share of cut answers above which the length limit is worth a warning."""
SHARES = (0.5, 0.9, 0.99)
"""Parts of the references that a proposed limit leaves whole."""


def lengths(subject: Subject) -> Iterator[Finding]:
    """All rows are measured, so that one run of the doctor finds all that are too long."""
    yield from _training(subject)
    yield from _evaluated(subject)
    yield from _references(subject)


def _training(subject: Subject) -> Iterator[Finding]:
    context, room, limit = subject.context, subject.room, subject.run.loop.max_prompt_tokens
    names = [example.id for example in subject.examples.get(Split.train, ())]
    measured = dict(zip(names, subject.prompt_lengths, strict=True))
    longest = max(measured, key=lambda name: measured[name])
    kept = {name: n for name, n in measured.items() if limit is None or n <= limit}
    long = [name for name, length in kept.items() if length + room > context]
    if not kept:
        yield fatal(
            f"loop.max_prompt_tokens={limit} drops every training prompt",
            why="there is nothing to train on",
            mend=f"Raise it: the shortest prompt has {min(measured.values())} tokens",
        )
    elif long:
        yield fatal(
            f"{len(long)} of {len(kept)} training prompts leave no room for {room} more tokens in "
            f"a context of {context}; the longest, {longest}, has {measured[longest]}",
            why="distillkit never cuts a prompt, so train refuses to start",
            mend=f"Set loop.max_prompt_tokens={max(1, context - room)} to drop them, or lower "
            "rollout.max_new_tokens",
        )
    else:
        dropped = len(measured) - len(kept)
        yield ok(
            f"{len(kept)} training prompts of at most {max(kept.values())} tokens, {room} more fit "
            f"into a context of {context}"
            + (f"; loop.max_prompt_tokens={limit} drops {dropped}" if dropped else "")
        )
    if empty := [name for name, length in measured.items() if not length]:
        yield fatal(
            f"{len(empty)} training prompts have no tokens, first {empty[0]}",
            mend="Leave these rows out, or choose another teacher.prompt or student.prompt",
        )


def _evaluated(subject: Subject) -> Iterator[Finding]:
    sides = (subject.teacher, subject.student)
    for split in (Split.validation, Split.test):
        long = [
            example.id
            for example in subject.examples.get(split, ())
            if max(side.prompt_length(example) for side in sides) >= subject.context
        ]
        if long:
            yield fatal(
                f"{len(long)} {split} prompts fill a context of {subject.context}, first {long[0]}",
                why="no answer would fit behind them",
                mend="Leave these rows out, or choose a model with more room",
            )


def _references(subject: Subject) -> Iterator[Finding]:
    measured = [n for n in subject.reference_lengths if n]
    missing = subject.reference_lengths[: subject.run.dataset.labelled].count(0)
    if Author.dataset in subject.authors and missing:
        yield fatal(
            f"{missing} training examples have no reference response, which this policy trains on",
            why="there is no text to learn from, so train refuses to start",
            mend="Use policy=on_policy or policy=seq_kd, or leave these rows out",
        )
    if Author.dataset in subject.authors:
        rows = zip(subject.prompt_lengths, subject.reference_lengths, strict=True)
        cut = sum(prompt + reference > subject.context for prompt, reference in rows if reference)
        if cut:
            yield warning(
                f"{cut} training references do not fit behind their prompt into a context of "
                f"{subject.context}",
                why="they are cut and carry no end token",
                mend="Set a smaller loop.max_prompt_tokens, or leave these rows out",
            )
    yield from _cut(subject, measured)


def _cut(subject: Subject, measured: Sequence[int]) -> Iterator[Finding]:
    """References over the length limit, and what each higher limit would cost."""
    limit = subject.run.rollout.max_new_tokens
    over = sum(length > limit for length in measured)
    if not measured or over <= OFTEN * len(measured):
        return
    prompts = [subject.prompt_lengths[index] for index in subject.kept]
    most = subject.context - max(prompts)
    ordered = sorted(measured)
    wanted = {ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in SHARES}
    choices = sorted({min(length, most) for length in wanted | {ordered[-1]}} - {*range(limit + 1)})
    said = [_choice(length, limit, measured) for length in choices]
    mend = f"Lower loop.max_prompt_tokens: the longest prompt leaves room for {most} tokens"
    if said:
        mend = f"Set rollout.max_new_tokens={'; or '.join(said)}; or leave it, where they ramble"
    middle = ordered[len(ordered) // 2]
    yield warning(
        f"{over / len(measured):.0%} of the references are longer than "
        f"rollout.max_new_tokens={limit}: half have over {middle} tokens, the longest "
        f"{ordered[-1]}",
        why="answers of that length are cut while the student writes and is measured",
        mend=mend,
    )


def _choice(length: int, limit: int, measured: Sequence[int]) -> str:
    """A limit with the share that it still cuts and the time that it costs."""
    cut = sum(reference > length for reference in measured) / len(measured)
    still = "cuts none" if not cut else f"cuts {cut:.1%}" if cut < 0.01 else f"cuts {cut:.0%}"
    return f"{length} ({still}, a text that never ends takes {length / limit:.2g} times as long)"
