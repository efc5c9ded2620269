"""A training without a teacher: trained, measured, shown, and refused where one is needed."""

import io
import json
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console

from distillkit.compose import compose, current_cell, from_config, multirun, reopen
from distillkit.core.errors import RunError
from distillkit.core.keeper import Keeper
from distillkit.core.spec import SPECS, discover
from distillkit.core.store import Store
from distillkit.core.types import Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.evaluation.gathering import ModelEvidence
from distillkit.evaluation.parts import Decoding, Judged, Measured
from distillkit.metrics.base import Metric
from distillkit.models.loading import load
from distillkit.models.pretrained import Student
from distillkit.preflight.machine import Machine
from distillkit.programs.train.assemble import assemble
from distillkit.programs.train.fields import use_of_teacher
from distillkit.programs.train.program import train
from distillkit.programs.train.screen import screen
from distillkit.run import TrainRun

from .conftest import SMOKE, CommandLine, contents
from .test_bad_input import said

ALONE = ("teacher=null", "objective=sft", "policy=off_policy")
RUN = Path("outputs/train/run")
COMPARING = {
    "agreement",
    "calibration",
    "divergence",
    "exposure_bias",
    "precision_recall",
    "similarity",
    "speculation",
}
ELSEWHERE = {"judge", "lm_eval"}
"""Metrics that need a server or a download."""
OWN = sorted(
    path.removeprefix("metric/")
    for path, spec in discover().items()
    if issubclass(spec, Metric) and path.removeprefix("metric/") not in COMPARING | ELSEWHERE
)


def summary(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def test_a_student_learns_alone_what_it_learns_beside_a_teacher_that_nobody_asks(
    distillkit: CommandLine,
) -> None:
    for name, typed in (("run", ALONE), ("both", ALONE[1:])):
        result = distillkit("train", *SMOKE, *typed, f"name={name}")
        assert (result.code, result.err) == (0, "")
        assert ("teacher" in result.out) == (name == "both")
    both = RUN.with_name("both")
    for name in ("metrics.jsonl", "samples.jsonl", "student/model.safetensors", "overrides.yaml"):
        same = (RUN / name).read_bytes() == (both / name).read_bytes()
        assert same == (name != "overrides.yaml")
    assert summary(RUN)["student_after"] == summary(both)["student_after"]
    assert summary(RUN)["teacher"] == json.loads((RUN / "baselines.json").read_text())["teacher"]
    assert summary(RUN)["teacher"] == {}
    before = contents(RUN)
    again = distillkit("train", *SMOKE, *ALONE, "name=run")
    assert "already done" in again.out
    assert contents(RUN) == before
    assert reopen(RUN).run.teacher is None
    assert reopen(RUN).fingerprint == summary(RUN)["fingerprint"] != summary(both)["fingerprint"]


def test_no_teacher_is_loaded_and_memory_is_checked_all_the_same(tmp_path: Path) -> None:
    run = compose("train", [*SMOKE, *ALONE]).run
    parts = assemble(run)
    assert parts.sides.teacher is None
    needed = 3 * sum(4 * each.numel() for each in parts.sides.student.parameters())
    for free in (needed, needed - 1):
        machine = Machine(free_memory=lambda _, free=free: free, free_disk=lambda _: 10**12)
        if free == needed:
            assert screen(run, parts, tmp_path, machine=machine) == ()
        else:
            with pytest.raises(RunError, match="moments"):
                screen(run, parts, tmp_path, machine=machine)


REFUSED = [
    ("train", ["teacher=null"], "teacher=null, but objective=divergence compares with one"),
    ("train", ["~teacher"], "teacher=null, but objective=divergence"),
    ("train", [*ALONE[:2], "policy=seq_kd"], "policy=seq_kd has it write"),
    ("train", [*ALONE, "teacher.name=x"], "teacher.name=x has no effect beside teacher=null"),
    ("train", [*ALONE, "teacher=hf"], "teacher=hf has no effect beside teacher=null"),
    ("sweep", [*ALONE, "+teacher.name=x"], "+teacher.name=x has no effect beside teacher=null"),
    ("estimate", ["teacher=null"], "teacher=null, but objective=divergence"),
    ("estimate", [*ALONE], "objective=sft is no divergence alone"),
    ("doctor", [*ALONE], "teacher=null leaves the doctor nothing to compare"),
]


@pytest.mark.parametrize(
    ("verb", "typed", "words"), [pytest.param(*case, id=" ".join(case[1])) for case in REFUSED]
)
def test_whoever_needs_a_teacher_asks_for_one_in_a_sentence(
    verb: str, typed: list[str], words: str, distillkit: CommandLine, tmp_path: Path
) -> None:
    said(distillkit(verb, *SMOKE, *typed), words)
    assert contents(tmp_path) == {}


def test_a_mixture_needs_a_teacher_whatever_the_objective() -> None:
    run = compose("train", [*SMOKE, "objective=sft", "policy=teacher_mixed"]).run
    assert use_of_teacher(run) == "policy=teacher_mixed has it write"


def test_show_says_null(distillkit: CommandLine) -> None:
    assert "\nteacher: null\n" in distillkit("show", "teacher=null").out


SEEN: list[TrainRun] = []


def note(config: DictConfig) -> None:
    SEEN.append(from_config(config, current_cell().overrides).run)


def test_a_grid_goes_without_a_teacher_too(tmp_path: Path) -> None:
    multirun([*ALONE, "seed=3,4"], note, folder=tmp_path)
    assert [(run.teacher, run.seed) for run in SEEN] == [(None, 3), (None, 4)]


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without a teacher."""
    output = tmp_path_factory.mktemp("lonely")
    composed = compose("train", [*SMOKE, *ALONE, f"output={output}", "name=run"])
    return train(composed, console=Console(file=io.StringIO())).path


def test_student_and_start_are_measured_and_reported(distillkit: CommandLine, lonely: Path) -> None:
    result = distillkit("eval", f"run={lonely}", f"metric=[{','.join(OWN)}]", "samples=2")
    assert (result.code, result.err) == (0, "")
    found = json.loads((lonely / "evaluation/test/results.json").read_text())
    assert set(found["numbers"]) == {"student", "start"}
    assert set(found["numbers"]["student"]) == set(OWN)
    closing = {"student": "student_after", "start": "student_before"}
    for who, name in closing.items():
        value = found["numbers"][who]["accuracy"]["accuracy"]["value"]
        assert value == summary(lonely)[name]["accuracy"]
    items = (lonely / "evaluation/test/items.jsonl").read_text().splitlines()
    assert [set(json.loads(line)["texts"]) for line in items] == [{"student", "start"}] * 8
    assert distillkit("report", str(lonely), "--output", "page").code == 0
    table = Path("page/table.md").read_text()
    assert "start" in table
    assert "teacher" not in table


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ([], ["metric.agreement compares with a teacher", "Use metric=[accuracy,length]."]),
        (["metric=all"], [*COMPARING, "compare with", f"metric=[{','.join(OWN[:1])}"]),
        (["metric=divergence"], [f"Use metric=[{','.join(sorted([*OWN, *ELSEWHERE]))}]."]),
        (["metric=accuracy", "reference=embedded:teacher"], ["reference=embedded:teacher"]),
    ],
)
def test_a_metric_that_compares_is_refused_with_those_that_do_not(
    typed: list[str], words: list[str], distillkit: CommandLine, lonely: Path
) -> None:
    said(distillkit("eval", f"run={lonely}", "split=train", *typed), *words)
    assert not (lonely / "evaluation/train").exists()


def test_metrics_say_rightly_whether_their_evidence_takes_a_teacher(tmp_path: Path) -> None:
    dataset = Arithmetic(test=2)
    source = Student(name="embedded:student")
    evidence = ModelEvidence(
        "student",
        Measured(load(source, device=torch.device("cpu"), precision="fp32"), "student"),
        teacher=None,
        judged=Judged(dataset, dataset.examples(Split.test)),
        decoding=Decoding(max_new_tokens=4, samples=2, seed=0, batch_size=4),
        keeper=Keeper(
            Store(tmp_path / "evidence.sqlite"),
            batch_size=4,
            poll=lambda: None,
            progress=lambda *_: None,
            say=print,
        ),
    )
    for name in OWN:
        metric = SPECS[f"metric/{name}"]()
        assert not metric.COMPARES
        assert len(metric.measure(evidence).records) == 2
    for name in COMPARING:
        metric = SPECS[f"metric/{name}"]()
        assert metric.COMPARES
        with pytest.raises(RunError, match="this run has none"):
            metric.measure(evidence)
