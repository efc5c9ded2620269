"""What data spell, what a template is told, and whether references are trained as it renders them.

A chat template has a rendering of its own for a prompt and its answer. A run trains on the prompt's
ids, the invitation to answer included, and the reference's ids behind them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from distillkit.core.templates import RenderingError
from distillkit.core.types import Author, Example, Message, Split
from distillkit.models.chat_template import ChatTemplate
from distillkit.models.language_model import LanguageModel
from distillkit.preflight.finding import Finding, fatal, ok, warning
from distillkit.preflight.subject import Subject

RENDERED = 64
"""References that are compared with the template's own rendering."""
OPENED = 64
"""Characters at the end of a prompt that a reference may repeat."""
LEAST = 3
"""Characters of a repetition that is none by chance."""
BEFORE, AFTER = 40, 60
"""Characters that are shown around a difference."""


def spelled(subject: Subject) -> Iterator[Finding]:
    """Which rows spell control tokens such as ``<|im_end|>``."""
    rows = subject.examples.get(Split.train, ())
    for side, model in subject.sides():
        plain = model.prompts.plain
        found = [(row, token) for row in rows if (token := plain.spelled(*_texts(row)))]
        if not found:
            yield ok(f"{side}: no training row spells a control token")
            continue
        row, token = found[0]
        read = "they are read as such" if plain.asked else "they are read as ordinary text"
        value = str(not plain.asked).lower()
        yield warning(
            f"{side}: {len(found)} of {len(rows)} training rows spell control tokens, and {read}; "
            f"the first is {row.id}, with {token!r}",
            why="a token that ends a text would be learnt and read in the middle of one",
            mend=f"Leave these rows out, or leave it so; {side}.special_tokens_in_text={value} "
            "changes it",
        )


def clock(subject: Subject) -> Iterator[Finding]:
    """Whether a chat template prints the date."""
    for side, model in subject.sides():
        told = None if model.prompts.chat is None else model.prompts.chat.tells_time
        if told is None:
            yield ok(f"{side}: no prompt depends on the day")
            continue
        yield warning(
            f"{side}: the chat template asks for the time, and is told {told} on every day",
            why="with the true time the same command would give other ids tomorrow",
            mend=f"Leave it so, or choose the day with +{side}.template.today={told}",
        )


def chats(subject: Subject) -> Iterator[Finding]:
    """References behind their prompts against the template's rendering of the whole chat."""
    if Author.dataset not in subject.authors:
        yield ok("no reference is trained on")
        return
    rows = [row for row in subject.examples.get(Split.train, ()) if row.prompt and row.reference]
    for side, model in subject.sides():
        template = model.prompts.chat
        if template is None or not rows:
            yield ok(f"{side}: no chat template renders a reference")
            continue
        repeated = list(_repetitions(template, rows))
        if repeated:
            said, first = repeated[0]
            yield fatal(
                f"{side}: {len(repeated)} of {len(rows)} references begin with {said!r}, which the "
                f"chat template's invitation to answer has opened already; {first}",
                why="the student would be taught to write it twice",
                mend=f"Take it out of the references, choose {side}.template so that it is not "
                f"opened, or use {side}.prompt=plain",
            )
        else:
            yield from _differences(side, model, template, rows)


@dataclass(frozen=True, slots=True)
class _Difference:
    """A reference as it is trained, and as the template renders it."""

    row: Example
    trained: str
    rendered: str

    def __str__(self) -> str:
        pairs = enumerate(zip(self.trained, self.rendered, strict=False))
        shorter = min(len(self.trained), len(self.rendered))
        place = next((n for n, (left, right) in pairs if left != right), shorter)
        part = slice(max(0, place - BEFORE), place + AFTER)
        return (
            f"{self.row.id} is trained as {self.trained[part]!r}, and rendered as "
            f"{self.rendered[part]!r}"
        )


def _difference(template: ChatTemplate, row: Example) -> _Difference | None:
    """Where the two part; None where they do not, or where the template renders no whole chat."""
    answer = Message("assistant", row.reference)
    try:
        trained = template.text(row.prompt, invite=True) + row.reference
        rendered = template.text((*row.prompt, answer), invite=False)
    except RenderingError:
        return None
    whole = row.question.strip() in rendered
    same = rendered.startswith(trained)
    return _Difference(row, trained, rendered) if whole and not same else None


def _repetitions(
    template: ChatTemplate, rows: Sequence[Example]
) -> Iterator[tuple[str, _Difference]]:
    """References that begin with what every prompt ends with, though the template says it once."""
    try:
        opened = template.text(rows[0].prompt, invite=True).rstrip()[-OPENED:]
    except RenderingError:
        return
    for row in rows:
        said = repeated(opened, row.reference)
        if said and (found := _difference(template, row)):
            yield said, found


def repeated(opened: str, reference: str) -> str:
    """What a text ends with and a reference begins with, in whole words; "" where nothing is."""
    said = reference.lstrip()[: len(opened)]
    if said[:LEAST] not in opened:
        return ""
    for length in range(len(said), LEAST - 1, -1):
        part, before = said[:length], opened[-length - 1 : -length]
        whole = not (part[0].isalnum() and before.isalnum())
        if whole and opened.endswith(part) and any(map(str.isalnum, part)):
            return part
    return ""


def _differences(
    side: str, model: LanguageModel, template: ChatTemplate, rows: Sequence[Example]
) -> Iterator[Finding]:
    some = rows[:RENDERED]
    found = [each for row in some if (each := _difference(template, row))]
    if found:
        yield warning(
            f"{side}: {len(found)} of {len(some)} references are not trained as the chat template "
            f"renders them; {found[0]}",
            why="the student learns another format than the one its template has for answers",
            mend=f"Change the references, choose {side}.template (as enable_thinking: false), use "
            f"{side}.prompt=plain, or leave it so",
        )
        return
    parted = sum(_parts(model, template, row) for row in some)
    seam = f"; in {parted}, one text would have other tokens where they meet" if parted else ""
    yield ok(f"{side}: {len(some)} references stand as the chat template renders them{seam}")


def _parts(model: LanguageModel, template: ChatTemplate, row: Example) -> bool:
    """Whether prompt and reference in one piece would have other ids than one after the other."""
    prompts = model.prompts
    if prompts.plain.spelled(*_texts(row)):
        return False
    try:
        text = template.text(row.prompt, invite=True) + row.reference
    except RenderingError:
        return False
    whole = tuple(prompts.tokenizer(text, add_special_tokens=False)["input_ids"])
    return whole != (*prompts.prompt_ids(row), *prompts.reference_ids(row))


def _texts(row: Example) -> list[str]:
    """All that a run reads of a row."""
    said = [part for turn in row.prompt for part in (turn.role, turn.content)]
    return [*said, row.reference, *row.options, *row.alternatives]
