"""Loading: the head gives the model's own logits, and pairs that do not fit are refused."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from distillkit.core.errors import ConfigError, ModelError
from distillkit.models.generation import generate
from distillkit.models.identity import identity
from distillkit.models.language_model import LanguageModel
from distillkit.models.linear import quicken
from distillkit.models.loading import load, pick_device
from distillkit.models.pair import agree_on_the_end
from distillkit.models.pretrained import DType, Student, Teacher
from distillkit.models.sampling import Sampling
from distillkit.models.shared_ids import share_ids
from tests.tiny import CPU, ENTRIES, FAMILIES, TOKENIZER, build, save

PROMPTS = [[50, 60, 70, 80, 90, 100], [200]]
RESPONSES = [[10, 11], [20, 21, 22, 23, 24]]

every_family = pytest.mark.parametrize("family", FAMILIES)


def own_logits(model: LanguageModel) -> torch.Tensor:
    """What ``module(...)`` gives at the packed positions, row by row and without padding."""
    parts = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        ids = torch.tensor([prompt + response])
        with torch.no_grad():
            logits = model.module(input_ids=ids).logits[0]
        parts.append(logits[len(prompt) - 1 : -1, : model.head.vocabulary])
    return torch.cat(parts)


@every_family
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("rows", [None, 400], ids=["whole", "padded"])
def test_the_head_gives_the_models_own_logits(family: str, tied: bool, rows: int | None) -> None:
    """Trap 30: softcap, logit scale, bias and projection are all applied."""
    model = build(family, tied=tied, vocab_size=rows)
    with torch.no_grad():
        found = model.head.logits(model.hidden(model.batch(PROMPTS, RESPONSES)))
    assert found.dtype == torch.float32
    assert found.shape == (7, model.head.vocabulary)
    torch.testing.assert_close(found, own_logits(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "cohere", "granite"])
def test_the_parity_above_is_not_vacuous_for_capped_and_scaled_heads(family: str) -> None:
    """Trap 30: the bare projection is far from the logits of these families."""
    model = build(family)
    with torch.no_grad():
        hidden = model.hidden(model.batch(PROMPTS, RESPONSES))
        bare = hidden @ model.head.weight[: model.head.vocabulary].T
    assert (bare - own_logits(model)).abs().max() > 0.5


def test_a_model_that_computes_its_logits_in_an_unknown_way_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Trap 30: a logit scale that the head knows nothing of."""
    forward = LlamaForCausalLM.forward

    def scaled(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.logits = output.logits * 1.5
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", scaled)
    with pytest.raises(ModelError, match="LlamaForCausalLM computes its logits"):
        load(Student(name=str(save(tmp_path))), device=CPU, precision="fp32")


@every_family
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_saved_model_loads_with_transformers_and_gives_the_same_logits(
    family: str, tied: bool, tmp_path: Path
) -> None:
    model = build(family, tied=tied, vocab_size=400)
    model.save(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([PROMPTS[0]])
    quicken(again)
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, model.module(input_ids=ids).logits)
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == model.tokenizer.get_vocab()


def test_the_student_learns_and_the_teacher_is_frozen_and_at_rest() -> None:
    student, teacher = build(), build(side=Teacher)
    assert student.module.training
    assert all(p.requires_grad for p in student.module.parameters())
    assert not teacher.module.training
    assert not teacher.parameters()


def test_bf16_weights_of_a_teacher_give_fp32_logits_close_to_its_fp32_ones(tmp_path: Path) -> None:
    """Trap 7: the product itself is taken in fp32, not rounded and then widened."""
    save(tmp_path)
    exact, coarse = (
        load(Teacher(name=str(tmp_path), dtype=dtype), device=CPU, precision=precision)
        for dtype, precision in ((DType.float32, "fp32"), (DType.auto, "bf16"))
    )
    assert coarse.module.dtype == torch.bfloat16
    batch = coarse.batch(PROMPTS, RESPONSES)
    with torch.no_grad():
        hidden = coarse.hidden(batch)
        found, near = coarse.head.logits(hidden), exact.head.logits(exact.hidden(batch))
    truth = hidden.double() @ coarse.head.weight.double().T
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), truth, rtol=1e-6, atol=1e-5)
    assert 0 < (found - near).abs().max() < 0.05 * near.abs().max()


def test_bf16_arithmetic_keeps_a_students_weights_and_logits_in_fp32() -> None:
    model = build(precision="bf16")
    assert model.module.dtype == torch.float32
    assert model.autocast
    hidden = model.hidden(model.batch(PROMPTS, RESPONSES))
    assert model.head.logits(hidden).dtype == torch.float32


def test_a_head_that_carries_an_adapter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 30: at its start an adapter adds nothing, so that comparing logits cannot find it."""

    class Adapted(nn.Linear):
        """A linear layer with a low-rank update that begins at zero, as peft makes it."""

    save(tmp_path, tied=False)
    family = AutoModelForCausalLM.from_pretrained(tmp_path).__class__
    build = family.__init__

    def with_adapter(self, config) -> None:
        build(self, config)
        self.lm_head.__class__ = Adapted

    monkeypatch.setattr(family, "__init__", with_adapter)
    with pytest.raises(ModelError, match="the head is a Adapted, not a plain linear layer"):
        load(Student(name=str(tmp_path)), device=CPU, precision="fp32")


def tokenizer_with(folder: Path, edit) -> object:
    """The shared tokenizer after ``edit`` has changed the contents of tokenizer.json."""
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    return AutoTokenizer.from_pretrained(folder)


def test_a_pair_of_one_vocabulary_and_different_widths_is_accepted() -> None:
    share_ids(build(vocab_size=448, side=Teacher), build("gpt2", vocab_size=400))


def test_a_pair_of_different_sizes_is_refused(tmp_path: Path) -> None:
    larger = AutoTokenizer.from_pretrained(TOKENIZER)
    larger.add_tokens(["<new>"])
    larger.add_tokens(["<newer>"])

    def drop(content: dict) -> None:
        del content["model"]["vocab"]["Z"]

    smaller = tokenizer_with(tmp_path, drop)
    teacher = build(side=Teacher, tokenizer=larger, vocab_size=400)
    with pytest.raises(ModelError, match=r"384 and 381 entries, first difference 'Z'"):
        share_ids(teacher, build(tokenizer=smaller, vocab_size=400))


def test_a_pair_of_equal_size_whose_ids_differ_is_refused(tmp_path: Path) -> None:
    """Trap 5: equal widths are no proof of equal ids."""

    def swap(content: dict) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary["A"], vocabulary["B"] = vocabulary["B"], vocabulary["A"]

    other = tokenizer_with(tmp_path, swap)
    with pytest.raises(ModelError, match=r"382 and 382 entries, first difference 'A|B'"):
        share_ids(build(side=Teacher, tokenizer=other), build())


def test_a_pair_that_splits_text_differently_is_refused(tmp_path: Path) -> None:
    def split_letters(content: dict) -> None:
        content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "[A-Za-z]"

    other = tokenizer_with(tmp_path, split_letters)
    with pytest.raises(ModelError, match="split text differently"):
        share_ids(build(side=Teacher, tokenizer=other), build())


def with_end(token: str) -> LanguageModel:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.eos_token = token
    model = build(tokenizer=tokenizer)
    model.stop_ids = frozenset({model.end_id})
    return model


def test_a_pair_with_different_end_tokens_agrees_on_both_and_on_the_teachers(
    tmp_path: Path,
) -> None:
    """Trap 20: the student stops where the teacher does, also after it is saved."""
    teacher, student = with_end("A"), with_end("B")
    ends = {teacher.end_id, student.end_id}
    assert len(ends) == 2
    notes = agree_on_the_end(teacher, student)
    assert len(notes) == 1
    assert "A and B may end a response of either" in notes[0]
    assert notes[0].endswith("closed with A")
    assert teacher.stop_ids == student.stop_ids == ends
    assert student.end_id == teacher.end_id
    student.save(tmp_path)
    saved = load(Student(name=str(tmp_path)), device=CPU, precision="fp32")
    assert ends <= saved.stop_ids


def test_a_pair_that_already_agrees_on_the_end_is_left_alone() -> None:
    teacher, student = build(), build()
    assert agree_on_the_end(teacher, student) == []
    assert teacher.stop_ids == student.stop_ids == {1}


def test_end_tokens_that_only_one_side_knows_end_the_others_text_too() -> None:
    """Trap 20: two models may share the tokenizer's end and differ in their further ones."""
    teacher, student = build(), build()
    teacher.stop_ids = frozenset({1, 40})
    assert agree_on_the_end(teacher, student)
    assert teacher.stop_ids == student.stop_ids == {1, 40}


def test_every_end_token_of_the_generation_settings_ends_a_response(tmp_path: Path) -> None:
    """Trap 20: Llama 3 has three."""
    save(tmp_path)
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": [1, 40, 41]}))
    model = load(Student(name=str(tmp_path)), device=CPU, precision="fp32")
    assert model.stop_ids == {1, 40, 41}
    written = generate(model, PROMPTS * 50, Sampling(max_new_tokens=30), seed=0)
    assert {40, 41} & {text.tokens[-1] for text in written if not text.truncated}


def test_a_head_smaller_than_the_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match=r"has 300 rows for a tokenizer of 382"):
        build(vocab_size=300)


def test_a_tokenizer_without_an_end_is_refused() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        build(tokenizer=tokenizer)


@pytest.mark.parametrize("damage", ["absent", "empty", "weights"])
def test_a_missing_or_damaged_model_is_one_sentence(damage: str, tmp_path: Path) -> None:
    if damage == "weights":
        file = save(tmp_path) / "model.safetensors"
        file.write_bytes(file.read_bytes()[:100])
    folder = tmp_path / "nowhere" if damage == "absent" else tmp_path
    with pytest.raises(ModelError, match=r"^teacher\.name=.*") as caught:
        load(Teacher(name=str(folder)), device=CPU, precision="fp32")
    assert "\n" not in str(caught.value)


def test_the_identity_of_a_model_follows_its_weights(tmp_path: Path) -> None:
    source, model, same = Teacher(name="x"), build(seed=1), build(seed=1)
    assert identity(source, model) == identity(source, same)
    with torch.no_grad():
        same.head.weight[ENTRIES - 1, 0] += 1e-6
    assert identity(source, model) != identity(source, same)


@pytest.mark.parametrize("asked", ["tpu-v9", "cuda:99"])
def test_an_unknown_or_absent_device_is_refused(asked: str) -> None:
    with pytest.raises(ConfigError, match=f"device={asked}"):
        pick_device(asked)
