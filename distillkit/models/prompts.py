"""Prompts and references as token ids, rendered for each model in its own format."""

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

from distillkit.core.errors import DataError, ModelError
from distillkit.core.templates import RenderingError
from distillkit.core.types import Example, Message
from distillkit.models.chat_template import ChatTemplate
from distillkit.models.forms.base import Prompt
from distillkit.models.plain_text import PlainText
from distillkit.models.pretrained import PromptStyle

ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{question}\n\n### Response:\n"
)
"""Stanford Alpaca's prompt without input, as MiniLLM and DistiLLM use it."""

ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{question}\n\n### Input:\n{given}\n\n### Response:\n"
)
"""The same with one."""


class PromptFormat:
    """Renders prompts for one tokenizer.

    Args:
        tokenizer: a transformers tokenizer.
        style: how a prompt becomes text.
        template: extra variables of the chat template.
        side: ``teacher`` or ``student``, for error messages.
        special_tokens_in_text: whether text of data may spell control tokens.

    Attributes:
        unscored: ids of tokens that no model may learn to write; no reference may hold one.
        unread: ids of tokens that the model cannot read; no prompt may hold one.

    Raises:
        ModelError: ``chat`` was asked for and the tokenizer has no template, or none that can be
            read.
    """

    def __init__(
        self,
        tokenizer: Any,
        style: PromptStyle,
        *,
        template: dict[str, Any] | None = None,
        side: str = "model",
        special_tokens_in_text: bool = False,
    ) -> None:
        if style is PromptStyle.auto:
            style = PromptStyle.chat if tokenizer.chat_template else PromptStyle.plain
        if style is PromptStyle.chat and not tokenizer.chat_template:
            raise ModelError(
                f"{side}.prompt=chat, but the tokenizer has no chat template. "
                f"Use {side}.prompt=alpaca or {side}.prompt=plain."
            )
        self.tokenizer, self.style, self.template = tokenizer, style, template or {}
        self.side, self._asked = side, special_tokens_in_text
        self.unscored = self.unread = frozenset[int]()
        self.chat: ChatTemplate | None = None
        if style is PromptStyle.chat:
            self.chat = ChatTemplate(tokenizer, self.template, side=side)
        # Every update asks for the prompts of its rows several times.
        self._rendered = lru_cache(maxsize=1 << 16)(self._render)

    @cached_property
    def plain(self) -> PlainText:
        """Reads text that is not to be taken for control tokens."""
        frame = "" if self.chat is None else self.chat.frame()
        return PlainText(self.tokenizer, frame=frame, asked=self._asked)

    def prompt_ids(self, example: Example) -> Prompt:
        """Token ids up to and including the invitation to answer, never truncated.

        Where nothing is asked there is no invitation either: one token opens the text, in every
        style. It is the beginning of a sequence where the tokenizer puts one, else the end of the
        document before, as GPT-2 was trained. What is given of the text follows.

        Raises:
            DataError: the chat template cannot render the example, or the model cannot read it.
        """
        try:
            return self._rendered(example.prompt, example.opening)
        except RenderingError as error:
            assert self.chat is not None
            raise DataError(self.chat.refusal(example, error)) from error
        except UnknownTokenError as error:
            raise DataError(f"the prompt of {example.id} {error}") from error

    def of(self, examples: Sequence[Example]) -> list[Prompt]:
        """:meth:`prompt_ids` of each."""
        return [self.prompt_ids(example) for example in examples]

    def _render(self, prompt: tuple[Message, ...], opening: str) -> Prompt:
        if not prompt:
            given = self.plain.ids(opening) if opening else ()
            self._check(given, self.unread, "cannot read")
            return Prompt((*(self._with_bos("") or (self.tokenizer.eos_token_id,)), *given))
        ids = (
            self._with_bos(self.text(prompt))
            if self.chat is None
            else self.chat.ids(prompt, self.plain)
        )
        self._check(ids, self.unread, "cannot read")
        return Prompt(ids)

    def reference_ids(self, example: Example) -> tuple[int, ...]:
        """Token ids of the reference response, without an end-of-sequence token.

        Raises:
            DataError: it needs a token that the model cannot learn to write.
        """
        try:
            return self._text_ids(example.reference)
        except UnknownTokenError as error:
            raise DataError(f"the reference of {example.id} {error}") from error

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a response's text alone.

        Raises:
            DataError: as in :meth:`reference_ids`.
        """
        try:
            return self._text_ids(text)
        except UnknownTokenError as error:
            raise DataError(f"the text {text[:40]!r} {error}") from error

    def _text_ids(self, text: str) -> tuple[int, ...]:
        ids = self.plain.ids(text)
        self._check(ids, self.unscored, "gives no probability to")
        return ids

    def _check(self, ids: Iterable[int], without: frozenset[int], verb: str) -> None:
        if without and not without.isdisjoint(ids):
            found = next(each for each in ids if each in without)
            token = self.tokenizer.convert_ids_to_tokens(found)
            raise UnknownTokenError(
                f"needs the token {token!r}, id {found}, which {self.side}.name {verb}. Leave "
                "the row out, or choose a model that has a row for it."
            )

    def closing_ids(self) -> tuple[int, ...]:
        """Token ids that the chat template puts after an assistant's turn; it must have one.

        Raises:
            ModelError: it cannot render one.
        """
        assert self.chat is not None
        text = self.chat.closing()
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, prompt: tuple[Message, ...]) -> str:
        """A prompt as text in the ``plain`` or ``alpaca`` style."""
        question = "\n\n".join(turn.content for turn in prompt)
        if self.style is PromptStyle.alpaca and (given := prompt[-1].input):
            asked = question.removesuffix(f"\n\n{given}")
            return ALPACA_WITH_INPUT.format(question=asked, given=given)
        if self.style is PromptStyle.alpaca:
            return ALPACA.format(question=question)
        return f"{question}\n"

    def _with_bos(self, text: str) -> tuple[int, ...]:
        whole = list(self.tokenizer(text, add_special_tokens=True)["input_ids"])
        if not self.plain.asked and self.plain.spelled(text) is not None:
            whole = self._between(whole, text)
        # Some tokenizers also close the text; the response must follow an open one.
        if len(whole) > 1 and whole[-1] == self.tokenizer.eos_token_id:
            whole.pop()
        return tuple(whole)

    def _between(self, whole: list[int], text: str) -> list[int]:
        """A text's ids as plain text, between the tokens that the tokenizer puts around it."""
        bare = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        places = range(len(whole) - len(bare) + 1)
        start = next((n for n in places if whole[n : n + len(bare)] == bare), 0)
        return [*whole[:start], *self.plain.ids(text), *whole[start + len(bare) :]]


class UnknownTokenError(ValueError):
    """A text needs a token that the model has no row for."""
