"""Do tokenizer, chat template and generation settings, on both sides, end text with one token?"""

from collections.abc import Iterable, Iterator

from distillkit.core.errors import ModelError
from distillkit.models.language_model import LanguageModel
from distillkit.models.pair import agree_on_the_end
from distillkit.models.pretrained import PromptStyle
from distillkit.preflight.finding import Finding, ok, warning
from distillkit.preflight.foreign import is_foreign
from distillkit.preflight.subject import Subject

RUNS_ON = "a response that never meets its end token runs on to the length limit"


def each_side(subject: Subject) -> Iterator[Finding]:
    """Inside one model: what the tokenizer, the settings and the template say."""
    for side, model in subject.sides():
        found = [*_settings(side, model), *_template(side, model)]
        yield from found
        if not found:
            closed = "" if model.prompts.style is PromptStyle.chat else ", no chat template in use"
            yield ok(f"{side}: text ends with {_names(model, model.stop_ids)}{closed}")


def between_sides(subject: Subject) -> Iterator[Finding]:
    """From one model to the other; from here on both stop at either's end, as in a run."""
    if is_foreign(subject):
        ours, theirs = (_names(each, [each.end_id]) for each in (subject.student, subject.teacher))
        yield ok(f"each side ends its own text: the student's {ours} is the teacher's {theirs}")
        return
    notes = agree_on_the_end(subject.teacher, subject.student)
    for note in notes:
        yield warning(
            note,
            why="a base student under an instruct teacher learns to stop at another token",
            mend="Choose a teacher.name and student.name of one tuning (both base or both "
            "instruct), or leave it: a run makes them agree as said",
        )
    if not notes:
        yield ok(f"both sides close text with {_names(subject.student, [subject.student.end_id])}")


def _settings(side: str, model: LanguageModel) -> Iterator[Finding]:
    """The tokenizer's end token against that of generation_config."""
    ends = getattr(getattr(model.module, "generation_config", None), "eos_token_id", None)
    several = ends if isinstance(ends, list) else [] if ends is None else [ends]
    own = model.tokenizer.eos_token_id
    if several and own not in several:
        yield warning(
            f"{side}: generation_config ends text with {_names(model, several)}, the tokenizer "
            f"with {_names(model, [own])}",
            why=f"references are closed with {_names(model, [own])}, which this model may never "
            "have learned to write",
            mend=f"Set eos_token_id in generation_config.json of {side}.name, or choose another "
            f"{side}.name=...",
        )


def _template(side: str, model: LanguageModel) -> Iterator[Finding]:
    """The token that the chat template puts after an assistant's turn."""
    if model.prompts.style is not PromptStyle.chat:
        return
    mend = f"Use {side}.prompt=plain or {side}.prompt=alpaca, or mend chat_template of {side}.name"
    try:
        closing = model.prompts.closing_ids()
    except ModelError as error:
        yield warning(
            str(error).partition(". ")[0],
            why="so nobody knows with which token it would end an answer",
            mend=mend,
        )
        return
    if not any(token in model.stop_ids for token in closing):
        after = _names(model, closing[:1]) if closing else "nothing"
        yield warning(
            f"{side}: the chat template puts {after} after an assistant's turn, and text ends with "
            f"{_names(model, model.stop_ids)} only",
            why=RUNS_ON,
            mend=mend,
        )
    elif model.tokenizer.eos_token_id not in closing:
        own = _names(model, [model.tokenizer.eos_token_id])
        yield warning(
            f"{side}: the chat template closes an assistant's turn with "
            f"{_names(model, closing[:1])}, references are closed with {own}",
            why="the student is taught another end than its template's",
            mend=mend,
        )


def _names(model: LanguageModel, ids: Iterable[int]) -> str:
    """Tokens as text, an id that the tokenizer does not know as its number."""
    texts = [(i, model.tokenizer.decode([i], skip_special_tokens=False)) for i in sorted(ids)]
    return " and ".join(repr(text) if text else f"id {i}" for i, text in texts)
