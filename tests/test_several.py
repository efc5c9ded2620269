"""Several teachers and mixed datasets through the command line."""

import json
import signal
import time
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.core.spec import ORIGINS, SPECS, discover
from distillkit.programs.train.program import train
from tests.conftest import CommandLine, Start
from tests.test_doors import READER, YAML

SMOKE = ["debug=smoke", "tracker=none", "steps=4", "evaluation.every=0", "evaluation.test=8"]
SMALL = [
    f"dataset.parts.{part}.{split}=20"
    for part in ("market", "journey")
    for split in ("train", "validation", "test")
]
DATA = [
    "dataset=mixed",
    "+dataset@dataset.parts.market=arithmetic",
    "+dataset@dataset.parts.journey=journey",
    *SMALL,
]
TWO = [
    "teacher=several",
    "+teacher@teacher.members.market=embedded",
    "+teacher@teacher.members.journey=embedded",
    "teacher.members.journey.name=embedded:student",
]
ROUTED = [*TWO, "teacher.route.field=part"]
WEIGHED = [*TWO, "+teacher.weights.market=1", "+teacher.weights.journey=3"]
KEPT = ("metrics.jsonl", "student/model.safetensors", "verdicts.jsonl")


def run(output: Path, *more: str) -> Path:
    return train(compose("train", [*SMOKE, *more, f"output={output}", "name=run"])).path


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in KEPT}


def updates(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row]


ONE = ["teacher=several", "+teacher@teacher.members.only=embedded"]


@pytest.mark.parametrize(
    "alone",
    [
        ["teacher.route.field=domain", "+teacher.route.members.market=only"],
        ["+teacher.weights.only=2"],
    ],
    ids=["routed", "weighed"],
)
def test_one_member_alone_is_that_teacher_to_the_byte(alone: list[str], tmp_path: Path) -> None:
    expected = contents(run(tmp_path / "one", "policy=mixed"))
    assert contents(run(tmp_path / "several", "policy=mixed", *ONE, *alone)) == expected


@pytest.mark.parametrize("several", [ROUTED, WEIGHED], ids=["routed", "weighed"])
def test_a_killed_run_resumes_to_the_same_bytes(
    several: list[str], started: Start, tmp_path: Path
) -> None:
    # What is kept of the readings of a collection is made anew.
    asked = [
        *DATA,
        *several,
        "policy=on_policy",
        "loop.collect=3",
        "steps=12",
        "checkpoint.every=2",
    ]
    expected = contents(run(tmp_path / "whole", *asked))
    process = started("train", *SMOKE, *asked, "name=run", f"output={tmp_path}", folder=tmp_path)
    journal, deadline = tmp_path / "train" / "run" / "metrics.jsonl", time.monotonic() + 120
    while not (journal.is_file() and '"step": 5' in journal.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (journal.parent / "summary.json").exists()
    assert contents(run(tmp_path, *asked)) == expected


def test_the_first_loss_is_that_of_each_teacher_on_its_own_row(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Tom has 12 pens and buys 30 more. How many?", "response": "12 + 30 = 42"},
        {"prompt": "A bus with 9 people stops.", "response": "9 - 4 = 5 #### 5", "kind": "road"},
    ]
    rows[0]["kind"] = "market"
    means, asked = [], ["dataset=jsonl", "policy=off_policy", "evaluation.test=0", "steps=1"]
    smoke = [item for item in SMOKE if not item.startswith(("steps", "evaluation.test"))]
    both = [*ROUTED[:-1], "teacher.route.field=kind", "+teacher.route.members.road=journey"]
    for name, kept, teacher in (
        ("market", rows[:1], ["teacher=embedded"]),
        ("road", rows[1:], ["teacher=embedded", "teacher.name=embedded:student"]),
        ("both", rows, [*both, "dataset.tags=[kind]"]),
    ):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
        typed = [
            *(*smoke, *asked, *teacher, f"dataset.path={file}", "dataset.validation_share=0"),
            *(f"loop.batch_size={len(kept)}", f"name={name}", f"output={tmp_path}"),
        ]
        (update,) = updates(train(compose("train", typed)).path)
        means.append((update["loss"], update["tokens"]))
    (market, first), (road, second), (together, total) = means
    assert total == first + second
    assert together == pytest.approx((first * market + second * road) / total, rel=1e-5)
    assert abs(market - road) > 1e-3


@pytest.mark.parametrize("several", [ROUTED, WEIGHED], ids=["routed", "weighed"])
def test_what_reads_a_teacher_reads_several(
    several: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    place = [f"output={tmp_path}", *SMOKE]
    for name, more in {
        "drawn": ["objective=sampled_kl", "policy=on_policy"],
        "noisy": ["objective.teacher_noise=0.5", "objective.control=shuffled_teacher"],
        "told": ["support=teacher_top_k", "objective.teacher_temperature=2"],
    }.items():
        result = distillkit("train", *DATA, *several, *more, *place, f"name={name}")
        assert result.code == 0, result.err
        summary = json.loads((tmp_path / "train" / name / "summary.json").read_text())
        assert summary["budget"]["teacher_read"] > 0
        assert summary["teacher"] == {}
    measured = distillkit("eval", f"run={tmp_path}/train/told", "metric=accuracy", "limit=6")
    assert measured.code == 0, measured.err
    few = ["--k", "1", "--draws", "1", "--repeats", "2"]
    result = distillkit("estimate", *few, *DATA, *several, *place, "policy=off_policy")
    assert result.code == 0, result.err


def test_a_mixed_dataset_has_a_control_and_is_judged_by_its_parts(
    tmp_path: Path, distillkit: CommandLine
) -> None:
    typed = [*SMOKE, *DATA, *ROUTED, "control=sft", "evaluation.every=2", "control.rates=[1e-3]"]
    result = distillkit("train", *typed, f"output={tmp_path}", "name=mine")
    assert result.code == 0, result.err
    rows = (tmp_path / "train" / "mine" / "verdicts.jsonl").read_text().splitlines()
    parts = [json.loads(row)["id"].partition("/")[0] for row in rows]
    assert parts == ["market", "journey"] * 4
    assert json.loads((tmp_path / "train" / "mine" / "control.json").read_text())["run"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["teacher=several"], "teacher=several has no members"),
        (TWO, "teacher=several takes a route or weights, and neither of them is given"),
        ([*ROUTED, *WEIGHED[-2:]], "and both of them is given"),
        ([*TWO, "+teacher.weights.market=1"], "teacher.weights names market, and the members are"),
        (
            [*ROUTED, "policy=seq_kd"],
            "policy=seq_kd has the teacher write, and teacher=several onl",
        ),
        ([*ROUTED, "policy=teacher_mixed"], "policy=teacher_mixed has the teacher write, and"),
        ([*ROUTED, "placement=sharded"], "teacher=several puts whole models into every process"),
        (
            [*TWO, "teacher.route.field=colour"],
            "teacher.route.field=colour names who reads an example, and market/market-train-0 has",
        ),
        (
            [*TWO[:2], "teacher.route.field=part"],
            "journey/journey-train-0 has part=journey, and teacher.members are market. Add the",
        ),
        (
            [*ROUTED, "teacher.members.journey.name=/nowhere/none"],
            "teacher.members.journey.name=/nowhere/none",
        ),
        (
            ["teacher=several", "+teacher@teacher.members.a=tutor", "teacher.route.field=part"],
            "teacher=tutor is of no use here",
        ),
        (
            ["teacher=several", "+teacher@teacher.members.a=self", "teacher.route.field=part"],
            "teacher.members.a=self cannot be one of several teachers",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(
    typed: list[str], words: str, tmp_path: Path, distillkit: CommandLine
) -> None:
    result = distillkit("train", *SMOKE, *DATA, *typed, f"output={tmp_path}")
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "train").exists()


def test_verbs_that_cannot_have_several_say_so(distillkit: CommandLine) -> None:
    for verb, typed, words in (
        ("doctor", [*DATA, *ROUTED], "teacher=several leaves the doctor nothing to compare"),
        ("undo-iterate", ROUTED, "teacher=several only reads, and undo-iterate has its teacher"),
        ("undo-iterate", DATA, "dataset=mixed is several datasets, and undo-iterate writes"),
        ("osd", ROUTED, "teacher=several is of no use here, where teacher must be a Teacher"),
    ):
        result = distillkit(verb, *typed)
        assert result.code == 2
        assert words in result.err
        assert result.err.count("\n") == 1


@pytest.fixture
def table(tmp_path: Path) -> list[str]:
    """A reader of one's own that tells four entries, as it is typed."""
    before = dict(discover())
    file = tmp_path / "own" / "teacher" / "table.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(YAML.format(group="teacher", name="table", more="k: 4\n"))
    (tmp_path / "table.py").write_text(READER)
    yield ["--plugin", str(tmp_path / "table.py"), "--config-dir", str(tmp_path / "own")]
    SPECS.clear()
    SPECS.update(before)
    ORIGINS.clear()


def test_a_model_beside_a_reader_of_few_entries_tells_as_many(
    table: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    several = [*TWO[:2], "+teacher@teacher.members.journey=table"]
    typed = [*table, *SMOKE, *DATA, *several, f"output={tmp_path}", "name=both"]
    routed = "teacher.route.field=part"
    top = ["support=teacher_top_k", "support.k=3"]
    result = distillkit("train", *typed, routed, *top)
    assert result.code == 0, result.err
    assert len(updates(tmp_path / "train" / "both")) == 4
    weights = ["+teacher.weights.market=1", "+teacher.weights.journey=1"]
    for more, words in (
        ([routed], "support=full compares more entries than teacher=several tells, which is"),
        ([routed, *top, "objective.teacher_temperature=2"], "teacher_temperature=2.0 divides"),
        ([routed, *top, "objective.teacher_noise=1"], "objective.teacher_noise=1.0 is added to"),
        ([*weights, *top], "teacher.weights mixes whole distributions, and teacher.members.journ"),
        ([routed, "support=sampled"], "support=sampled compares more entries than"),
        (
            [routed, "objective=sampled_kl", "policy=on_policy"],
            "teacher=several does not say",
        ),
    ):
        refused = distillkit("train", *typed[:-1], "name=none", *more)
        assert refused.code == 2
        assert words in refused.err
        assert refused.err.count("\n") == 1
