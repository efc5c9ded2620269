"""A guard on the command line: it warns, it ends a run, and the run can go on."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from distillkit.compose import compose
from distillkit.programs.train.program import train

from .conftest import CommandLine

CUT = [
    *("tracker=none", "debug=smoke", "name=run", "policy=on_policy", "steps=6"),
    *("rollout.max_new_tokens=2", "evaluation.every=3", "guard.window=2", "guard.entropy=null"),
]
"""A training whose responses are all cut by the length limit, as two updates show."""

WORDS = "the share of responses cut by the length limit is 1 (mean of steps 1 to 2), above"
RUN = Path("outputs/train/run")
KEPT = ("metrics.jsonl", "samples.jsonl", "student/model.safetensors")


def kept(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in KEPT}


def warnings(folder: Path) -> list[str]:
    text = (folder / "log.txt").read_text()
    return [line.partition(" ")[2] for line in text.splitlines() if " warning: " in line]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the training leaves where nobody watches it."""
    output = tmp_path_factory.mktemp("undisturbed")
    composed = compose("train", [*CUT, "guard.truncated_share=null", f"output={output}"])
    folder = train(composed, console=Console(file=io.StringIO())).path
    assert warnings(folder) == []
    return kept(folder)


def test_a_broken_rule_is_said_once_and_changes_nothing(
    undisturbed: dict[str, bytes], distillkit: CommandLine
) -> None:
    result = distillkit("train", *CUT)
    assert result.code == 0
    (line,) = warnings(RUN)
    assert line.startswith(f"warning: since step 2 {WORDS} guard.truncated_share=0.5: ")
    assert "warning: since step 2" in result.out
    assert kept(RUN) == undisturbed


def test_a_stopped_run_stays_stopped_and_goes_on_when_told(
    undisturbed: dict[str, bytes], distillkit: CommandLine
) -> None:
    for _ in range(2):
        result = distillkit("train", *CUT, "guard.stop=true")
        said = " ".join(result.err.split())
        assert result.code == 2
        assert said.startswith(f"distillkit: guard.stop=true ended the run: since step 2 {WORDS}")
        assert said.endswith("the same command with guard.stop=false goes on from there.")
        assert [path.name for path in (RUN / "checkpoints").iterdir()] == ["step-000002"]
        rows = (RUN / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == [1, 2]
        assert not (RUN / "summary.json").exists()
    result = distillkit("train", *CUT, "guard.stop=false")
    assert (result.code, result.err) == (0, "")
    assert kept(RUN) == undisturbed
    # What is still broken is said again by each process that goes on.
    first, *again = warnings(RUN)
    assert again == [first, first]


def test_a_resumed_run_counts_the_updates_before_it(distillkit: CommandLine) -> None:
    distillkit("train", *CUT, "guard.stop=true")
    late = [*CUT, "guard.window=4"]
    assert distillkit("train", *late).code == 0
    (stopped, resumed) = warnings(RUN)
    assert "(mean of steps 1 to 2)" in stopped
    assert "(mean of steps 1 to 4)" in resumed
    assert resumed.startswith("warning: since step 4 ")


def test_the_trainings_of_undo_are_guarded(distillkit: CommandLine) -> None:
    command = [
        *("undo-iterate", *CUT[:3], "iterations=1", "evaluation.every=0", "elsewhere.test=8"),
        *(f"controls.{each}=false" for each in ("one_shot", "untargeted", "length_matched")),
        *("teacher@imitate=embedded", "objective=divergence", "policy=mixed", "lmbda=1"),
        *("rollout.max_new_tokens=2", "guard.window=1"),
    ]
    stopped = distillkit(*command, "guard.stop=true")
    assert stopped.code == 2
    assert "guard.stop=true ended the run: since step 1 the share of" in stopped.err
    assert [path.name for path in Path("outputs/undo/run/train").iterdir()] == ["iteration-0"]
    assert distillkit(*command).code == 0
    said = [warnings(Path(f"outputs/undo/run/train/iteration-{number}")) for number in (0, 1)]
    assert [len(lines) for lines in said] == [2, 1]
