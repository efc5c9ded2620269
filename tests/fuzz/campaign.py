"""All parts of the fuzzer, each with what it tried and what it found wrong."""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .commands import faults, generated
from .damage import damages, examine
from .forks import Call, run, run_all
from .hostile import CASES, CONTROLS, Case, attack
from .kills import killed_and_resumed
from .scenes import TRAIN, Scene, scenes


@dataclass(frozen=True, slots=True)
class Found:
    """What one part of the fuzzer tried.

    Attributes:
        tried: how often.
        wrong: what went wrong, with what was done.
    """

    tried: int
    wrong: list[str]


def try_commands(count: int, place: Path, *, seed: int) -> Found:
    """So many generated commands."""
    place.mkdir(parents=True)
    assert run(Call((*TRAIN, f"seed={seed}"), folder=place)).code == 0
    calls = generated(count, seed=seed, run=place / "outputs/train/run")
    wrong = [
        f"{shlex.join(ended.call.arguments)}: {bad}"
        for ended in run_all(calls)
        if (bad := faults(ended))
    ]
    return Found(count, wrong)


def try_damages(
    count: int, found: Sequence[Scene], strangers: Sequence[Scene], place: Path, *, seed: int
) -> Found:
    """So many damaged or foreign files in copies of the scenes."""
    healthy, copy = {}, place / "copy"
    for scene in found:
        shutil.copytree(scene.folder, copy)
        ended = scene.play(copy)
        assert ended.code == 0, ended
        healthy[scene.name] = scene.outcome(ended)
        shutil.rmtree(copy)
    wrong = [
        f"{damage.scene.name}, {damage.file}, {damage.kind}: {bad}"
        for damage, change in damages(found, strangers, count, seed=seed)
        if (bad := examine(damage, change, healthy[damage.scene.name], copy))
    ]
    return Found(count, wrong)


def try_strangers(cases: Sequence[Case], place: Path) -> Found:
    """Hostile files; what their code did is told first."""
    wrong = []
    for case in cases:
        ran, bad, ended = attack(case, place / "case")
        if ran or bad:
            wrong.append(f"{case.name}: {['its code ran'] if ran else bad} {ended.err[-300:]}")
    return Found(len(cases), wrong)


def whole(place: Path, *, commands: int, files: int, kills: int, seed: int) -> dict[str, Found]:
    """Everything, by the name of the part."""
    closed = [case.name for case in CONTROLS if not attack(case, place / "control")[0]]
    assert not closed, f"no mark is left by {closed}"
    mine, others = (scenes(place / name, seed=seed + add) for add, name in enumerate("ab"))
    return {
        "generated commands": try_commands(commands, place / "commands", seed=seed),
        "damaged or foreign files": try_damages(files, mine, others, place, seed=seed),
        "hostile inputs": try_strangers(CASES, place),
        "kills": Found(kills, killed_and_resumed(kills, place / "kills", seed=seed)),
    }
