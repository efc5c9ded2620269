"""Conversations of lm-evaluation-harness as text, by our own template.

Its ``HFLM`` has transformers render them, with the clock of the day and without limits.
"""

from collections.abc import Callable, Sequence

from distillkit.core.errors import ModelError
from distillkit.core.templates import RenderingError
from distillkit.core.types import Message
from distillkit.models.chat_template import ChatTemplate
from distillkit.models.language_model import LanguageModel


def conversations(model: LanguageModel) -> Callable[..., str]:
    """What stands in for ``HFLM.apply_chat_template``, and gives the same text but for the clock.

    Raises:
        ModelError: the template cannot be read or, when called, cannot render a conversation.
    """
    try:
        template = ChatTemplate(model.tokenizer, model.prompts.template, side=model.prompts.side)
    except ModelError as error:
        raise _refusal(error) from error

    def text(chat_history: Sequence[dict[str, str]], add_generation_prompt: bool = True) -> str:
        turns = [Message(turn["role"], turn["content"]) for turn in chat_history]
        try:
            try:
                whole = template.text(turns, invite=add_generation_prompt)
            except RenderingError:
                # As the harness does where a template has no place for a system message.
                turns = [turn for turn in turns if turn.role != "system"]
                whole = template.text(turns, invite=add_generation_prompt)
        except RenderingError as error:
            raise _refusal(error) from error
        return whole if add_generation_prompt else _left_open(whole, turns[-1].content)

    return text


def _refusal(error: Exception) -> ModelError:
    return ModelError(
        f"metric.lm_eval.chat=true, but the chat template cannot render a question ({error}). "
        "Use metric.lm_eval.chat=false."
    )


def _left_open(whole: str, begun: str) -> str:
    """A conversation up to the end of the answer that it begins."""
    before, found, _ = whole.rpartition(begun.strip())
    return before + found
