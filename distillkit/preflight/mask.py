"""Which tokens are trained on, read from a real batch and shown."""

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from distillkit.core.types import Batch
from distillkit.models.language_model import LanguageModel
from distillkit.preflight.finding import Finding, fatal, ok, warning
from distillkit.preflight.subject import Subject

SHOWN = 160
"""Tokens of prompt, and of response, that are shown; what is left out is said."""


def mask(subject: Subject) -> Iterator[Finding]:
    """One row of the probe batch: the response and its end are trained on, the prompt is not."""
    probe = subject.probe
    response = probe.responses[0]
    for side, model, batch in (
        ("teacher", subject.teacher, probe.teacher),
        ("student", subject.student, probe.student),
    ):
        chosen = [token for token, trained in marked(batch, row=0) if trained]
        predicted = batch.targets[batch.rows == 0].tolist()
        if not chosen == predicted == list(response.tokens):
            yield fatal(
                f"{side}: the trained tokens of {probe.examples[0].id} are not its response",
                why="the loss would be that of other tokens",
                mend="This is a bug of distillkit: please report it",
            )
        elif side == "student":
            yield _shown(model, batch, chosen, probe.examples[0].id)
    if probe.examples[0].closed and response.tokens[-1] not in subject.student.stop_ids:
        yield warning(
            f"the response of {probe.examples[0].id} is cut and carries no end token",
            why="nothing teaches the student to stop there",
            mend="Raise teacher_rollout.max_new_tokens, or leave out rows that long",
        )


def marked(batch: Batch, *, row: int) -> list[tuple[int, bool]]:
    """The real tokens of a row, and whether each is a target."""
    # The hidden state one column before a token predicts it.
    targets = set((batch.columns[batch.rows == row] + 1).tolist())
    length = int(batch.mask[row].sum())
    return [
        (token, column in targets)
        for column, token in enumerate(batch.tokens[row, :length].tolist())
    ]


def preview(model: LanguageModel, tokens: Sequence[tuple[int, bool]]) -> Text:
    """Prompt dim, trained tokens coloured and apart, each trained stretch in brackets.

    The brackets say the same in a log without colour.
    """
    text = Text()
    inside = False
    for token, trained in tokens:
        if trained != inside:
            text.append("[" if trained else "]", style="bold")
        elif trained:
            text.append("|", style="dim")
        inside = trained
        ends = trained and token in model.stop_ids
        style = "bold reverse green" if ends else "green" if trained else "dim"
        text.append(str(model.tokenizer.decode([token], skip_special_tokens=False)), style=style)
        if ends:
            text.append("<-end", style="bold")
    return text.append("]" if inside else "", style="bold")


def _shown(model: LanguageModel, batch: Batch, chosen: list[int], name: str) -> Finding:
    tokens = marked(batch, row=0)
    prompt, cut = len(tokens) - len(chosen), []
    if prompt > SHOWN:
        cut.append(f"(the first {prompt - SHOWN} tokens of the prompt are not shown)")
    if len(chosen) > SHOWN:
        cut.append(f"({len(chosen) - SHOWN} tokens inside the response are not shown)")
    response = tokens[prompt:]
    if len(response) > SHOWN:
        response = [*response[: SHOWN // 2], *response[-SHOWN // 2 :]]
    seen = [*tokens[:prompt][-SHOWN:], *response]
    return ok(
        f"{name}: {len(chosen)} of {len(tokens)} tokens are trained on, in brackets below",
        shown=Group(preview(model, seen), *(Text(line, style="dim") for line in cut)),
    )
