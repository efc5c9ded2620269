"""A real vLLM, where there is one: DISTILLKIT_VLLM names the command ``vllm`` of 0.32 or later."""

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillkit.models.loading import EMBEDDED
from tests.conftest import CommandLine
from tests.served.stub import NAME
from tests.served.test_training import TOP, rows

VLLM = os.environ.get("DISTILLKIT_VLLM", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not VLLM, reason="DISTILLKIT_VLLM names no vllm command; its environment is one of its own"
    ),
]
LOG = logging.getLogger(__name__)
SHORT = ["tracker=none", "debug=smoke", "evaluation.test=4", "steps=6", "device=cpu"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(model: Path, log: Path, *more: str, port: int | None = None) -> Iterator[str]:
    """The url of a server of this model, killed with -9 at the end; start-up takes a while."""
    port = port or free_port()
    own = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1"}
    others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [VLLM, "serve", str(model), "--dtype", "float32", "--enforce-eager"]
    where = ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *where, *more],
            env=others | own,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 400
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except (URLError, OSError):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def apart(folder: Path, column: str) -> float:
    """The largest relative gap of a column between the run of a local and of a served teacher."""
    local, served = (
        [row[column] for row in rows(folder / "train" / name) if column in row]
        for name in ("local", "served")
    )
    gap = max(abs(a - b) / abs(a) for a, b in zip(local, served, strict=True))
    LOG.warning(f"{column}: within {gap:.1e} over {len(local)} updates")
    return gap


def weights_apart(folder: Path) -> float:
    """How far the two students' weights are from each other, as a share of their length."""
    local, served = (
        torch.cat(
            [
                each.flatten()
                for each in load_file(
                    folder / "train" / name / "student" / "model.safetensors"
                ).values()
            ]
        )
        for name in ("local", "served")
    )
    gap = float((local - served).norm() / local.norm())
    LOG.warning(f"weights: within {gap:.1e}")
    return gap


def test_a_teacher_behind_vllm_teaches_what_a_local_one_does(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    with running(EMBEDDED / "teacher", tmp_path / "log", "--max-logprobs", "64") as url:
        served = ["teacher=served", f"teacher.url={url}", f"teacher.model={NAME}"]
        typed = [*TOP, *SHORT, "steps=20", f"output={tmp_path}", "policy=mixed", "lmbda=0.5"]
        here = distillkit("train", "teacher=embedded", *typed, "name=local")
        assert here.code == 0, here.err
        plain = [*served, "teacher.prompt=plain", "teacher.reference=embedded:teacher"]
        there = distillkit("train", *plain, *typed, "name=served")
        assert there.code == 0, there.err
        # vLLM computes in another order: its scores are some 1e-5 nats away, at most 1e-4.
        assert apart(tmp_path, "loss") < 2e-5
        assert apart(tmp_path, "grad_norm") < 5e-4
        assert weights_apart(tmp_path) < 1e-4
        typed.append("steps=6")
        greedy = [*typed, "teacher_rollout.temperature=0", "policy=seq_kd", "name=text"]
        written = distillkit("train", *plain, *(each for each in greedy if "lmbda" not in each))
        assert written.code == 0, written.err
        more = distillkit("train", *plain, *typed, "support.k=128")
        assert more.code == 2
        assert "which is 64. Start it again with --max-logprobs 129" in more.err
        chat = distillkit("train", *served, "teacher.prompt=chat", *typed, "name=chat")
        assert chat.code == 0, chat.err
        own = distillkit("train", *plain, *typed, "support=student_top_k")
        assert own.code == 2
        assert "Start it again with --enable-scale-out" in own.err


def test_a_vllm_killed_and_started_again_changes_nothing(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    port, more = free_port(), ("--max-logprobs", "64")
    metrics = tmp_path / "train" / "killed" / "metrics.jsonl"
    typed = [*TOP, *SHORT, "steps=12", f"output={tmp_path}", "policy=on_policy"]
    typed += ["teacher=served", f"teacher.url=http://127.0.0.1:{port}/v1", f"teacher.model={NAME}"]
    typed.append("teacher.prompt=plain")
    done = threading.Event()

    def come_and_go() -> None:
        with running(EMBEDDED / "teacher", tmp_path / "log", *more, port=port):
            while not done.is_set() and not (
                metrics.exists() and metrics.read_bytes().count(b"\n") > 6
            ):
                time.sleep(0.002)
        with running(EMBEDDED / "teacher", tmp_path / "log", *more, port=port):
            done.wait()

    with running(EMBEDDED / "teacher", tmp_path / "log", *more, port=port):
        calm = distillkit("train", *typed, "name=calm")
    assert calm.code == 0, calm.err
    restarting = threading.Thread(target=come_and_go)
    restarting.start()
    try:
        killed = distillkit("train", *typed, "name=killed")
    finally:
        done.set()
        restarting.join()
    assert killed.code == 0, killed.err
    assert killed.out.count("waiting for up to 600 s") >= 1
    for file in ("metrics.jsonl", "student/model.safetensors"):
        left = [(tmp_path / "train" / name / file).read_bytes() for name in ("calm", "killed")]
        assert left[0] == left[1], file


def test_vllm_writes_for_a_student_whose_head_is_its_own(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    """On a CPU it keeps a tied head, which is told, not trained with."""
    apart = tmp_path / "apart"
    module = AutoModelForCausalLM.from_pretrained(EMBEDDED / "student")
    module.config.tie_word_embeddings = False
    head = module.get_input_embeddings().weight.detach().clone()
    module.lm_head.weight = type(module.lm_head.weight)(head)
    module.save_pretrained(apart)
    AutoTokenizer.from_pretrained(EMBEDDED / "student").save_pretrained(apart)
    with running(apart, tmp_path / "log") as url:
        typed = [
            *("writer=served", f"writer.url={url}", f"writer.model={NAME}", "teacher=embedded"),
            *(f"writer.folder={tmp_path / 'weights'}", "policy=on_policy", *SHORT),
            *("student=hf", f"student.name={apart}", "student.prompt=plain", f"output={tmp_path}"),
        ]
        result = distillkit("train", *typed, "objective=sampled_kl")
        assert result.code == 0, result.err
