"""Trainings of a study: checked before any runs, finished ones kept, failed ones told."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from distillkit.core.errors import ConfigError, RunError
from distillkit.core.rundir import RunDirectory
from distillkit.programs.study.trainings import Training, Trainings, overridden, split
from distillkit.run_studies import TrainingStudy

from ..conftest import CommandLine

SMOKE = "debug=smoke tracker=none"
EVALUATION = "metric=[accuracy] limit=4"


def trainings(
    folder: Path, *, train: str = SMOKE, **fields: object
) -> tuple[Trainings, io.StringIO]:
    said = io.StringIO()
    run = TrainingStudy(train=train, **fields)  # type: ignore[arg-type]
    return Trainings(run, folder, console=Console(file=said, width=200)), said


def test_what_is_done_is_kept_and_what_is_left_is_trained_and_evaluated(tmp_path: Path) -> None:
    folder = tmp_path / "it's a [study]"
    folder.mkdir()
    first = Training("first", "experiment=sft", EVALUATION)
    made, _ = trainings(folder)
    found = made.run([first], stage="a")
    (first_run,) = found.values()
    assert first_run.path == folder / "train" / "first"
    before = (first_run.path / "evaluation/test/results.json").stat().st_mtime_ns
    made, said = trainings(folder)
    both = [first, Training("second", "policy=on_policy")]
    again = made.run(both, stage="b")
    assert "2 trainings, 1 to do" in said.getvalue()
    assert (first_run.path / "evaluation/test/results.json").stat().st_mtime_ns == before
    assert again["second"].summary is not None
    assert not (again["second"].path / "evaluation").exists()
    made.table(both)
    cells = json.loads((folder / "table.json").read_text())
    assert [Path(cell["run"]).name for cell in cells] == ["first", "second"]


def test_all_share_a_group_unless_they_say_one(tmp_path: Path) -> None:
    made, _ = trainings(tmp_path / "mine", train="debug=smoke")
    assert made._bench.group == "study-mine"


def test_a_training_that_fails_is_told_and_takes_no_other_with_it(tmp_path: Path) -> None:
    made, said = trainings(tmp_path)
    bad = Training("bad", "student=hf student.name=nowhere/at-all")
    with pytest.raises(RunError, match="1 of 2 trainings failed"):
        made.run([bad, Training("good", "experiment=sft")], stage="a")
    assert "nowhere/at-all" in said.getvalue()
    assert RunDirectory(tmp_path / "train" / "good").summary is not None


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        ([Training("a", "no.such=1")], "the training a cannot be run"),
        ([Training("a", "beta=0.5 divergence=tvd")], "beta=0.5"),
        ([Training("a", "seed=1"), Training("a", "seed=2")], "two trainings"),
        ([Training("a", 'name="')], "cannot be read"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    planned: list[Training], said: str, tmp_path: Path
) -> None:
    made, _ = trainings(tmp_path / "none")
    with pytest.raises(ConfigError, match=said):
        made.check(planned)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("launcher", ["hydra/launcher=nobody", "seed=1", "hydra.launcher.x=1"])
def test_a_launcher_that_is_none_is_refused(launcher: str, tmp_path: Path) -> None:
    made, _ = trainings(tmp_path, launcher=launcher)
    with pytest.raises(ConfigError):
        made.check([Training("a", "")])


def test_a_folder_that_another_run_has_is_refused(tmp_path: Path) -> None:
    made, _ = trainings(tmp_path)
    made.run([Training("a", "experiment=sft")], stage="a")
    with pytest.raises(RunError, match="seed"):
        made.check([Training("a", "experiment=sft seed=3")])


def test_overrides_over_others_drop_what_was_said_of_their_group() -> None:
    given = ["teacher=embedded", "teacher.name=x", "teacher_rollout.temperature=1", "steps=3"]
    assert overridden(given, ["teacher=hf", "+steps=4"]) == [
        "teacher_rollout.temperature=1",
        "teacher=hf",
        "+steps=4",
    ]
    assert overridden(given, ["teacher.name=y"])[-1] == "teacher.name=y"
    assert "teacher=embedded" in overridden(given, ["teacher.name=y"])


def test_text_is_split_as_a_shell_does() -> None:
    assert split("a=1 'b=c d'", "train") == ["a=1", "b=c d"]
    with pytest.raises(ConfigError, match="train="):
        split("a='1", "train")


def test_what_is_typed_behind_train_goes_over_the_yaml(distillkit: CommandLine) -> None:
    shown = distillkit("show", "--verb", "language", "jobs=2")
    assert "steps=100" in shown.out
    shown = distillkit("show", "--verb", "language", "train.steps=7", "+train.x.y=1")
    assert "- steps=7\n- +x.y=1\n" in shown.out
    typed = ("train.steps=0", "train.tracker=none", "train.dataset=journey", "seeds=[1,2,3]")
    refused = distillkit("study", "explanation", "language", *typed)
    assert refused.code == 2
    assert "steps must be at least 1" in refused.err
    assert len(refused.err.strip().splitlines()) == 1


@pytest.mark.parametrize("typed", ["seed=4", "+name=mine", "policy=on_policy", "output=elsewhere"])
def test_what_a_study_says_itself_is_not_said_in_vain(typed: str, tmp_path: Path) -> None:
    made, _ = trainings(tmp_path, typed=[typed])
    with pytest.raises(ConfigError, match=typed.lstrip("+").partition("=")[0]):
        made.check([Training("a", "seed=1 policy=seq_kd")])


def test_jobs_and_a_launcher_are_not_said_together() -> None:
    with pytest.raises(ConfigError, match="jobs"):
        TrainingStudy(launcher="hydra/launcher=submitit_slurm", jobs=2)


KILLER = '''
import os
import signal

from distillkit.core.spec import spec
from distillkit.divergences.base import Divergence, kl


@spec("divergence/killer")
class Killer(Divergence):
    """Ends its process."""

    def __call__(self, teacher, student):
        os.kill(os.getpid(), signal.SIGKILL)
        return kl(teacher, student)
'''


def test_a_process_that_dies_takes_no_other_training_with_it(tmp_path: Path) -> None:
    plugin = tmp_path / "killer.py"
    plugin.write_text(KILLER)
    said = io.StringIO()
    made = Trainings(
        TrainingStudy(train=SMOKE),
        tmp_path,
        console=Console(file=said, width=200),
        plugins=[str(plugin)],
    )
    planned = [Training("bad", "divergence=killer"), Training("good", "experiment=sft")]
    with pytest.raises(RunError, match="1 of 2 trainings failed"):
        made.run(planned, stage="a")
    assert "its process died" in said.getvalue()
    assert RunDirectory(tmp_path / "train" / "good").summary is not None


def test_a_launcher_of_hydras_runs_them_too(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    made, _ = trainings(tmp_path, launcher="hydra/launcher=joblib hydra.launcher.n_jobs=1")
    good = Training("good", "experiment=sft", EVALUATION)
    found = made.run([good], stage="a")
    assert found["good"].summary is not None
    assert (tmp_path / "train/good/evaluation/test/results.json").exists()
    with pytest.raises(RunError, match="1 of 1 trainings failed"):
        made.run([Training("bad", "student=hf student.name=nowhere/at-all")], stage="b")


@pytest.mark.slow
def test_a_launcher_may_give_each_of_them_several_tasks(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    made, _ = trainings(
        tmp_path, launcher="hydra/launcher=submitit_local hydra.launcher.tasks_per_node=2"
    )
    found = made.run([Training("good", "experiment=sft", EVALUATION)], stage="a")
    record = json.loads((found["good"].path / "provenance.json").read_text())
    assert record["layout"] == "2 replicas"
    assert (tmp_path / "train/good/evaluation/test/results.json").exists()
    with pytest.raises(RunError, match="1 of 1 trainings failed"):
        made.run([Training("bad", "student=hf student.name=nowhere/at-all")], stage="b")
