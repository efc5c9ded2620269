"""A prompt and its answer as one row of token ids, as a classifier reads them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from distillkit.core.errors import DataError, ModelError
from distillkit.core.templates import RenderingError
from distillkit.core.types import Message
from distillkit.models.chat_template import ANSWER, QUESTION, ChatTemplate
from distillkit.models.plain_text import PlainText

Row = dict[str, Sequence[int]]
"""``input_ids`` and what else the tokenizer says of each token, of one length."""


class ExchangeForm(StrEnum):
    """How prompt and answer are put together; ``auto`` is the first of these that can be done."""

    auto = "auto"
    chat = "chat"
    """By the chat template, the answer as the assistant's message: most reward models."""
    pair = "pair"
    """As the tokenizer's text pair, the prompt first: entailment, cross-encoders."""
    text = "text"
    """Prompt, line break, answer as one text."""
    answer = "answer"
    """The answer alone: sentiment, toxicity, style."""


class Exchanges:
    """Puts prompts and answers together for one tokenizer.

    What is too long loses the beginning of its last question. The answer is never cut.

    Args:
        tokenizer: a transformers tokenizer.
        form: how.
        longest: most tokens of a row.

    Raises:
        ModelError: ``chat`` was asked for, and there is no template that shows both; or ``pair``,
            and nothing would stand between the two.
    """

    def __init__(self, tokenizer: Any, form: ExchangeForm, *, longest: int) -> None:
        self._tokenizer, self._form, self._longest = tokenizer, form, longest
        self._plain = PlainText(tokenizer)
        self._template: ChatTemplate | None = None
        if form is ExchangeForm.auto:
            possible = {
                ExchangeForm.chat: tokenizer.chat_template,
                ExchangeForm.pair: self._separates(),
            }
            self._form = next((form for form, able in possible.items() if able), ExchangeForm.text)
        if self._form is ExchangeForm.chat:
            self._check_template()
        if self._form is ExchangeForm.pair and not self._separates():
            raise ModelError(
                "reward.form=pair, but the tokenizer puts nothing between two texts. Use "
                "reward.form=text."
            )

    def row(self, prompt: tuple[Message, ...], answer: str) -> Row:
        """The ids of an exchange.

        Raises:
            ModelError: the answer does not fit even without its question.
        """
        row = self._together(prompt, answer)
        if self._fits(row):
            return row
        *before, last = prompt

        def without(start: int) -> Row:
            cut = replace(last, content=last.content[start:])
            return self._together((*before, cut), answer)

        starts = range(len(last.content) + 1)
        start = bisect_left(starts, True, key=lambda start: self._fits(without(start)))
        if start == len(starts):
            least = len(without(starts[-1])["input_ids"])
            raise ModelError(
                f"reward.name: an answer needs {least} tokens, and the model reads "
                f"{self._longest} (its context, or reward.max_tokens). Lower "
                "rollout.max_new_tokens, or choose a model with a longer context."
            )
        return without(start)

    def _fits(self, row: Row) -> bool:
        return len(row["input_ids"]) <= self._longest

    def _together(self, prompt: tuple[Message, ...], answer: str) -> Row:
        if self._form is ExchangeForm.chat:
            return self._chat((*prompt, Message("assistant", answer)))
        question = "\n\n".join(turn.content for turn in prompt)
        texts = {
            ExchangeForm.pair: ([question], [answer]),
            ExchangeForm.text: ([f"{question}\n{answer}"],),
            ExchangeForm.answer: ([answer],),
        }
        # In lists: alone, an empty second text would be taken for none.
        # What they spell is text: special tokens stand only where the tokenizer puts them.
        spelled = self._plain.spelled(question, answer) is not None
        split = {"split_special_tokens": True} if spelled else {}
        read = self._tokenizer(*texts[self._form], **split)
        if not read["input_ids"][0]:
            # No model can read nothing, which an empty answer is where no marks are added.
            read = self._tokenizer([self._tokenizer.eos_token])
        return {name: ids[0] for name, ids in read.items()}

    def _separates(self) -> bool:
        marks = self._tokenizer.num_special_tokens_to_add
        return marks(pair=True) > marks(pair=False)

    def _chat(self, turns: tuple[Message, ...]) -> Row:
        assert self._template is not None
        try:
            return self._template.read(turns, self._plain, invite=False)
        except RenderingError as error:
            roles = ", ".join(turn.role for turn in turns)
            raise DataError(
                f"reward.name: the chat template cannot render a conversation of {roles} ({error})."
                " Use reward.form=text, or leave such rows out."
            ) from error

    def _check_template(self) -> None:
        shown = ""
        if self._tokenizer.chat_template:
            turns = (Message("user", QUESTION), Message("assistant", ANSWER))
            try:
                self._template = ChatTemplate(self._tokenizer, {}, side="reward")
                shown = self._template.text(turns, invite=False)
            except (ModelError, RenderingError) as error:
                raise ModelError(
                    f"reward.name: its chat template cannot be used ({error}). Use "
                    "reward.form=pair or reward.form=text."
                ) from error
        if QUESTION not in shown or ANSWER not in shown:
            raise ModelError(
                "reward.form=chat, but the tokenizer has no chat template that shows a question "
                "and its answer. Use reward.form=pair or reward.form=text."
            )
