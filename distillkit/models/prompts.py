"""Prompts and references as token ids, rendered for each model in its own format."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from distillkit.core.errors import ModelError
from distillkit.core.types import Example, Message
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

ANSWER = "forty-two"
"""Stands for any answer when a chat template is asked how it closes one."""


class PromptFormat:
    """Renders prompts for one tokenizer.

    Args:
        tokenizer: a transformers tokenizer.
        style: how a prompt becomes text.
        template: extra variables of the chat template.
        side: ``teacher`` or ``student``, for error messages.

    Raises:
        ModelError: ``chat`` was asked for and the tokenizer has no template.
    """

    def __init__(
        self,
        tokenizer: Any,
        style: PromptStyle,
        *,
        template: dict[str, Any] | None = None,
        side: str = "model",
    ) -> None:
        if style is PromptStyle.auto:
            style = PromptStyle.chat if tokenizer.chat_template else PromptStyle.plain
        if style is PromptStyle.chat and not tokenizer.chat_template:
            raise ModelError(
                f"{side}.prompt=chat, but the tokenizer has no chat template. "
                f"Use {side}.prompt=alpaca or {side}.prompt=plain."
            )
        self.tokenizer, self.style, self.template = tokenizer, style, template or {}
        # Every update asks for the prompts of its rows several times.
        self._rendered = lru_cache(maxsize=1 << 16)(self._render)

    def prompt_ids(self, example: Example) -> tuple[int, ...]:
        """Token ids up to and including the invitation to answer, never truncated.

        Where nothing is asked there is no invitation either: one token opens the text, in every
        style. It is the beginning of a sequence where the tokenizer puts one, else the end of the
        document before, as GPT-2 was trained.
        """
        return self._rendered(example.prompt)

    def of(self, examples: Sequence[Example]) -> list[tuple[int, ...]]:
        """:meth:`prompt_ids` of each."""
        return [self.prompt_ids(example) for example in examples]

    def _render(self, prompt: tuple[Message, ...]) -> tuple[int, ...]:
        if not prompt:
            return self._with_bos("") or (self.tokenizer.eos_token_id,)
        if self.style is PromptStyle.chat:
            turns = [{"role": turn.role, "content": turn.content} for turn in prompt]
            ids = self.tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_dict=False, **self.template
            )
            return tuple(ids)
        return self._with_bos(self.text(prompt))

    def reference_ids(self, example: Example) -> tuple[int, ...]:
        """Token ids of the reference response, without an end-of-sequence token."""
        return self.text_ids(example.reference)

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a response's text alone."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def closing_ids(self) -> tuple[int, ...]:
        """Token ids that the chat template puts after an assistant's turn; it must have one."""
        turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": ANSWER}]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, **self.template)
        after = text.rpartition(ANSWER)[2]
        return self.text_ids(after)

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
        ids = list(self.tokenizer(text, add_special_tokens=True)["input_ids"])
        # Some tokenizers also close the text; the response must follow an open one.
        if len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
        return tuple(ids)
