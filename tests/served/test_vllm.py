"""A real vLLM, where there is one: DISTILLKIT_VLLM names the command ``vllm`` of 0.32 or later."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
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
SHORT = ["tracker=none", "debug=smoke", "evaluation.test=4", "steps=6", "device=cpu"]


@contextmanager
def running(model: Path, log: Path, *more: str) -> Iterator[str]:
    """The url of a server of this model; start-up takes a minute or two."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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


def test_a_teacher_behind_vllm_teaches_what_a_local_one_does(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    with running(EMBEDDED / "teacher", tmp_path / "log", "--max-logprobs", "64") as url:
        served = ["teacher=served", f"teacher.url={url}", f"teacher.model={NAME}"]
        typed = [*TOP, *SHORT, f"output={tmp_path}", "policy=mixed", "lmbda=0.5"]
        here = distillkit("train", "teacher=embedded", *typed, "name=local")
        assert here.code == 0, here.err
        plain = [*served, "teacher.prompt=plain", "teacher.reference=embedded:teacher"]
        there = distillkit("train", *plain, *typed, "name=served")
        assert there.code == 0, there.err
        local, asked = (rows(tmp_path / "train" / name) for name in ("local", "served"))
        for ours, theirs in zip(local, asked, strict=True):
            assert theirs == pytest.approx(ours, rel=1e-3, abs=1e-5)
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
