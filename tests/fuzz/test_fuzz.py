"""The fuzzer: a small seeded part of it in every run of the suite, all of it in ``make fuzz``."""

import os
from pathlib import Path

import pytest

from .campaign import try_commands, try_damages, try_strangers, whole
from .hostile import CASES, CONTROLS, attack
from .scenes import finished

FEW = ("a yaml of objects", "a key in name", "trust in a yaml", "an index to pickled weights")
"""Hostile cases that cost little."""


def test_generated_commands_end_well_or_with_one_sentence(tmp_path: Path) -> None:
    assert try_commands(25, tmp_path / "commands", seed=1).wrong == []


def test_damaged_files_are_refused_or_change_nothing(tmp_path: Path) -> None:
    mine, others = (finished(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    assert try_damages(10, mine, others, tmp_path, seed=1).wrong == []


def test_files_of_strangers_run_nothing(tmp_path: Path) -> None:
    assert try_strangers([case for case in CASES if case.name in FEW], tmp_path).wrong == []


def test_a_mark_is_left_where_code_is_let_run(tmp_path: Path) -> None:
    ran, _, ended = attack(CONTROLS[0], tmp_path / "case")
    assert ran, ended


@pytest.mark.slow
def test_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of figures; ``FUZZ_SEED`` chooses other inputs, the other variables how many."""
    numbers = {"seed": 0, "commands": 3000, "files": 300, "kills": 20}
    asked = {name: int(os.environ.get(f"FUZZ_{name.upper()}", n)) for name, n in numbers.items()}
    found = whole(tmp_path, **asked)
    with capsys.disabled():
        told = (f"{part.tried:,} {name}: {len(part.wrong)} wrong" for name, part in found.items())
        print(f"\nfuzz, seed {asked['seed']}: {'; '.join(told)}")
        for part in found.values():
            print(*(f"  {line}\n" for line in part.wrong), sep="", end="")
    assert not any(part.wrong for part in found.values())
