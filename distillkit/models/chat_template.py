"""A tokenizer's chat template: whole conversations as text, and as token ids."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from distillkit.core.errors import ConfigError, ModelError
from distillkit.core.templates import TODAY, RenderingError, render_chat, variables_of
from distillkit.core.types import Example, Message
from distillkit.models.plain_text import PlainText

QUESTION = "What is it?"
"""Stands for any question when a template is asked what it puts around one."""
ANSWER = "forty-two"
"""Stands for any answer."""


class ChatTemplate:
    """The template as transformers would render it, within limits and with a clock that stands.

    Args:
        tokenizer: a transformers tokenizer that has one.
        variables: extra variables; ``today``, a date, sets the clock.
        side: whose it is, for error messages.

    Raises:
        ModelError: it cannot be read.
        ConfigError: ``today`` is no date.
    """

    def __init__(self, tokenizer: Any, variables: dict[str, Any], *, side: str) -> None:
        self._tokenizer, self._side = tokenizer, side
        self._variables = {**tokenizer.special_tokens_map, **variables}
        self._today = _date(variables.get("today"), side)
        try:
            self._source = str(tokenizer.get_chat_template())
            self._names = variables_of(self._source)
        except ValueError as error:
            raise ModelError(
                f"{side}.name: the chat template cannot be read ({error}). Use {side}.prompt=plain "
                f"or {side}.prompt=alpaca, or mend it."
            ) from error

    @property
    def tells_time(self) -> str | None:
        """The date that the template is told, where it asks for one."""
        if "strftime_now" not in self._names:
            return None
        return self._today.date().isoformat()

    def text(self, turns: Sequence[Message], *, invite: bool) -> str:
        """A conversation, with the invitation to answer where that is asked for.

        Raises:
            RenderingError: the template cannot render it.
        """
        return self._render([(turn.role, turn.content) for turn in turns], invite=invite)

    def ids(self, turns: Sequence[Message], plain: PlainText) -> tuple[int, ...]:
        """Token ids of a conversation and the invitation to answer.

        Raises:
            RenderingError: the template cannot render it.
        """
        return tuple(self.read(turns, plain, invite=True)["input_ids"])

    def read(
        self, turns: Sequence[Message], plain: PlainText, *, invite: bool
    ) -> dict[str, Sequence[int]]:
        """Token ids, and what else the tokenizer says of each token.

        Raises:
            RenderingError: the template cannot render it.
        """
        said = [part for turn in turns for part in (turn.role, turn.content)]
        if plain.asked or plain.spelled(*said) is None:
            text = self.text(turns, invite=invite)
            return dict(self._tokenizer(text, add_special_tokens=False))
        parts, spelled = plain.hidden(said)
        text = self._render(list(zip(parts[::2], parts[1::2], strict=True)), invite=invite)
        try:
            ids = plain.revealed_ids(text, spelled)
        except ValueError as error:
            raise RenderingError(f"a control token is spelled, and {error}") from error
        known = self._tokenizer.model_input_names
        others = {"token_type_ids": 0, "attention_mask": 1}
        rest = {name: [each] * len(ids) for name, each in others.items() if name in known}
        return {"input_ids": ids, **rest}

    def closing(self) -> str:
        """What stands after an assistant's turn.

        Raises:
            ModelError: the template cannot render one.
        """
        turns = (Message("user", QUESTION), Message("assistant", ANSWER))
        try:
            return self.text(turns, invite=False).rpartition(ANSWER)[2]
        except RenderingError as error:
            raise ModelError(
                f"{self._side}.name: the chat template cannot render a question and its answer "
                f"({error}). Use {self._side}.prompt=plain or {self._side}.prompt=alpaca, or mend "
                "it."
            ) from error

    def frame(self) -> str:
        """What stands around turns; "" where the template renders none."""
        asked, answer = Message("user", QUESTION), Message("assistant", ANSWER)
        try:
            whole = self.text((asked, answer), invite=False)
            return whole + self.text((asked,), invite=True)
        except RenderingError:
            return ""

    def refusal(self, example: Example, error: RenderingError) -> str:
        """The sentence about an example that cannot be rendered."""
        roles = [turn.role for turn in example.prompt]
        leave = "Leave its system message out" if "system" in roles else "Mend the row"
        reason = str(error).rstrip(". ")
        return (
            f"{self._side}.name: the chat template cannot render {example.id} "
            f"({', '.join(roles)}): {reason}. {leave}, or use {self._side}.prompt=plain."
        )

    def _render(self, turns: Sequence[tuple[str, str]], *, invite: bool) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        return render_chat(
            self._source,
            messages,
            {**self._variables, "add_generation_prompt": invite},
            today=self._today,
        )


def _date(given: Any, side: str) -> datetime:
    if given is None:
        return TODAY
    try:
        return datetime.fromisoformat(str(given))
    except ValueError as error:
        raise ConfigError(
            f"{side}.template.today={given} is no date. Write it as in 2025-01-31."
        ) from error
