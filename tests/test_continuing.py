"""More steps for a run that is there equal a run that had them from the start, or are refused."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from distillkit.compose import compose, reopen
from distillkit.programs.train.continuing import why_not
from distillkit.programs.train.program import train
from distillkit.programs.train.standing import Standing
from distillkit.training.checkpoint import Progress

from .conftest import SMOKE, CommandLine, contents

RUN = Path("outputs/train/run")
MADE = [*SMOKE, "optimizer.schedule=constant", "policy=mixed", "evaluation.every=3", "name=run"]
KEPT = ("metrics.jsonl", "samples.jsonl", "student/model.safetensors", "baselines.json")


def kept(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in KEPT}


def refused(result) -> str:
    assert (result.code, result.err.count("\n")) == (2, 1), result
    return result.err


def made(output: Path, *typed: str) -> Path:
    return train(compose("train", [*MADE, *typed, f"output={output}"])).path


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps, whose last one is validated for being the last."""
    return made(tmp_path_factory.mktemp("four"), "steps=4")


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run of eight steps leaves that had them from the start."""
    return kept(made(tmp_path_factory.mktemp("eight"), "steps=8"))


@pytest.fixture
def short(distillkit: CommandLine, four: Path) -> Path:
    """A copy of the run of four steps where the command line is called."""
    shutil.copytree(four, RUN)
    return RUN


def test_a_continued_run_equals_one_that_was_not(
    distillkit: CommandLine, short: Path, eight: dict[str, bytes]
) -> None:
    before = contents(short)
    assert distillkit("eval", f"run={short}", "metric=accuracy").code == 0
    result = distillkit("train", *MADE, "steps=8")
    assert (result.code, result.err) == (0, "")
    assert "resumed at step 4" in result.out
    assert kept(short) == eight
    assert json.loads((short / "summary.json").read_text())["steps"] == 8
    assert reopen(short).fingerprint == compose("train", [*MADE, "steps=8"]).fingerprint
    # What was there is kept, and nothing of it is taken for the new student's.
    earlier = short / "earlier" / "steps-000004"
    assert not (short / "evaluation").exists()
    assert (earlier / "evaluation" / "test" / "results.json").is_file()
    assert (earlier / "summary.json").read_bytes() == before["summary.json"]
    student = "student/model.safetensors"
    assert (earlier / student).read_bytes() == before[student]
    (link,) = json.loads((short / "provenance.json").read_text())["continued"]
    assert (link["steps"], link["from_step"], link["kept_in"]) == (4, 4, "earlier/steps-000004")
    assert link["fingerprint"] == json.loads(before["provenance.json"])["fingerprint"]
    again = distillkit("eval", f"run={short}", "metric=accuracy")
    assert (again.code, "student: texts 8 made, 0 reused" in again.out) == (0, True)
    assert "already done" in distillkit("train", *MADE, "steps=8").out
    assert [path.name for path in short.parent.iterdir()] == ["run"]


def test_resume_takes_the_run_as_it_is_and_keeps_its_warm_up(
    distillkit: CommandLine,
) -> None:
    warm = [*MADE, "optimizer.warmup=0.4"]
    assert distillkit("train", *warm, "steps=4").code == 0
    said = refused(distillkit("train", *warm, "steps=8"))
    assert "steps is 4 there and 8 here" in said
    assert "Add optimizer.warmup=0.25" in said
    assert distillkit("train", f"resume={RUN}", "steps=8").code == 0
    assert yaml.safe_load((RUN / "run.yaml").read_text())["optimizer"]["warmup"] == 0.25
    assert "already done" in distillkit("train", f"resume={RUN}", "steps=8").out
    assert "already done" in distillkit("train", f"resume={RUN}").out
    whole = [*MADE, "steps=8", "optimizer.warmup=0.25", "output=whole"]
    assert distillkit("train", *whole).code == 0
    assert kept(RUN) == kept(Path("whole/train/run"))


def test_a_stable_run_can_be_let_decay(distillkit: CommandLine, short: Path) -> None:
    decays = ["steps=6", "optimizer.schedule=wsd", "optimizer.decay=0.3"]
    assert distillkit("train", f"resume={short}", *decays).code == 0
    assert distillkit("train", *MADE, *decays, "output=whole").code == 0
    assert kept(short) == kept(Path("whole/train/run"))


def test_an_exchange_of_directories_that_was_cut_short_is_finished(
    distillkit: CommandLine,
    short: Path,
    eight: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rename, left = Path.rename, []

    def cut(path: Path, target: Path) -> Path:
        if path.name == ".run.continued":
            left.append(path)
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut)
        assert distillkit("train", *MADE, "steps=8").code == 130
    assert left
    assert not short.exists()
    assert distillkit("train", *MADE, "steps=8").code == 0
    assert kept(short) == eight


def test_a_run_that_was_stopped_can_be_made_longer_too(distillkit: CommandLine) -> None:
    saves = [*MADE, "checkpoint.every=2", "evaluation.test=0"]
    assert distillkit("train", *saves, "steps=6").code == 0
    # As if it had been killed after step 5.
    (RUN / "summary.json").unlink()
    shutil.rmtree(RUN / "checkpoints" / "step-000006")
    result = distillkit("train", *saves, "steps=8")
    assert "resumed at step 4" in result.out
    assert distillkit("train", *saves, "steps=8", "output=whole").code == 0
    assert kept(RUN) == kept(Path("whole/train/run"))


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["steps=2"], ["steps is 4 there and 2 here", "longer, not shorter"]),
        (["steps=8", "seed=1"], ["steps is 4 there and 8 here", "seed is 0 there and 1 here"]),
        (["optimizer.lr=2e-3"], ["optimizer.lr is 0.001 there and 0.002 here"]),
        (
            ["steps=8", "seed=1", "rollout.temperature=0.5", "loop.batch_size=2", "precision=bf16"],
            ["and 1 more."],
        ),
    ],
)
def test_what_does_not_continue_is_refused_by_field_and_costs_nothing(
    typed: list[str], words: list[str], distillkit: CommandLine, short: Path
) -> None:
    before = contents(Path())
    said = refused(distillkit("train", *MADE, "steps=4", *typed))
    assert all(word in said for word in words), said
    assert contents(Path()) == before


def sentence(*typed: str, done: int = 4, best: int | None = None) -> str:
    """Why a run of four steps, of which so many are done, has not eight; empty if it has."""
    held, asked = (compose("train", [*SMOKE, *typed, f"steps={steps}"]).run for steps in (4, 8))
    return why_not(held, asked, Standing(None, Progress(step=done, best_step=best)))


WSD = ("optimizer.schedule=wsd", "optimizer.decay=0.5")
ANNEALED = ("optimizer.schedule=constant", "policy=mixed", "policy.lmbda_end=0")
BEST = ("optimizer.schedule=constant", "checkpoint.export=best", "evaluation.every=3")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["optimizer.schedule=cosine"], "optimizer.schedule=cosine has let the learning rate fall"),
        (["optimizer.schedule=linear"], "optimizer.schedule=linear has let the learning rate fall"),
        (WSD, "optimizer.schedule=wsd began to decay at step 4 of 4, and 4 are done"),
        (
            [*ANNEALED, "policy.lmbda=1", "policy.draw=sequence"],
            "policy=mixed chose who writes by the share of 4 steps",
        ),
    ],
)
def test_a_run_that_depends_on_its_last_step_says_so(typed: list[str], words: str) -> None:
    assert words in sentence(*typed)


def test_it_says_so_on_the_command_line_and_changes_nothing(distillkit: CommandLine) -> None:
    falls = [*MADE, "optimizer.schedule=cosine", "evaluation.test=0"]
    assert distillkit("train", *falls, "steps=2").code == 0
    before = contents(Path())
    for typed in (["train", *falls, "steps=8"], ["train", f"resume={RUN}", "steps=8"]):
        said = refused(distillkit(*typed))
        assert "steps is 2 there and 8 here" in said
        assert "optimizer.schedule=cosine has let" in said
    assert contents(Path()) == before


def test_weights_that_were_chosen_for_being_the_last_are_not_gone_on_from() -> None:
    assert "validated only because it was the last" in sentence(*BEST, best=4)
    assert sentence(*BEST, best=3) == ""
    assert sentence(*BEST, "evaluation.every=2", best=4) == ""


def test_wsd_before_its_decay_goes_on() -> None:
    assert sentence(*WSD, done=2) == sentence(*WSD, done=3) == ""
    assert sentence(*WSD, "optimizer.decay=0.1") == ""


def test_nothing_done_is_nothing_done_otherwise() -> None:
    assert sentence("optimizer.schedule=cosine", done=0) == ""


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["resume=nowhere/train/x"], "is not a run directory"),
        (["resume={run}", "resume={run}"], "given 2 times"),
        (["resume={run}", "name=other"], "cannot stand beside resume="),
        (["resume={run}", "+a=1"], "cannot stand beside resume="),
        (["resume={run}", "policy=on_policy"], "chooses another policy"),
        (["resume={run}", "steps=many"], "steps=many"),
        (["resume={run}", "stepss=8"], "stepss"),
        (["resume={run}", "steps=0"], "steps must be at least 1"),
        (["resume={run}", "tracker=nope"], "choose from none, wandb"),
    ],
)
def test_wrong_use_of_resume_is_one_sentence(
    typed: list[str], words: str, distillkit: CommandLine, finished_run: Path
) -> None:
    result = distillkit("train", *(item.format(run=finished_run) for item in typed))
    assert words in refused(result)


def test_doctor_and_show_know_of_it(distillkit: CommandLine, short: Path) -> None:
    resume = [f"resume={short}", "steps=8"]
    assert yaml.safe_load(distillkit("show", *resume).out)["steps"] == 8
    shown = " ".join(distillkit("doctor", *resume).out.split())
    assert "would be continued from step 4" in shown


def test_a_cell_of_a_sweep_continues_no_run(distillkit: CommandLine, short: Path) -> None:
    before = contents(short)
    result = distillkit("sweep", *MADE, "steps=8")
    assert result.code == 2
    assert "steps is 4 there and 8 here" in result.out
    assert contents(short) == before
