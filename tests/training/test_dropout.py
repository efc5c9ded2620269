"""Policy gradients learn as they write: without dropout. Other objectives keep it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import Student, Teacher
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.step import accumulate
from tests.tiny import CPU, build, gradients, save
from tests.training.methods import method

RATES = {
    "gpt2": {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
    "opt": {"dropout": 0.1, "attention_dropout": 0.1, "layerdrop": 0.3},
    "llama": {"attention_dropout": 0.3},
}
checkpointing = pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
families = pytest.mark.parametrize("family", RATES)


def student(folder: Path, family: str, *, recompute: bool, **rates: float) -> LanguageModel:
    save(folder, family, **rates)
    source = Student(name=str(folder), gradient_checkpointing=recompute)
    return load(source, device=CPU, precision="fp32")


def first_gradient(learner: LanguageModel, name: str) -> dict[str, torch.Tensor]:
    made = method(name, learner, build("llama", side=Teacher, seed=3), max_grad_norm=1e9)
    next(distil(made, build_optimizer(made)))
    return gradients(learner)


@checkpointing
@families
@pytest.mark.parametrize("name", ["minillm", "reward", "sampled_kl", "divergence"])
def test_a_policy_gradient_is_that_of_a_student_without_dropout_and_no_other_is(
    name: str, family: str, recompute: bool, tmp_path: Path
) -> None:
    found = [
        first_gradient(student(tmp_path, family, recompute=recompute, **rates), name)
        for rates in (RATES[family], dict.fromkeys(RATES[family], 0.0))
    ]
    same = [torch.equal(found[0][key], found[1][key]) for key in found[1]]
    assert all(same) == (name != "divergence")
    assert any(slope.abs().sum() > 0 for slope in found[0].values())


@checkpointing
@families
def test_two_backward_passes_agree_bit_for_bit(
    family: str, recompute: bool, tmp_path: Path
) -> None:
    learner = student(tmp_path, family, recompute=recompute, **RATES[family])
    made = method("minillm", learner, build("llama", side=Teacher, seed=3))
    update = next(distil(made, build_optimizer(made)))
    results = {}
    for dropout in (False, True):
        passes = []
        for seed in (1, 2):
            if dropout:
                learner = student(tmp_path, family, recompute=recompute, **RATES[family])
            torch.manual_seed(seed)
            learner.learn(dropout=dropout)
            learner.module.zero_grad()
            sides = replace(made.sides, student=learner)
            accumulate(update.rollouts, sides=sides, objective=made.objective, loop=made.loop)
            passes.append(gradients(learner))
        one, other = passes
        results[dropout] = all(torch.equal(one[key], other[key]) for key in one)
    assert results == {False: True, True: False}


def test_activations_are_recomputed_without_dropout_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise memory would run out where it was asked to be saved."""
    calls = []
    forward = torch.utils.checkpoint.checkpoint
    monkeypatch.setattr(
        torch.utils.checkpoint, "checkpoint", lambda *a, **k: calls.append(1) or forward(*a, **k)
    )
    import transformers.modeling_utils as utils

    monkeypatch.setattr(utils, "checkpoint", torch.utils.checkpoint.checkpoint)
    for recompute in (False, True):
        calls.clear()
        first_gradient(student(tmp_path, "gpt2", recompute=recompute), "minillm")
        assert bool(calls) == recompute


def test_the_students_folder_keeps_its_rates(tmp_path: Path) -> None:
    """What is off while this run learns is nobody else's setting."""
    learner = student(tmp_path / "from", "gpt2", recompute=False, **RATES["gpt2"])
    first_gradient(learner, "minillm")
    learner.save(tmp_path / "to")
    again = load(Student(name=str(tmp_path / "to")), device=CPU, precision="fp32")
    assert {key: getattr(again.module.config, key) for key in RATES["gpt2"]} == RATES["gpt2"]
