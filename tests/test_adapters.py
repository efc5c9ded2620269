"""Adapters and a student as its own teacher, through the command line and to the last byte."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from distillkit.compose import compose
from distillkit.core.errors import Interrupted
from distillkit.models.loading import EMBEDDED
from distillkit.programs.train.program import train
from tests.conftest import SMOKE, CommandLine
from tests.test_resume import wait_for_step
from tests.tiny import save

ADAPTED = ["student.adapter.rank=4", "student.adapter.dropout=0.1", "checkpoint.export=best"]
TINY = [*SMOKE, *ADAPTED, "steps=6", "checkpoint.every=2", "evaluation.every=3"]
ROOT = Path(__file__).parents[1]
KEPT = ("metrics.jsonl", "samples.jsonl")
REWARD = ["teacher=self", "objective=reward", "policy=on_policy", "loop.group=2"]


def run(output: Path, *more: str) -> Path:
    return train(compose("train", [*TINY, *more, f"output={output}", "name=run"])).path


def contents(folder: Path) -> dict[str, bytes]:
    files = [folder / name for name in KEPT] + [*(folder / "student").iterdir()]
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize(
    "typed",
    [
        ["policy=mixed", "student.adapter.dora=true"],
        [*REWARD, "student.adapter.export=adapter", "student.gradient_checkpointing=true"],
    ],
)
def test_an_interrupted_run_resumes_to_the_same_bytes(typed: list[str], tmp_path: Path) -> None:
    whole = contents(run(tmp_path / "whole", *typed))
    folder = tmp_path / "part" / "train" / "run"

    def send() -> None:
        wait_for_step(folder, 3)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted):
        run(tmp_path / "part", *typed)
    sender.join()
    (checkpoint, *_) = sorted((folder / "checkpoints").glob("step-*"))
    held = load_file(checkpoint / "student.safetensors")
    assert all("lora_" in name for name in held)
    assert contents(run(tmp_path / "part", *typed)) == whole


def test_another_seed_begins_with_another_adapter(tmp_path: Path) -> None:
    left = [contents(run(tmp_path / seed, f"seed={seed}")) for seed in ("0", "1")]
    assert left[0]["model.safetensors"] != left[1]["model.safetensors"]


def test_a_run_on_another_base_is_not_resumed(tmp_path: Path, distillkit: CommandLine) -> None:
    base = tmp_path / "base"
    shutil.copytree(EMBEDDED / "student", base)
    asked = ["train", *TINY, "student=hf", f"student.name={base}", "student.prompt=plain", "name=a"]
    assert distillkit(*asked).code == 0
    folder = tmp_path / "outputs" / "train" / "a"
    (folder / "summary.json").unlink()
    shutil.rmtree(base)
    shutil.copytree(EMBEDDED / "classmate", base)
    result = distillkit(*asked)
    assert result.code == 2
    assert "student.safetensors is damaged (it was learned on other weights" in result.err


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_families_learn_and_are_measured_as_they_are_left(
    family: str, tmp_path: Path, distillkit: CommandLine
) -> None:
    """The student's numbers at the end are those of the folder, which is what ``eval`` loads."""
    save(tmp_path / "base", family, context=512)
    settings = ["student=hf", "student.name=base", "student.prompt=plain", "teacher=self"]
    for export in ("merged", "adapter"):
        typed = [*settings, f"student.adapter.export={export}", "objective=sft", f"name={export}"]
        result = distillkit("train", *TINY, *typed, "policy=off_policy", "optimizer.lr=0.02")
        assert result.code == 0, result.err
        folder = tmp_path / "outputs" / "train" / export
        result = distillkit("eval", f"run={folder}", "metric=[accuracy,perplexity]")
        assert result.code == 0, result.err
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["student_before"] == summary["teacher"]
        assert summary["student_after"]["nll"] < summary["student_before"]["nll"]
        found = json.loads((folder / "evaluation" / "test" / "results.json").read_text())
        measured = found["numbers"]["student"]["perplexity"]["token_perplexity_dataset"]
        expected = math.exp(summary["student_after"]["nll"])
        assert measured["value"] == pytest.approx(expected, rel=1e-6)
    ids = torch.tensor([[5, 9, 11, 6]])
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "outputs" / "train/merged/student")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    assert not torch.allclose(whole(ids).logits, base(ids).logits, atol=1e-2)


def test_its_own_teacher_writes_what_the_base_would(
    tmp_path: Path, distillkit: CommandLine
) -> None:
    """And text that is kept of one is known to be the other's."""
    typed = [*SMOKE, "policy=seq_kd", "objective=sft", "student.adapter.rank=4"]
    assert distillkit("train", *typed, "teacher=self", "name=self").code == 0
    alone = ["teacher=hf", "teacher.name=embedded:student", "teacher.prompt=plain"]
    result = distillkit("train", *typed, *alone, "name=alone")
    assert result.code == 0
    assert "teacher wrote" not in result.out.partition("budget")[0]
    journals = [
        (tmp_path / "outputs" / "train" / name / "metrics.jsonl").read_bytes()
        for name in ("self", "alone")
    ]
    assert journals[0] == journals[1]


def test_both_write_every_token_where_one_is_the_others_base(
    tmp_path: Path, distillkit: CommandLine
) -> None:
    typed = [*SMOKE, "policy=teacher_mixed", "objective=minillm", "student.adapter.rank=4"]
    result = distillkit("train", *typed, "teacher=self", "name=self")
    assert result.code == 0, result.err
    assert "teacher=self is the student as it begins, and reads the same prompts" in " ".join(
        result.out.split()
    )
    alone = ["teacher=hf", "teacher.name=embedded:student", "teacher.prompt=plain"]
    assert distillkit("train", *typed, *alone, "name=alone").code == 0
    journals = [
        (tmp_path / "outputs" / "train" / name / "metrics.jsonl").read_bytes()
        for name in ("self", "alone")
    ]
    assert journals[0] == journals[1]


def test_a_base_that_reads_otherwise_teaches(tmp_path: Path, distillkit: CommandLine) -> None:
    typed = ["student.adapter.rank=4", "teacher=self", "teacher.prompt=alpaca", "policy=on_policy"]
    result = distillkit("train", *SMOKE, *typed, "name=run")
    assert result.code == 0, result.err
    assert "teacher=self is the student" not in result.out
    journal = (tmp_path / "outputs" / "train" / "run" / "metrics.jsonl").read_text()
    assert json.loads(journal.splitlines()[0])["loss"] > 0.01
    run = f"run={tmp_path}/outputs/train/run"
    assert distillkit("eval", run, "metric=[accuracy,divergence]").code == 0


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["student.adapter.rank=-1"], "student.adapter.rank must be 0 or more, got -1."),
        (["student.adapter.rank=20000"], "student.adapter.rank must be at most 16384, got 20000."),
        (["student.adapter.rank=x"], "student.adapter.rank"),
        (["student.adapter.r=8"], "student.adapter.r"),
        (["student.adapter.rank=8", "student.adapter.alpha=0"], "alpha must be above 0, got 0"),
        (["student.adapter.rank=8", "student.adapter.dropout=1"], "dropout must lie in [0, 1)"),
        (["student.adapter.rank=8", "student.adapter.targets=[]"], "targets=[] must be all-linear"),
        (["student.adapter.rank=8", "student.adapter.targets=[1]"], "targets=[1] must be all-lin"),
        (["student.adapter.rank=8", "student.adapter.targets=null"], "targets=None must be all-"),
        (["student.adapter.rank=8", "student.adapter.targets=[x]"], "names x, which is no linear"),
        (["student.adapter.rank=8", "student.adapter.targets=lm_head"], "an adapter on the head"),
        (["student.adapter.rank=8", "student.adapter.export=no"], "student.adapter.export"),
        (["student.adapter.dora=true"], "student.adapter.dora=True has no effect without an ada"),
        (["student.adapter.rank=0", "student.adapter.alpha=4"], "alpha=4.0 has no effect without"),
        (["teacher=self"], "has none. Give it one with student.adapter.rank=8, or choose"),
        (["student.adapter.rank=8", "placement=sharded"], "rank=8 cannot be sharded: updates are"),
        (["teacher=self", "student.adapter.rank=8", "teacher.name=x"], "teacher.name"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    typed: list[str], words: str, tmp_path: Path, distillkit: CommandLine
) -> None:
    result = distillkit("train", *SMOKE, *typed)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "outputs" / "train").exists()


def test_verbs_that_cannot_do_with_a_student_as_its_teacher_say_so(
    distillkit: CommandLine,
) -> None:
    for verb in ("doctor", "undo-iterate", "osd"):
        result = distillkit(verb, "student.adapter.rank=4", "teacher=self")
        assert result.code == 2
        assert result.err.startswith("distillkit: teacher=self ")
        assert result.err.count("\n") == 1


def test_the_doctor_counts_what_learns_alone(distillkit: CommandLine, wide: None) -> None:
    told = [
        distillkit("doctor", *SMOKE, *typed).out.partition("gradients and AdamW moments take ")[2]
        for typed in ([], ["student.adapter.rank=4"])
    ]
    sizes = [text.split(" on ")[0] for text in told]
    assert sizes == ["7.6 MB", "348 kB"]


def test_without_an_adapter_runs_are_known_again_and_peft_is_not_loaded(
    tmp_path: Path,
) -> None:
    base = compose("train", []).fingerprint
    assert compose("train", ["student.adapter.rank=0"]).fingerprint == base
    found = {compose("train", [f"student.adapter.rank={rank}"]).fingerprint for rank in (1, 2)}
    assert len(found | {base}) == 3
    (tmp_path / "peft.py").write_text("raise SystemExit('peft was loaded')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "distillkit", "train", *SMOKE]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
