"""Prompts as token ids: each model's own format, whole, and open at the end."""

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from distillkit.core.errors import ModelError
from distillkit.core.types import Example, Message
from distillkit.datasets.base import ask
from distillkit.models.pretrained import PromptStyle
from distillkit.models.prompts import ALPACA, PromptFormat
from tests.tiny import TOKENIZER, example

CHAT = (
    "{% if thinking is defined %}thinking={{ thinking }}\n{% endif %}"
    "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
QUESTION = example("Tom has 12 apples. How many?", " 12 apples.")
BEGIN, END = 2, 1


def tokenizer(template: str | None = None) -> Any:
    """The shared tokenizer with another chat template, or with none."""
    loaded = AutoTokenizer.from_pretrained(TOKENIZER)
    loaded.chat_template = template
    return loaded


def closing_tokenizer(form: str = "{begin} $A {end}") -> Any:
    """A tokenizer that opens each text with one special token and closes it with the end."""
    loaded = tokenizer()
    names = dict(zip(("begin", "end"), loaded.convert_ids_to_tokens([BEGIN, END]), strict=True))
    loaded.backend_tokenizer.post_processor = TemplateProcessing(
        single=form.format(**names),
        special_tokens=[(names["begin"], BEGIN), (names["end"], END)],
    )
    return loaded


def test_plain_is_the_question_and_a_new_line() -> None:
    prompts = PromptFormat(tokenizer(), PromptStyle.plain)
    assert prompts.tokenizer.decode(prompts.prompt_ids(QUESTION)) == f"{QUESTION.question}\n"


def test_alpaca_is_the_published_text_and_survives_braces() -> None:
    prompts = PromptFormat(tokenizer(), PromptStyle.alpaca)
    braces = example("What is {x} of {0}?")
    expected = ALPACA.replace("{question}", braces.question)
    assert prompts.tokenizer.decode(prompts.prompt_ids(braces)) == expected


def test_alpaca_puts_an_input_under_its_own_heading_and_the_others_read_one_text() -> None:
    """The other of MiniLLM's two wordings."""
    asked = Example("a", ask("Name the {subject}.", "Tom sings.\n\nTom."), "")
    expected = (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName the {subject}.\n\n### Input:\nTom sings.\n\nTom.\n\n"
        "### Response:\n"
    )
    texts = {}
    for style in (PromptStyle.alpaca, PromptStyle.plain, PromptStyle.chat):
        prompts = PromptFormat(tokenizer(CHAT), style)
        texts[style] = prompts.tokenizer.decode(prompts.prompt_ids(asked))
    joined = "Name the {subject}.\n\nTom sings.\n\nTom."
    assert texts[PromptStyle.alpaca] == expected
    assert texts[PromptStyle.plain] == f"{joined}\n"
    assert texts[PromptStyle.chat] == f"user: {joined}\nassistant:"


@pytest.mark.parametrize("style", [PromptStyle.plain, PromptStyle.alpaca, PromptStyle.chat])
@pytest.mark.parametrize(
    ("form", "opening"),
    [
        ("$A", END),
        ("{begin} $A", BEGIN),
        ("{begin} $A {end}", BEGIN),
        ("$A {end}", END),
    ],
)
def test_where_nothing_is_asked_one_token_opens_the_text_in_every_style(
    style: PromptStyle, form: str, opening: int
) -> None:
    """The beginning where the tokenizer puts one, else the end of the document before."""
    loaded = closing_tokenizer(form)
    loaded.chat_template = CHAT
    text = Example("a", (), "12 apples.")
    assert PromptFormat(loaded, style).prompt_ids(text) == (opening,)


def test_chat_renders_all_turns_with_the_template_and_invites_an_answer() -> None:
    prompts = PromptFormat(tokenizer(CHAT), PromptStyle.chat, template={"thinking": False})
    turns = (Message("system", "Be brief."), Message("user", "How many?"))
    text = prompts.tokenizer.decode(prompts.prompt_ids(Example("a", turns, "")))
    assert text == "thinking=False\nsystem: Be brief.\nuser: How many?\nassistant:"


def test_auto_is_chat_where_there_is_a_template_and_plain_elsewhere() -> None:
    assert PromptFormat(tokenizer(CHAT), PromptStyle.auto).style is PromptStyle.chat
    assert PromptFormat(tokenizer(), PromptStyle.auto).style is PromptStyle.plain


def test_chat_without_a_template_is_refused_by_the_side_that_asked() -> None:
    with pytest.raises(ModelError, match=r"teacher\.prompt=chat"):
        PromptFormat(tokenizer(), PromptStyle.chat, side="teacher")


@pytest.mark.parametrize("style", [PromptStyle.plain, PromptStyle.alpaca, PromptStyle.chat])
def test_a_prompt_is_never_truncated(style: PromptStyle) -> None:
    """Trap 22: not by the tokenizer's own maximum, from neither end."""
    loaded = tokenizer(CHAT)
    loaded.model_max_length = 8
    loaded.truncation_side = "left"
    prompts = PromptFormat(loaded, style)
    question = "Start " + "of a long tale " * 100 + "end?"
    ids = prompts.prompt_ids(example(question))
    assert len(ids) > 300
    assert question in prompts.tokenizer.decode(ids)


def test_a_prompt_keeps_the_opening_token_and_loses_the_closing_one() -> None:
    """Trap 19: a prompt that ends with the end token would tell the model to be silent."""
    prompts = PromptFormat(closing_tokenizer(), PromptStyle.plain)
    ids = prompts.prompt_ids(QUESTION)
    assert ids[0] == BEGIN
    assert END not in ids
    assert ids[1:] == PromptFormat(tokenizer(), PromptStyle.plain).prompt_ids(QUESTION)


def test_a_reference_has_no_special_tokens_of_its_own() -> None:
    """Trap 19: the writer closes it, once."""
    plain, closing = (
        PromptFormat(made, PromptStyle.plain) for made in (tokenizer(), closing_tokenizer())
    )
    ids = closing.reference_ids(QUESTION)
    assert ids == plain.reference_ids(QUESTION)
    assert plain.tokenizer.decode(ids) == QUESTION.reference
