"""A run directory is what its run wrote, or it is refused in one sentence and stays as it was."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from distillkit.compose import compose
from distillkit.core.errors import RunError
from distillkit.core.rundir import RunDirectory
from distillkit.core.sealed import sealed
from distillkit.evaluation.folder import EvaluationFolder
from distillkit.programs.train.program import train
from distillkit.programs.train.standing import JOURNALS, where_it_stands
from distillkit.report.runs import read_run
from tests.conftest import SMOKE, CommandLine, contents
from tests.damage import KINDS

TYPED = (*SMOKE, "checkpoint.every=1", "evaluation.every=1", "name=run")
RUN = Path("outputs/train/run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that was evaluated; copy it before you change it."""
    output = tmp_path_factory.mktemp("whole")
    run = train(compose("train", [*TYPED, f"output={output}"]), console=Console(file=io.StringIO()))
    folder = EvaluationFolder(run.path, "test")
    folder.bind({"student": "a"})
    results = {"n": 1, "fingerprint": "f", "metrics": {}, "numbers": {"student": {}}}
    folder.write(results, tallies={}, items=[{"id": "1", "prompt": "p", "texts": {}}])
    return run.path


@pytest.fixture
def run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(whole, RUN))


def stop(run: Path) -> Path:
    """As a process that was killed after its first checkpoint left it."""
    (run / "summary.json").unlink()
    progress = json.loads((run / "checkpoints/step-000001/progress.json").read_text())
    for name, length in progress["journals"].items():
        (run / name).write_bytes((run / name).read_bytes()[:length])
    for folder in ("student", "evaluation", "checkpoints/step-000002"):
        shutil.rmtree(run / folder)
    return run


def read(run: Path) -> None:
    """All that verbs read of a run directory before they write."""
    directory = RunDirectory(run)
    record = directory.record or {"fingerprint": ""}
    directory.check(record["fingerprint"])
    if directory.summary is None:
        where_it_stands(directory, [], fingerprint=record["fingerprint"])
    else:
        directory.check_left("student", "best.safetensors", "metrics.jsonl", "samples.jsonl")
        directory.check_left("verdicts.jsonl")
        EvaluationFolder(run, "test").check()
        read_run(run, split="test")


def complaint(run: Path) -> str:
    try:
        read(run)
    except RunError as error:
        return str(error)
    return ""


NEVER_READ = {".lock", "log.txt", "curves.png", "evaluation/test/log.txt"}
HARMLESS = {"cut by a byte"}
"""Of a JSON file: the line break at its end."""


def damages(run: Path) -> list[str]:
    """Damages of any file that went unseen, changed something, or took several lines to say."""
    missed = []
    files = [file for file in sorted(run.rglob("*")) if file.is_file()]
    for file in files:
        name, content = str(file.relative_to(run)), file.read_bytes()
        kinds = [kind for kind in KINDS if kind[1](content) != content]
        for kind, change in [*kinds, ("missing", None)]:
            # A new file: best weights have a second name inside a checkpoint.
            file.unlink()
            if change is not None:
                file.write_bytes(change(content))
            before, said = contents(run), complaint(run)
            seen = said.count("\n") == 0 and bool(said)
            # What a journal has beyond its checkpoint is cut off anyway.
            more = name in JOURNALS and change is not None and change(content).startswith(content)
            harmless = name in NEVER_READ or kind in HARMLESS or more
            if contents(run) != before or not (seen or harmless):
                missed.append(f"{name}: {kind}: {said}")
            file.write_bytes(content)
    return missed


def test_no_damage_to_a_finished_run_goes_unseen(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    # Without these a run is not finished, or not measured.
    absent = ("summary.json", "evaluation/weights.json", "evaluation/test/results.json")
    harmless = tuple(f"{name}: missing" for name in absent)
    assert [each for each in damages(run) if not each.startswith(harmless)] == []


def test_no_damage_to_a_stopped_run_goes_unseen(run: Path) -> None:
    missed = damages(stop(run))
    # Its best weights are those of the checkpoint, whatever lies beside, and its verdicts are
    # written anew; its record gone, it is no run directory.
    anew = ("best.safetensors", "verdicts.jsonl")
    assert [each for each in missed if not each.startswith(anew)] == []


def test_a_folder_in_place_of_any_file_is_refused(run: Path) -> None:
    for file in [file for file in sorted(run.iterdir()) if file.is_file()]:
        if file.name == ".lock":
            continue
        content = file.read_bytes()
        file.unlink()
        file.mkdir()
        assert complaint(run), file
        file.rmdir()
        file.write_bytes(content)
    assert not complaint(run)


def edited(file: Path, **fields: object) -> None:
    """Fields of a sealed object changed, and the seal with them."""
    file.write_text(json.dumps(sealed({**json.loads(file.read_text()), **fields})))


def another_step(run: Path) -> None:
    edited(run / "checkpoints/step-000001/progress.json", step=2)


def another_name(run: Path) -> None:
    (run / "checkpoints/step-000001").rename(run / "checkpoints/step-000007")


def another_run(run: Path) -> None:
    edited(run / "checkpoints/step-000001/progress.json", fingerprint="0123456789abcdef")


def no_digests(run: Path) -> None:
    edited(run / "checkpoints/step-000001/progress.json", files={})
    file = run / "checkpoints/step-000001/student.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def one_more_file(run: Path) -> None:
    (run / "checkpoints/step-000001/evil.py").write_text("1")


def shorter(run: Path) -> None:
    file = run / "metrics.jsonl"
    file.write_bytes(file.read_bytes()[:40])


def edited_line(run: Path) -> None:
    file = run / "metrics.jsonl"
    file.write_text(file.read_text().replace('"step": 1', '"step": 2', 1))


def no_baselines(run: Path) -> None:
    (run / "baselines.json").unlink()


FOREIGN = {
    another_step: "progress.json says step 2",
    another_name: "progress.json says step 1",
    another_run: "another run's",
    no_digests: "no digest of student.safetensors",
    one_more_file: "evil.py was not there",
    shorter: "metrics.jsonl is damaged (it has 40 bytes",
    edited_line: "metrics.jsonl is damaged (what the checkpoint goes on from has changed",
    no_baselines: "baselines.json is missing",
}


@pytest.mark.parametrize("change", FOREIGN, ids=lambda change: change.__name__)
def test_what_is_not_this_runs_is_refused_before_anything_is_written(
    change: Callable[[Path], None], run: Path
) -> None:
    change(stop(run))
    before = contents(run)
    assert FOREIGN[change] in complaint(run)
    assert contents(run) == before


def test_the_command_line_refuses_too_and_writes_nothing(
    run: Path, distillkit: CommandLine
) -> None:
    shorter(stop(run))
    before = contents(run)
    result = distillkit("train", *TYPED)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "metrics.jsonl is damaged" in result.err
    assert contents(run) == before


@pytest.mark.parametrize("name", ["evil.py", "adapter_config.json", "pytorch_model.bin"])
def test_a_student_with_a_file_more_is_not_measured(
    name: str, run: Path, distillkit: CommandLine
) -> None:
    (run / "student" / name).write_text("{}")
    before = contents(run)
    result = distillkit("eval", f"run={run}", "metric=accuracy")
    assert result.code == 2
    assert f"student/{name} was not there" in result.err
    assert contents(run) == before


def test_another_runs_summary_is_refused(run: Path) -> None:
    edited(run / "summary.json", fingerprint="0123456789abcdef")
    assert "another run's" in complaint(run)


def test_an_evaluation_of_another_run_is_refused(run: Path) -> None:
    edited(run / "evaluation/test/results.json", run="0123456789abcdef")
    assert "another run's" in complaint(run)


def test_a_killed_runs_later_best_weights_give_way_to_those_of_its_checkpoint(
    run: Path, distillkit: CommandLine
) -> None:
    expected = {name: (run / name).read_bytes() for name in ("best.safetensors", "metrics.jsonl")}
    stop(run)
    (run / "best.safetensors").unlink()
    (run / "best.safetensors").write_bytes(b"left by a later step")
    assert distillkit("train", *TYPED).code == 0
    assert {name: (run / name).read_bytes() for name in expected} == expected


def as_an_earlier_version(run: Path) -> None:
    for file in run.rglob("*.json"):
        if file.parent.name != "student":
            value = json.loads(file.read_text())
            for name in ("seal", "files") if "step" not in value else ("seal",):
                value.pop(name, None)
            file.write_text(json.dumps(value))


def test_a_run_of_an_earlier_version_is_read_with_a_note(
    run: Path, distillkit: CommandLine
) -> None:
    shutil.rmtree(run / "evaluation")
    as_an_earlier_version(run)
    result = distillkit("train", *TYPED)
    assert result.code == 0
    assert "kept no digests" in " ".join(result.out.split())
    assert read_run(run, split="test").missing[-1].what.startswith("run was made by a version")


def test_the_seconds_of_a_resumed_run_count_those_before_it_was_stopped(run: Path) -> None:
    edited(stop(run) / "checkpoints/step-000001/progress.json", seconds=1000.0)
    done = train(compose("train", [*TYPED]), console=Console(file=io.StringIO()))
    assert 1000 < (done.summary or {})["training_seconds"] < 1060
