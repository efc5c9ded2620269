"""The trainings of the fidelity study, and what is refused before any of them runs."""

import csv
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.core.errors import ConfigError
from distillkit.core.terminal import terminal
from distillkit.evaluation.fidelity_study.tasks import PAPER, absent, at_hand
from distillkit.programs.study.fidelity.plan import Plan, cells_of, plan_of
from distillkit.programs.study.trainings import Trainings
from tests.conftest import CommandLine
from tests.studies.fidelity import SMALL
from tests.test_bad_input import said


def planned(*overrides: str) -> tuple[Plan, Trainings]:
    run = compose("fidelity", overrides).run
    trainings = Trainings(run, Path("somewhere"), console=terminal())
    return plan_of(run, trainings, benchmarks=[]), trainings


def test_the_grid_is_every_teacher_student_task_and_seed_and_each_baseline_once() -> None:
    run = compose("fidelity", []).run
    cells = cells_of(run)
    grid = [cell for cell in cells if (cell.tau, cell.noise) == (1, 0)]
    assert len(grid) == 2 * 3 * 4 * 3
    others = {(cell.teacher, cell.student, cell.task) for cell in cells if cell not in grid}
    assert others == {("large", "pupil", "chain")}
    assert len(cells) - len(grid) == (2 + 3) * 3
    assert len(set(cells)) == len(cells)


def test_each_training_is_told_its_teacher_its_signal_and_its_seed() -> None:
    plan, trainings = planned(*SMALL, "taus=[1,2]", "noises=[0,3]", "ablation=[chain]")
    assert not plan.teachers
    assert [*plan.baselines] == [("pupil", "chain", seed) for seed in range(3)]
    made = {cell: trainings.composed(training) for cell, training in plan.cells.items()}
    for cell, composed in made.items():
        run = composed.run
        assert (run.teacher.name, run.student.name) == ("embedded:teacher", "embedded:pupil")
        assert (run.objective.teacher_temperature, run.objective.student_temperature) == (
            (cell.tau, cell.tau)
        )
        assert (run.objective.teacher_noise, run.seed) == (cell.noise, cell.seed)
    assert len({composed.fingerprint for composed in made.values()}) == 9


def test_a_teacher_that_is_trained_is_the_student_that_its_training_leaves() -> None:
    kept = [each for each in SMALL if not each.startswith("teachers.large")]
    plan, trainings = planned(*kept, 'teachers.large="student=classmate steps=7"')
    ((place, training),) = plan.teachers.items()
    assert place == ("large", "chain")
    teacher = trainings.composed(training).run
    assert (teacher.student.name, teacher.steps, teacher.teacher) == ("embedded:classmate", 7, None)
    taught = trainings.composed(next(iter(plan.cells.values()))).run
    expected = Path("somewhere/train/teacher-large-chain/student").resolve()
    assert (taught.teacher.name, taught.teacher.prompt) == (str(expected), "plain")


def test_the_papers_tasks_are_told_apart_by_whose_rows_are_at_hand(tmp_path: Path) -> None:
    (tmp_path / "piqa").mkdir()
    (tmp_path / "piqa" / "validation.jsonl").write_text("{}\n")
    assert len(PAPER) == 14
    assert at_hand(None, None) == []
    assert at_hand(str(tmp_path), None) == ["piqa"]
    assert at_hand(str(tmp_path), []) == []
    assert len(absent(["piqa"])) == 13
    assert "PIQA" not in absent(["piqa"])
    with pytest.raises(
        ConfigError, match=r"benchmarks has aqua, and data=.* has no aqua/test.json"
    ):
        at_hand(str(tmp_path), ["aqua"])


REFUSED = [
    (["seeds=[0,1]"], "seeds=[0, 1]: the paired tests over seeds take at least 3"),
    (["taus=[0]"], "taus=[0.0]: each must be above 0"),
    (["taus=[1,-2]"], "each must be above 0, got -2.0"),
    (["noises=[0,-1]"], "noises=[0.0, -1.0]: each must be 0 or more"),
    (["noises=[]"], "must hold at least one number"),
    (["ablation=[nowhere]"], "ablation=['nowhere'] has nowhere, which is no task here"),
    (["~students.pupil"], "students is empty"),
    (["examples=0"], "examples must be at least 1"),
    (["data=nowhere"], "data=nowhere is no folder"),
    (["benchmarks=[mmlu]"], "benchmarks has mmlu, which is no task of the paper"),
    (["benchmarks=[aqua]"], "benchmarks has aqua, and data=None has no aqua/test.jsonl"),
    (["jobs=2", "launcher=hydra/launcher=basic"], "launcher"),
    (['students.pupil="student=nobody"'], "student=nobody"),
    (['methods.forward_kl="objective=sft policy=on_policy"'], "objective=sft takes text as true"),
    (
        ['tasks.chain="dataset=jsonl dataset.path=nowhere.jsonl"'],
        "nowhere.jsonl",
    ),
    (
        ['methods.forward_kl="divergence=forward_kl policy=off_policy dataset.seed=3"'],
        "tasks.chain: kd-large-pupil-chain-forward_kl-tau1-noise0-seed0 and "
        "sft-pupil-chain-seed0 would be tested on different examples",
    ),
]


@pytest.mark.parametrize(("typed", "words"), REFUSED, ids=lambda case: str(case)[:40])
def test_what_cannot_be_run_is_one_sentence_and_leaves_nothing(
    typed: list[str], words: str, distillkit: CommandLine, tmp_path: Path
) -> None:
    said(distillkit("study", "fidelity", "run", *SMALL, *typed), words)
    assert list(tmp_path.iterdir()) == []


def test_two_studies_under_one_name_are_told_apart(distillkit: CommandLine) -> None:
    folder = Path("outputs/study/fidelity/mine")
    folder.mkdir(parents=True)
    (folder / "notes.md").write_text("of mine")
    result = distillkit("study", "fidelity", "run", *SMALL, "name=mine")
    said(result, "outputs/study/fidelity/mine exists and is not a run directory")
    assert [file.name for file in folder.iterdir()] == ["notes.md"]


def test_published_tables_and_a_study_of_ones_own_are_either_or(distillkit: CommandLine) -> None:
    said(distillkit("study", "fidelity"), "takes --results", "study fidelity run")
    both = distillkit("study", "fidelity", "--results", "tables", "run", *SMALL)
    said(both, "--results tables is of the published tables")


def test_a_published_table_without_a_column_is_named(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    with (tmp_path / "math_results_main.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Teacher", "Student", "sums"], ["-", "Toy-1B", "50"]])
    (tmp_path / "llama_math_results.csv").write_text("Teacher,Student,sums\n")
    result = distillkit("study", "fidelity", "--results", str(tmp_path))
    said(result, "math_results_main.csv has a row without Method")
