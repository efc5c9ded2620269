"""Trainings that are killed at random moments, and end as if they had been left alone."""

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from .commands import OFFLINE
from .forks import Call, Child, run

TRAIN = (
    *("train", "tracker=none", "debug=smoke", "steps=12", "checkpoint.every=3", "name=run"),
    *("evaluation.every=4", "evaluation.test=4"),
)
VARIANTS: tuple[tuple[str, ...], ...] = (
    ("policy=mixed",),
    ("policy=on_policy", "divergence=jsd"),
    ("policy=seq_kd", "teacher_rollout.batch_size=4"),
    ("objective=minillm", "policy=teacher_mixed", "loop.collect=2", "loop.inner_epochs=2"),
)
"""Trainings with states of different kinds."""

SAME = ("metrics.jsonl", "samples.jsonl", "student/model.safetensors", "best.safetensors")


def killed_and_resumed(kills: int, place: Path, *, seed: int) -> list[str]:
    """Files that differ from those of runs left alone, after so many kills among the variants."""
    draw = random.Random(seed)
    differing = []
    for number, variant in enumerate(VARIANTS):
        mine = len(range(number, kills, len(VARIANTS)))
        command = (*TRAIN, *variant)
        whole, took = _left_alone(command, place / f"whole-{number}")
        killed = place / f"killed-{number}"
        killed.mkdir(parents=True)
        for _ in range(mine):
            _kill_once(command, killed, draw.uniform(0.1, 0.9) * took)
        ended = run(Call(command, folder=killed, environment=OFFLINE, seconds=240))
        if ended.code:
            differing.append(f"{variant}: {ended.err}")
            continue
        for name in SAME:
            files = [folder / "outputs/train/run" / name for folder in (whole, killed)]
            if files[0].read_bytes() != files[1].read_bytes():
                differing.append(f"{variant}: {name}")
        shutil.rmtree(killed)
        shutil.rmtree(whole)
    return differing


def _left_alone(command: Sequence[str], folder: Path) -> tuple[Path, float]:
    folder.mkdir(parents=True)
    began = time.monotonic()
    ended = run(Call(command, folder=folder, environment=OFFLINE, seconds=240))
    assert ended.code == 0, ended
    return folder, time.monotonic() - began


def _kill_once(command: Sequence[str], folder: Path, seconds: float) -> None:
    """Start the command and kill it after so long; one that is done is begun anew."""
    while True:
        child, end = Child(Call(command, folder=folder, environment=OFFLINE)), time.monotonic()
        while (ended := child.ended()) is None and time.monotonic() < end + seconds:
            time.sleep(0.002)
        if ended is None:
            child.kill()
            child.wait()
            return
        assert ended.code == 0, ended
        shutil.rmtree(folder / "outputs")
        seconds *= 0.8
