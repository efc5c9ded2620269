"""Real shapes on real data: GSM8K, padded heads, every family, through the command line."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from distillkit.models.linear import quicken
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Student

from .conftest import CommandLine
from .tiny import CPU, save

GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k"
WIDTHS = {
    "qwen2": (152_064, 151_936),
    "llama": (448, 384),
    "gpt2": (384, 448),
    "gemma2": (500, 384),
    "opt": (384, 400),
}
"""Head rows of teacher and student; Qwen2's are those of its 7B and 0.5B checkpoints."""


@pytest.mark.skipif(not GSM8K.is_dir(), reason="shared/data/gsm8k is not beside the checkout")
@pytest.mark.parametrize("family", WIDTHS)
def test_a_family_distils_on_gsm8k_and_its_student_loads_elsewhere(
    family: str, distillkit: CommandLine, tmp_path: Path
) -> None:
    for side, rows, seed in zip(("teacher", "student"), WIDTHS[family], (1, 2), strict=True):
        save(tmp_path / side, family, vocab_size=rows, context=1024, seed=seed)
    done = distillkit(
        "train",
        "tracker=none",
        "dataset=gsm8k",
        f"dataset.path={GSM8K}",
        "dataset.train=24",
        "policy=on_policy",
        "teacher=hf",
        "student=hf",
        f"teacher.name={tmp_path / 'teacher'}",
        f"student.name={tmp_path / 'student'}",
        "steps=3",
        "loop.batch_size=2",
        "rollout.max_new_tokens=8",
        "evaluation.every=0",
        "evaluation.test=2",
        "name=family",
    )
    assert done.code == 0, done.err
    written = tmp_path / "outputs/train/family/student"
    alone = AutoModelForCausalLM.from_pretrained(written).eval()
    ours = load(Student(name=str(written), prompt=PromptStyle.plain), device=CPU, precision="fp32")
    ids = torch.tensor([[5, 80, 200, 17, 301]])
    quicken(alone)
    assert alone.get_output_embeddings().weight.shape[0] == WIDTHS[family][1]
    with torch.no_grad():
        assert torch.equal(alone(input_ids=ids).logits, ours.module.eval()(input_ids=ids).logits)
        hidden = ours.body(input_ids=ids).last_hidden_state[0]
        expected = alone(input_ids=ids).logits[0, :, : ours.head.vocabulary]
        torch.testing.assert_close(ours.head.logits(hidden), expected)
