"""Conversations of lm-evaluation-harness as text, by our own template.

Its ``HFLM`` has transformers render them, with the clock of the day and without limits.
"""

from collections.abc import Callable, Sequence

from distillkit.core.errors import ModelError
from distillkit.core.templates import RenderingError
from distillkit.core.types import Message
from distillkit.models.chat_template import ChatTemplate
from distillkit.models.language_model import LanguageModel

MARK = "HERE IT GOES ON "
"""Put behind an answer that is begun, to find where it ends; its space tells whether turns are
trimmed."""


def conversations(model: LanguageModel) -> Callable[..., str]:
    """What stands in for ``HFLM.apply_chat_template``, and gives the same text but for the clock.

    Raises:
        ModelError: the template cannot be read or, when called, cannot render a conversation.
    """
    try:
        template = ChatTemplate(model.tokenizer, model.prompts.template, side=model.prompts.side)
    except ModelError as error:
        raise _refusal(error) from error

    def render(turns: Sequence[Message], *, invite: bool) -> str:
        return template.text(turns, invite=True) if invite else _left_open(template, turns)

    def text(chat_history: Sequence[dict[str, str]], add_generation_prompt: bool = True) -> str:
        turns = [Message(turn["role"], turn["content"]) for turn in chat_history]
        others = [turn for turn in turns if turn.role != "system"]
        try:
            return render(turns, invite=add_generation_prompt)
        except RenderingError as error:
            if len(others) == len(turns):
                raise _refusal(error) from error
        # As the harness does where a template has no place for a system message.
        try:
            return render(others, invite=add_generation_prompt)
        except RenderingError as error:
            raise _refusal(error) from error

    return text


def _refusal(error: Exception) -> ModelError:
    return ModelError(
        f"metric.lm_eval.chat=true, but the chat template cannot render a question ({error}). "
        "Use metric.lm_eval.chat=false."
    )


def _left_open(template: ChatTemplate, turns: Sequence[Message]) -> str:
    """A conversation up to the end of the answer that its last turn begins, as transformers cut it.

    Raises:
        RenderingError: the template cannot render it, or leaves the answer out.
    """
    *before, last = turns
    marked = Message(last.role, last.content + MARK)
    whole = template.text([*before, marked], invite=False)
    text, found, rest = whole.rpartition(MARK.strip())
    if not found:
        raise RenderingError("it leaves out the answer that the harness begins")
    # A template that trims what is said trims what is begun.
    return text if rest.startswith(" ") else text.rstrip()
