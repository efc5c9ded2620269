"""Classifiers and reward models as rewards, against transformers' own forward pass, row by row."""

from collections.abc import Callable
from functools import lru_cache
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    PreTrainedConfig,
    RobertaConfig,
    XLNetConfig,
)

from distillkit.core.errors import ConfigError, DataError, ModelError
from distillkit.models.exchange import ExchangeForm
from distillkit.rewards.classifier import ClassifierReward
from tests.rewards.judged import Answer, answer, rewards, rows
from tests.tiny import TOKENIZER, save

SHAPE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "hidden_dropout_prob": 0.0, "initializer_range": 0.5}
LABELS = {0: "contradiction", 1: "neutral", 2: "entailment"}
CHAT = (
    "{% for turn in messages %}{{ turn['role'] + ': ' + turn['content'] + eos_token }}{% endfor %}"
)
PAD_CHAT = CHAT.replace("eos_token", "'<pad>'")

ANSWERS = (
    ("Tom has 12 apples and buys 30 more. How many does he have now?", "He has 42."),
    ("Why?", "No."),
    ("How many?", "It is hard to tell how many there are, as nobody has counted them yet."),
    ("Why?", ""),
    ("1+1?", "2<eos>"),
    ("Is it red or is it blue or is it neither of these two?", "Blue<pad>"),
    ("Why?", "Yes!!!"),
)
"""Questions and answers of several lengths, two of which spell special tokens at their end."""


def llama(**more: Any) -> PreTrainedConfig:
    return LlamaConfig(**SHAPE, num_attention_heads=2, initializer_range=0.5, **more)


def gpt2(**more: Any) -> PreTrainedConfig:
    return GPT2Config(n_embd=16, n_layer=2, n_head=2, initializer_range=0.5, **more)


def opt(**more: Any) -> PreTrainedConfig:
    shape = {"hidden_size": 16, "ffn_dim": 24, "num_hidden_layers": 2, "word_embed_proj_dim": 16}
    return OPTConfig(**shape, num_attention_heads=2, init_std=0.5, **more)


def bert(**more: Any) -> PreTrainedConfig:
    return BertConfig(**SHAPE, **HEADS, **more)


def roberta(**more: Any) -> PreTrainedConfig:
    return RobertaConfig(**SHAPE, **HEADS, **more)


def xlnet(**more: Any) -> PreTrainedConfig:
    more.pop("max_position_embeddings")
    return XLNetConfig(d_model=16, n_layer=1, n_head=2, d_inner=24, initializer_range=0.5, **more)


def classifier(
    folder: Path,
    config: Callable[..., PreTrainedConfig] = llama,
    *,
    outputs: int = 1,
    chat: str | None = None,
    positions: int = 256,
    **more: Any,
) -> Path:
    """Write a random classifier and its tokenizer, that of encoders with marks between texts."""
    names = ["input_ids", *["token_type_ids"][: config is bert], "attention_mask"]
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER, model_input_names=names)
    if config in (bert, roberta):
        marks = [("<pad>", 0), ("<eos>", 1)]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="$A <eos>", pair="$A <eos> $B:1 <eos>:1", special_tokens=marks
        )
    tokenizer.chat_template = chat
    tokenizer.model_max_length = 10**30
    labels = {place: LABELS[place] for place in range(outputs)}
    ids = {"bos_token_id": None, "eos_token_id": 1, **more}
    torch.manual_seed(0)
    module = AutoModelForSequenceClassification.from_config(
        config(vocab_size=382, max_position_embeddings=positions, id2label=labels, **ids)
    )
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@lru_cache(maxsize=1)
def parts(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model as transformers loads them."""
    module = AutoModelForSequenceClassification.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder), module.eval()


def alone(folder: Path, *texts: str, split: bool = False) -> Tensor:
    """The outputs for one row without padding, as transformers gives them.

    Args:
        folder: of the model.
        texts: one, or a pair.
        split: take special tokens that they spell for text.
    """
    tokenizer, module = parts(folder)
    read = tokenizer(*([text] for text in texts), return_tensors="pt", split_special_tokens=split)
    with torch.inference_mode():
        return module(**read).logits[0]


def judged(folder: Path, *pairs: tuple[str, str], system: str = "", **fields: Any) -> list[float]:
    answers = [answer(text, question=question, system=system) for question, text in pairs]
    reward = ClassifierReward(name=str(folder), **fields)
    return rewards(reward, rows(folder, {"answer": 1}), *answers)


MODELS = {
    "llama without padding": (llama, {"pad_token_id": None}),
    "llama with other padding": (llama, {"pad_token_id": 7}),
    "llama with invalid padding": (llama, {"pad_token_id": -1}),
    "gpt2 padded with its end": (gpt2, {"pad_token_id": 1}),
    "opt": (opt, {"pad_token_id": 1}),
    "bert": (bert, {"pad_token_id": 0}),
    "roberta": (roberta, {"pad_token_id": 5}),
}


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("chosen", MODELS)
def test_a_reward_is_what_the_model_gives_the_text_alone(
    tmp_path: Path, chosen: str, batch_size: int
) -> None:
    config, more = MODELS[chosen]
    folder = classifier(tmp_path, config, **more)
    found = judged(folder, *ANSWERS, form=ExchangeForm.text, batch_size=batch_size)
    expected = [
        float(alone(folder, f"{question}\n{text}", split=True)[0]) for question, text in ANSWERS
    ]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert max(expected) - min(expected) > 0.1
    assert len({round(value, 3) for value in found}) == len(ANSWERS)


@pytest.mark.parametrize("template", [CHAT, PAD_CHAT])
@pytest.mark.parametrize("pad", [None, 0, 1])
def test_a_reward_model_reads_its_chat_template(
    tmp_path: Path, template: str, pad: int | None
) -> None:
    folder = classifier(tmp_path, chat=template, pad_token_id=pad)
    end = "<eos>" if template is CHAT else "<pad>"
    texts = ("No.", "It is hard to tell how many there are.", "")
    several = [answer(text, system="Be kind.", question="Why?") for text in texts]
    found = rewards(ClassifierReward(name=str(folder)), rows(tmp_path, {}), *several)
    expected = [
        float(alone(folder, f"system: Be kind.{end}user: Why?{end}assistant: {one.text}{end}")[0])
        for one in several
    ]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("label", ["entailment", 2])
@pytest.mark.parametrize("form", [ExchangeForm.pair, ExchangeForm.auto])
def test_of_several_outputs_the_probability_of_the_label_counts(
    tmp_path: Path, label: str | int, form: ExchangeForm
) -> None:
    folder = classifier(tmp_path, bert, outputs=3, pad_token_id=0)
    outputs = [alone(folder, question, text, split=True).tolist() for question, text in ANSWERS]
    expected = [exp(third) / sum(map(exp, (*rest, third))) for *rest, third in outputs]
    found = judged(folder, *ANSWERS, form=form, label=label)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    # Which text a token belongs to matters, and one text is not two.
    apart = [alone(folder, f"{question}<eos>{text}").tolist() for question, text in ANSWERS]
    assert outputs[0] != pytest.approx(apart[0], rel=1e-2)


def test_an_empty_answer_is_the_second_of_two_texts_all_the_same(tmp_path: Path) -> None:
    folder = classifier(tmp_path, bert, pad_token_id=0)
    tokenizer, module = parts(folder)
    question = tokenizer("Why?")["input_ids"]
    ids, kinds = [*question, 1], [0] * len(question) + [1]
    with torch.inference_mode():
        logits = module(torch.tensor([ids]), token_type_ids=torch.tensor([kinds])).logits
    assert judged(folder, ("Why?", "")) == [pytest.approx(float(logits), rel=1e-3)]


def test_an_empty_answer_alone_is_read_as_an_end_token_where_there_are_no_marks(
    tmp_path: Path,
) -> None:
    found = judged(classifier(tmp_path), ("Why?", "No."), ("Why?", ""), form=ExchangeForm.answer)
    expected = [float(alone(tmp_path, text)[0]) for text in ("No.", "<eos>")]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("multi_label_classification", lambda output: 1 / (1 + exp(-output))),
        ("regression", lambda output: output),
    ],
)
def test_outputs_that_exclude_nothing_are_no_shares_of_one(
    tmp_path: Path, kind: str, value: Callable[[float], float]
) -> None:
    folder = classifier(tmp_path, roberta, outputs=3, pad_token_id=0, problem_type=kind)
    expected = [value(float(alone(folder, text, split=True)[1])) for _, text in ANSWERS]
    found = judged(folder, *ANSWERS, form=ExchangeForm.answer, label="neutral")
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_without_template_or_marks_both_texts_are_one(tmp_path: Path) -> None:
    folder = classifier(tmp_path)
    assert judged(folder, *ANSWERS) == judged(folder, *ANSWERS, form=ExchangeForm.text)


def cut(folder: Path, question: str, text: str, longest: int, put: str) -> list[float]:
    """What is left is worth, of the shortest beginning that must go and of slightly longer ones.

    A word costs more tokens once its beginning is gone, so the shortest is not always found.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [
        put.format(question=question[start:], text=text).split("|")
        for start in range(len(question) + 1)
    ]
    fit = [both for both in texts if len(tokenizer(*both)["input_ids"]) <= longest]
    assert texts[0] not in fit
    return [float(alone(folder, *both)[0]) for both in fit[:8]]


@pytest.mark.parametrize(
    ("config", "chat", "put"),
    [
        (llama, None, "Be.\n\n{question}\n{text}"),
        (llama, CHAT, "system: Be.<eos>user: {question}<eos>assistant: {text}<eos>"),
        (roberta, None, "Be.\n\n{question}|{text}"),
    ],
)
@pytest.mark.parametrize("asked", [None, 50, 400])
def test_of_what_is_too_long_the_beginning_of_the_question_is_left_out(
    tmp_path: Path, config, chat: str | None, put: str, asked: int | None
) -> None:
    """RoBERTa's 60 positions are 57 tokens after a padding id of 2."""
    folder = classifier(tmp_path, config, chat=chat, positions=60, pad_token_id=2)
    longest = asked if asked == 50 else 57 if config is roberta else 60
    question = " ".join(f"Tom has {n} apples." for n in range(20))
    pairs = ((question, "He has 42."), ("Why?", "No."))
    found = judged(folder, *pairs, system="Be.", max_tokens=asked)
    possible = cut(folder, question, "He has 42.", longest, put)
    assert found[0] in [pytest.approx(value, rel=1e-3, abs=1e-4) for value in possible]


def test_the_tokenizer_may_know_a_shorter_context_than_the_model(tmp_path: Path) -> None:
    folder = classifier(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 30
    tokenizer.save_pretrained(folder)
    assert judged(folder, ("Why? " * 9, "No."), form=ExchangeForm.answer)
    with pytest.raises(ModelError, match="needs 43 tokens, and the model reads 30"):
        judged(folder, ("?", "!?" * 21), form=ExchangeForm.text)


@pytest.mark.parametrize("form", [ExchangeForm.text, ExchangeForm.answer])
def test_an_answer_that_does_not_fit_is_refused_and_never_cut(
    tmp_path: Path, form: ExchangeForm
) -> None:
    folder = classifier(tmp_path, positions=50)
    words = r"^reward\.name: an answer needs \d+ tokens, and the model reads 50 .*max_new_tokens"
    with pytest.raises(ModelError, match=words):
        judged(folder, ("Why?", "No."), ("Why?", "Nobody knows. " * 30), form=form)


def test_a_model_that_minds_its_padding_is_read_one_by_one_or_not_at_all(tmp_path: Path) -> None:
    """XLNet judges at the last position, so texts must be padded on the left for it."""
    folder = classifier(tmp_path, xlnet, pad_token_id=5)
    words = "a XLNetForSequenceClassification gives .* Use reward.batch_size=1"
    with pytest.raises(ModelError, match=words):
        judged(folder, *ANSWERS, form=ExchangeForm.answer)
    found = judged(folder, *ANSWERS[:3], form=ExchangeForm.answer, batch_size=1)
    expected = [float(alone(folder, text)[0]) for _, text in ANSWERS[:3]]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("outputs", "label", "words"),
    [
        (3, None, "reward.label=null is no output of .*, which has contradiction .0., neutral"),
        (3, "entails", r"reward.label=entails is no output .* entailment \(2\)"),
        (3, 3, "reward.label=3 is no output"),
        (1, "positive", r"reward.label=positive is no output .* has contradiction \(0\)\. Give"),
    ],
)
def test_an_output_that_is_not_there_is_refused(
    tmp_path: Path, outputs: int, label: str | int | None, words: str
) -> None:
    folder = classifier(tmp_path, outputs=outputs)
    with pytest.raises(ConfigError, match=words):
        judged(folder, *ANSWERS, label=label)


@pytest.mark.parametrize(
    ("form", "chat"), [(ExchangeForm.chat, None), (ExchangeForm.auto, "{{ 'nothing' }}")]
)
def test_a_template_that_shows_no_question_or_no_answer_is_refused(
    tmp_path: Path, form: ExchangeForm, chat: str | None
) -> None:
    folder = classifier(tmp_path, chat=chat)
    with pytest.raises(ModelError, match="reward.form=chat, but .* Use reward.form=pair"):
        judged(folder, *ANSWERS, form=form)


def test_a_pair_that_nothing_separates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="reward.form=pair, but .* Use reward.form=text"):
        judged(classifier(tmp_path), *ANSWERS, form=ExchangeForm.pair)


def test_a_model_without_a_trained_head_is_no_classifier(tmp_path: Path) -> None:
    words = r"^reward\.name=.* is no classifier: it lacks weights, .*score\.weight"
    with pytest.raises(ModelError, match=words):
        judged(save(tmp_path), *ANSWERS)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^reward\.name=.*nowhere could not be loaded"):
        rewards(ClassifierReward(name=str(tmp_path / "nowhere")), rows(tmp_path, {}))


def test_weights_that_python_would_have_to_unpickle_are_not_read(tmp_path: Path) -> None:
    folder = classifier(tmp_path)
    module = AutoModelForSequenceClassification.from_pretrained(folder)
    torch.save(module.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"^reward\.name=.* holds pickled weights"):
        judged(folder, *ANSWERS)


def test_damaged_weights_are_named_with_the_example(tmp_path: Path) -> None:
    folder = classifier(tmp_path)
    module = AutoModelForSequenceClassification.from_pretrained(folder)
    module.score.weight.data.fill_(torch.nan)
    module.save_pretrained(folder)
    with pytest.raises(DataError, match=r"^reward\.name=.* gave nan for the example one"):
        judged(folder, *ANSWERS)


@pytest.mark.parametrize("field", ["batch_size", "max_tokens"])
def test_a_size_below_one_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=f"reward.{field} must be at least 1, got 0"):
        ClassifierReward(name="a/model", **{field: 0})


def test_nothing_is_judged_where_there_is_no_answer(tmp_path: Path) -> None:
    none: list[Answer] = []
    folder = classifier(tmp_path)
    assert rewards(ClassifierReward(name=str(folder)), rows(tmp_path, {}), *none) == []
