"""Adapters learn alone, merge exactly, leave the base as it was, and are written as peft reads."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.func import functional_call
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from distillkit.core.errors import ConfigError, ModelError, RunError
from distillkit.models.adapted import AdaptedModel, BareModel, below
from distillkit.models.adapters import inject
from distillkit.models.generation import generate
from distillkit.models.identity import digest_of_writer
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.loading import load
from distillkit.models.pretrained import (
    Adapter,
    AdapterExport,
    DType,
    PromptStyle,
    SelfTeacher,
    Student,
    Teacher,
    of_folder,
    start_of,
)
from distillkit.models.sampling import Sampling
from distillkit.objectives.base import Scored
from distillkit.objectives.sft import SFT
from distillkit.training.weights import load_weights, save_weights
from tests import tiny
from tests.tiny import CPU, distance, example, gradients, save

PROMPTS, RESPONSES = [[5, 9, 11], [7], [4, 4, 8, 30, 2]], [[6, 8, 1], [12, 30, 31, 9], [3]]
FAMILIES = ["llama", "qwen3", "gpt2"]


def student(folder: Path, **adapter: Any) -> AdaptedModel:
    """Of a saved model, with an adapter of rank 4 that has not learned."""
    asked = Adapter(**{"rank": 4, **adapter})
    source = Student(name=str(folder), prompt=PromptStyle.plain, adapter=asked)
    model = load(source, device=CPU, precision="fp32")
    assert isinstance(model, AdaptedModel)
    return model


def learn(model: LanguageModel) -> None:
    """Move what may learn to random values near those it has."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def states(model: LanguageModel) -> Tensor:
    with evaluating(model):
        return model.hidden(model.batch(PROMPTS, RESPONSES))


def logits(model: LanguageModel) -> Tensor:
    return model.head.logits(states(model))


def backward(model: LanguageModel) -> None:
    """Mean negative log-likelihood of the responses."""
    batch = model.batch(PROMPTS, RESPONSES)
    count = len(batch.targets)
    weights = torch.full((count,), 1 / count)
    SFT().backward(Scored(student=batch, weights=weights), student=model)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("settings", [{}, {"rslora": True, "targets": "some"}])
def test_gradients_are_those_of_a_dense_model_in_float64(
    family: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """The update is written out: W + scale B A, its transpose where the layer is a Conv1D."""
    folder = save(tmp_path, family, tied=False)
    if settings.get("targets") == "some":
        names = ["c_attn", "c_fc"] if family == "gpt2" else ["q_proj", "down_proj"]
        settings = {**settings, "targets": names}
    model = student(folder, **settings)
    learn(model)
    backward(model)
    found = {name: each for name, each in gradients(model).items() if "lora_" in name}
    held = {name: each for name, each in model.module.named_parameters() if each.requires_grad}
    assert held.keys() == found.keys()
    frozen = [each for each in model.module.parameters() if not each.requires_grad]
    assert all(each.grad is None for each in frozen)

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    own = {name: each.detach() for name, each in base.named_parameters()}
    leaves = {name: each.detach().double().requires_grad_() for name, each in held.items()}
    scale = 16 / 4**0.5 if settings.get("rslora") else 16 / 4
    for name in leaves:
        if ".lora_A." not in name:
            continue
        layer = name.partition(".lora_A.")[0]
        update = scale * leaves[name.replace(".lora_A.", ".lora_B.")] @ leaves[name]
        if isinstance(base.get_submodule(layer), Conv1D):
            update = update.T
        own[f"{layer}.weight"] = own[f"{layer}.weight"] + update
    total = torch.zeros((), dtype=torch.float64)
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        ids = torch.tensor([[*prompt, *response]])
        said = functional_call(base, own, kwargs={"input_ids": ids}).logits[0].log_softmax(-1)
        for place, token in enumerate(response, start=len(prompt)):
            total = total - said[place - 1, token]
    (total / sum(map(len, RESPONSES))).backward()
    expected = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    assert expected.keys() == found.keys()
    assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
@pytest.mark.parametrize("settings", [{}, {"rslora": True}, {"dora": True}])
def test_merged_is_unmerged_and_the_base_is_not_touched(
    family: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = student(save(tmp_path, family), **settings)
    base = {name: each.detach().clone() for name, each in model.frozen.items()}
    begun = states(model)
    learn(model)
    apart = states(model)
    assert not torch.allclose(apart, begun, atol=1e-2)
    with model.plain():
        assert not any("lora" in name for name, _ in model.module.named_modules())
        torch.testing.assert_close(states(model), apart, rtol=1e-5, atol=1e-5)
        with model.plain():
            torch.testing.assert_close(states(model), apart, rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError, match="stopped"), model.plain():
        raise RuntimeError("stopped")
    assert torch.equal(states(model), apart)
    assert model.frozen.keys() == base.keys()
    assert all(torch.equal(each, base[name]) for name, each in model.frozen.items())


def test_dora_and_rslora_are_other_updates_of_the_same_factors(tmp_path: Path) -> None:
    folder = save(tmp_path)
    found = []
    for settings in ({}, {"rslora": True}, {"dora": True}):
        model = student(folder, **settings)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in model.module.named_parameters():
                if ".lora_B." in name:
                    parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        found.append(states(model))
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_a_narrow_base_is_merged_in_fp32_and_rounded_once(tmp_path: Path) -> None:
    source = Student(
        name=str(save(tmp_path)),
        prompt=PromptStyle.plain,
        dtype=DType.bfloat16,
        adapter=Adapter(rank=4, targets=["q_proj"]),
    )
    model = load(source, device=CPU, precision="bf16")
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    learn(model)
    # What was learned would be lost in part by rounding, so it writes unmerged.
    assert model.way.name == "its own cache"
    layer = model.module.base_model.layers[0].self_attn.q_proj
    factors = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = (layer.base_layer.weight.float() + 4 * factors).bfloat16()
    with model.plain():
        merged = model.module.base_model.layers[0].self_attn.q_proj.weight
        assert torch.equal(merged, expected)


def test_what_a_seed_draws_is_drawn_again(tmp_path: Path) -> None:
    model = student(save(tmp_path))
    drawn = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        model.begin(3 if seed == 1 else 4)
        drawn.append(torch.cat([each.detach().flatten() for each in model.parameters()]))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    state = torch.random.get_rng_state()
    student(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dora", [False, True])
def test_the_merged_student_is_what_transformers_loads(
    family: str, dora: bool, tmp_path: Path
) -> None:
    model = student(save(tmp_path / "base", family), dora=dora)
    learn(model)
    model.save(tmp_path / "left")
    with model.plain():
        expected = states(model)
    again = load(of_folder(model.adapters.source, tmp_path / "left"), device=CPU, precision="fp32")
    assert type(again) is LanguageModel
    assert torch.equal(states(again), expected)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "left").eval()
    ids = torch.tensor([[5, 9, 11, 6]])
    with torch.no_grad():
        torch.testing.assert_close(whole(ids).logits, again.module(ids).logits)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dora", [False, True])
def test_the_adapter_is_what_peft_loads(family: str, dora: bool, tmp_path: Path) -> None:
    model = student(
        save(tmp_path / "base", family), dora=dora, rslora=True, export=AdapterExport.adapter
    )
    learn(model)
    model.save(tmp_path / "left")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    tuned = PeftModel.from_pretrained(base, str(tmp_path / "left")).eval()
    ids = torch.tensor([[5, 9, 11, 6]])
    with torch.no_grad():
        torch.testing.assert_close(tuned(input_ids=ids).logits, model.module.eval()(ids).logits)
    # As a student's or a teacher's name, the folder is the model below with what was learned.
    again = load(of_folder(model.adapters.source, tmp_path / "left"), device=CPU, precision="fp32")
    with model.plain():
        assert torch.equal(states(again), states(model))
    other = load(Teacher(name=str(tmp_path / "left")), device=CPU, precision="fp32")
    torch.testing.assert_close(states(other), states(again), rtol=1e-5, atol=1e-5)
    assert digest_of_writer(other) == digest_of_writer(again)


@pytest.mark.parametrize("family", FAMILIES)
def test_its_own_teacher_is_the_base_exactly(family: str, tmp_path: Path) -> None:
    folder = save(tmp_path, family)
    model = student(folder, dora=True, dropout=0.5)
    learn(model)
    teacher = below(model, SelfTeacher())
    alone = load(SelfTeacher().alone(model.adapters.source), device=CPU, precision="fp32")
    shared = {each.data_ptr() for each in model.module.parameters()}
    assert {each.data_ptr() for each in teacher.module.parameters()} == shared
    assert teacher.parameters() == []
    model.learn(dropout=True)
    batch = teacher.batch(PROMPTS, RESPONSES)
    base = load(start_of(model.adapters.source), device=CPU, precision="fp32")
    with torch.no_grad():
        assert torch.equal(teacher.hidden(batch), states(base))
        assert torch.equal(logits(teacher), logits(base))
    # A model that only reads lies in another order, and is multiplied in another one.
    torch.testing.assert_close(logits(teacher), logits(alone), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(states(model), states(alone), atol=1e-2)
    sampling = Sampling(max_new_tokens=12)
    texts = [generate(each, PROMPTS, sampling, seed=0) for each in (teacher, alone, model)]
    assert texts[0] == texts[1] != texts[2]
    assert teacher.way.name == alone.way.name
    assert digest_of_writer(teacher) == digest_of_writer(alone)
    assert teacher.active_parameters == alone.active_parameters


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_student_with_an_adapter_writes_is_what_the_merged_one_writes(
    family: str, tmp_path: Path
) -> None:
    model = student(save(tmp_path / "base", family))
    learn(model)
    model.save(tmp_path / "left")
    whole = load(of_folder(model.adapters.source, tmp_path / "left"), device=CPU, precision="fp32")
    assert model.way.name == whole.way.name
    sampling = Sampling(max_new_tokens=12)
    mine, theirs = (generate(each, PROMPTS, sampling, seed=0) for each in (model, whole))
    assert [each.tokens for each in mine] == [each.tokens for each in theirs]
    # Written with the weights as they are now, not as they were when it first wrote.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    again = generate(model, PROMPTS, sampling, seed=0)
    assert [each.tokens for each in again] != [each.tokens for each in mine]


@pytest.mark.parametrize("dropout", [True, False])
def test_reading_as_a_teacher_leaves_no_trace_in_the_students_gradient(
    dropout: bool, tmp_path: Path
) -> None:
    """With checkpointing: layers run again in the backward pass, in the mode they are in then."""
    source = Student(
        name=str(save(tmp_path)),
        prompt=PromptStyle.plain,
        gradient_checkpointing=True,
        adapter=Adapter(rank=4, dropout=0.3),
    )
    found = []
    for reads in (False, True):
        model = load(source, device=CPU, precision="fp32")
        assert isinstance(model, AdaptedModel)
        learn(model)
        teacher = below(model, SelfTeacher())
        model.learn(dropout=dropout)
        modes = [part.training for part in model.module.modules()]
        if reads:
            with torch.no_grad():
                teacher.hidden(teacher.batch(PROMPTS, RESPONSES))
            with pytest.raises(ValueError, match="input_ids"):
                teacher.body(none_such=1)
        assert [part.training for part in model.module.modules()] == modes
        torch.manual_seed(0)
        backward(model)
        found.append(gradients(model))
    plain = load(replace(source, gradient_checkpointing=False), device=CPU, precision="fp32")
    assert isinstance(plain, AdaptedModel)
    learn(plain)
    plain.learn(dropout=dropout)
    torch.manual_seed(0)
    backward(plain)
    for name, gradient in gradients(plain).items():
        assert torch.equal(found[0][name], found[1][name])
        torch.testing.assert_close(found[1][name], gradient)


def test_its_own_teacher_may_be_spoken_to_otherwise(tmp_path: Path) -> None:
    model = student(save(tmp_path))
    assert below(model, SelfTeacher()).prompts is model.prompts
    teacher = below(model, SelfTeacher(prompt=PromptStyle.alpaca))
    asked = example("Why?")
    assert teacher.prompt_length(asked) > model.prompt_length(asked)
    assert isinstance(teacher, BareModel)


@pytest.mark.parametrize(
    ("family", "tied", "targets", "words"),
    [
        ("llama", False, ["lm_head"], r"student\.adapter\.targets puts an adapter on the head"),
        ("llama", True, ["lm_head", "q_proj"], "puts an adapter on the head"),
        ("llama", True, ["embed_tokens"], "names embed_tokens, which is no linear layer of a Lla"),
        ("gpt2", True, ["wte"], r"names wte, .* Choose among c_attn, c_fc, c_proj, or all-linear"),
        ("llama", True, ["q_proj", "q_poj"], "names q_poj"),
        ("llama", True, ["q_.*"], r"names q_\.\*"),
        ("llama", True, "norm", "names norm, which is no linear layer"),
    ],
)
def test_what_no_adapter_may_be_on_is_refused(
    family: str, tied: bool, targets: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        student(save(tmp_path, family, tied=tied), targets=targets)


def test_all_linear_is_all_but_the_head(tmp_path: Path) -> None:
    model = student(save(tmp_path, "llama", tied=False))
    assert len(model.adapters.slots) == 2 * 7
    head = model.module.get_output_embeddings()
    assert not any(slot.layer.get_base_layer() is head for slot in model.adapters.slots)


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    module = AutoModelForCausalLM.from_pretrained(save(tmp_path))
    module.config.quantization_config = {"quant_method": "bitsandbytes"}
    with pytest.raises(ModelError, match=r"^student\.name=x has quantised weights, into which"):
        inject(module, Student(name="x", adapter=Adapter(rank=4)))


def test_without_peft_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    words = "needs peft, which is not installed. Install it with `pip install 'distillkit[adapter]'"
    with pytest.raises(ConfigError, match=re.escape(words)):
        student(save(tmp_path))


def test_weights_that_learn_are_kept_alone_and_with_those_below_them(tmp_path: Path) -> None:
    model = student(save(tmp_path / "base"))
    learn(model)
    expected = states(model)
    save_weights(model, tmp_path / "kept")
    with safe_open(tmp_path / "kept", framework="pt") as opened:
        assert len(opened.keys()) == len(model.parameters())
        assert opened.metadata() == model.rests_on
    again = student(tmp_path / "base")
    load_weights(again, tmp_path / "kept", way_out="Go.")
    assert torch.equal(states(again), expected)
    other = student(save(tmp_path / "other", seed=1))
    with pytest.raises(RunError, match="it was learned on other weights than student"):
        load_weights(other, tmp_path / "kept", way_out="Go.")


def test_a_whole_students_weights_say_nothing_of_others(tmp_path: Path) -> None:
    source = Student(name=str(save(tmp_path / "base")), prompt=PromptStyle.plain)
    model = load(source, device=CPU, precision="fp32")
    save_weights(model, tmp_path / "kept")
    with safe_open(tmp_path / "kept", framework="pt") as opened:
        assert opened.metadata() is None
        named = {name for name, _ in model.module.named_parameters()}
        assert set(opened.keys()) == named
    assert model.frozen == {}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda config: "{", "adapter_config.json is damaged"),
        (lambda config: config.replace('"LORA"', '"IA3"'), "it is of another kind than LoRA"),
        (lambda config: config.replace('"r": 4', '"r": 3'), "it does not fit its base"),
        (lambda config: config.replace('"r": 4', '"r": 9000000'), "must lie between 1 and 16384"),
        (lambda config: config.replace('"r": 4', '"r": "4"'), "is damaged, or its target_modules"),
        (
            lambda config: config.replace('"megatron_config": null', '"megatron_config": {"a": 1}'),
            "megatron_config of adapter_config.json is none of the fields",
        ),
        (
            lambda config: config.replace(
                '"init_lora_weights": true', '"init_lora_weights": "pissa"'
            ),
            "init_lora_weights of adapter_config.json is none",
        ),
        (lambda config: "[]", "adapter_config.json is damaged"),
        (
            lambda config: config.replace('"modules_to_save": null', '"modules_to_save": ["x"]'),
            "modules_to_save of adapter_config.json is none of the fields",
        ),
    ],
)
def test_a_strange_adapter_is_refused(damage: Any, words: str, tmp_path: Path) -> None:
    model = student(save(tmp_path / "base"), export=AdapterExport.adapter)
    model.save(tmp_path / "left")
    file = tmp_path / "left" / "adapter_config.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(ModelError, match=rf"^teacher\.name=.*cannot be read: .*{words}"):
        load(Teacher(name=str(tmp_path / "left")), device=CPU, precision="fp32")


def test_an_adapter_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    """Trap: peft warns, and goes on with those that it drew."""
    model = student(save(tmp_path / "base"), export=AdapterExport.adapter)
    model.save(tmp_path / "left")
    file = tmp_path / "left" / "adapter_model.safetensors"
    held = load_file(file)
    del held[max(held)]
    save_file(held, file)
    words = r"does not fit its base \(base_model\S+ is in one of them alone\)"
    with pytest.raises(ModelError, match=words):
        load(Teacher(name=str(tmp_path / "left")), device=CPU, precision="fp32")


def test_an_adapter_without_its_base_is_refused(tmp_path: Path) -> None:
    model = student(save(tmp_path / "base"), export=AdapterExport.adapter)
    model.save(tmp_path / "left")
    (tmp_path / "base").rename(tmp_path / "gone")
    words = (
        r"^teacher\.name=\S+left holds an adapter, and of its base is said: teacher\.name=\S+base"
    )
    with pytest.raises(ModelError, match=words):
        load(Teacher(name=str(tmp_path / "left")), device=CPU, precision="fp32")
