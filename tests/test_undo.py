"""``distillkit undo-iterate`` through the command line: rounds, controls, leakage, resuming."""

import json
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForCausalLM

from distillkit.core.types import Example, Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.programs.undo import course as undo_course

from .conftest import SMOKE, CommandLine, Start, contents
from .endpoints.stand_in import Answer, Request, completion, serving
from .forking import Started

SMALL = (
    *SMOKE,
    "elsewhere.test=8",
    "rollout.max_new_tokens=32",
    "evaluation.every=0",
    "iterations=2",
    "patience=9",
    "name=run",
)
"""Two rewritings of sixteen lessons."""
ALONE = tuple(f"controls.{each}=false" for each in ("one_shot", "untargeted", "length_matched"))
"""Without controls."""


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def summary_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "summary.json").read_text()))


def without_seconds(folder: Path) -> dict[str, Any]:
    """The summary less what differs at every repetition."""
    summary = summary_of(folder)
    summary["cost"].pop("training_seconds")
    summary.pop("seal")
    return summary


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, distillkit_process: CommandLine) -> Path:
    """A finished run with all controls; its folder is not to be changed."""
    folder = tmp_path_factory.mktemp("undo")
    done = distillkit_process("undo-iterate", *SMALL, folder=folder, environment={"COLUMNS": "400"})
    assert done.code == 0, done.err
    (folder / "printed.txt").write_text(done.out)
    return folder


def test_a_run_leaves_rounds_controls_a_table_a_figure_and_a_student(whole: Path) -> None:
    folder = whole / "outputs/undo/run"
    names = [row["name"] for row in summary_of(folder)["rows"]]
    assert names == [
        "start",
        *(f"iteration-{number}" for number in range(3)),
        "one-shot",
        *(f"untargeted-{number}" for number in (1, 2)),
        *(f"length-matched-{number}" for number in (1, 2)),
    ]
    printed = (whole / "printed.txt").read_text()
    for name in names:
        assert name in printed
    assert (folder / "undo.png").read_bytes().startswith(b"\x89PNG")
    assert AutoModelForCausalLM.from_pretrained(folder / "student").config.hidden_size == 96
    returned = folder / "train" / summary_of(folder)["returned"] / "student/model.safetensors"
    assert (folder / "student/model.safetensors").read_bytes() == returned.read_bytes()


def test_the_same_command_again_shows_the_result_and_writes_nothing(
    whole: Path, distillkit_process: CommandLine
) -> None:
    before = contents(whole)
    again = distillkit_process("undo-iterate", *SMALL, folder=whole)
    assert again.code == 0
    assert "already done" in again.out
    assert contents(whole) == before


def test_every_iteration_is_an_ordinary_run(whole: Path, distillkit_process: CommandLine) -> None:
    run = "outputs/undo/run/train/iteration-1"
    done = distillkit_process(
        "eval", f"run={run}", "metric=accuracy", "evidence=other.sqlite", folder=whole
    )
    assert done.code == 0, done.err
    found = json.loads((whole / run / "evaluation/test/results.json").read_text())
    undo = next(
        row
        for row in summary_of(whole / "outputs/undo/run")["rows"]
        if row["name"] == "iteration-1"
    )
    assert (
        found["numbers"]["student"]["accuracy"]["accuracy"]["value"]
        == (undo["accuracy"]["test"]["value"])
    )


def test_lessons_know_where_they_come_from(whole: Path) -> None:
    folder = whole / "outputs/undo/run"
    for number in range(3):
        lessons = rows(folder / f"lessons-{number}.jsonl")
        assert len(lessons) == 16
        for row in lessons:
            assert row["iteration"] == number
            assert (row["teacher"], row["status"], row["attempts"]) == ("tutor", "accepted", 1)
            assert len(row["prompt"]) == 16
    texts = [
        {row["id"]: row["lesson"] for row in rows(folder / f"lessons-{number}.jsonl")}
        for number in range(3)
    ]
    for old, new in pairwise(texts):
        assert sum(len(text) for text in new.values()) >= sum(len(text) for text in old.values())
    assert texts[0] != texts[1]


def test_length_matched_lessons_are_about_as_long_as_the_targeted_ones(whole: Path) -> None:
    folder = whole / "outputs/undo/run"
    for number in (1, 2):
        words = {
            name: Counter(
                {r["id"]: len(r["lesson"].split()) for r in rows(folder / f"{name}-{number}.jsonl")}
            )
            for name in ("lessons", "lessons-length-matched")
        }
        wanted, found = words["lessons"], words["lessons-length-matched"]
        assert all(found[each] >= wanted[each] for each in wanted)
        assert found.total() < 1.6 * wanted.total()


def test_the_error_report_adds_up(whole: Path) -> None:
    folder = whole / "outputs/undo/run"
    by_name = {row["name"]: row for row in summary_of(folder)["rows"]}
    before: dict[str, bool] = {}
    for name in ("iteration-0", "iteration-1", "iteration-2"):
        found = rows(folder / f"errors-{name}.jsonl")
        right = {row["id"]: row["correct"] for row in found}
        assert by_name[name]["accuracy"]["validation"]["value"] == sum(right.values()) / 8
        kinds = Counter(row["fault"] for row in found if row["fault"])
        assert {kind: n for kind, n in by_name[name]["faults"].items() if n} == kinds
        assert kinds.total() == 8 - sum(right.values())
        for row in found if before else ():
            names = {
                (True, True): "still right",
                (True, False): "newly broken",
                (False, True): "fixed",
                (False, False): "still wrong",
            }
            assert row["change"] == names[before[row["id"]], row["correct"]]
        before = right


def test_gradient_steps_of_the_one_shot_control_are_those_of_all_iterations(whole: Path) -> None:
    by_name = {row["name"]: row for row in summary_of(whole / "outputs/undo/run")["rows"]}
    assert by_name["one-shot"]["steps"] == 3 * by_name["iteration-2"]["steps"] == 6


def test_every_number_is_made_of_the_verdicts(whole: Path) -> None:
    folder = whole / "outputs/undo/run"
    summary, verdicts = summary_of(folder), rows(folder / "verdicts.jsonl")
    assert Counter(row["split"] for row in verdicts) == dict.fromkeys(
        ("validation", "test", "elsewhere"), 8
    )

    def share(name: str, split: str) -> float:
        return sum(row[name] for row in verdicts if row["split"] == split) / 8

    for row in summary["rows"]:
        for split, of in row["accuracy"].items():
            assert of["value"] == share(row["name"], split)
    assert summary["differences"]
    for row in summary["differences"]:
        assert row["left"] == summary["returned"]
        assert row["split"] in ("test", "elsewhere")
        expected = share(row["left"], row["split"]) - share(row["right"], row["split"])
        assert row["estimate"] == pytest.approx(expected)
        assert row["low"] <= row["estimate"] <= row["high"]
        assert row["p_holm"] >= row["p"]
    chosen = [row for row in summary["rows"] if row["kind"] == "iteration"]
    best = max(chosen, key=lambda row: row["accuracy"]["validation"]["value"])
    assert summary["returned"] == best["name"]
    trained = [row["steps"] for row in summary["rows"][1:]]
    assert summary["cost"]["gradient_steps"] == sum(trained) == 2 * 7 + 6
    assert summary["cost"]["teacher_calls"] == 16 * 7


def test_refined_lessons_feed_another_student(whole: Path, distillkit_process: CommandLine) -> None:
    done = distillkit_process(
        "train",
        "dataset=lessons",
        "dataset.path=outputs/undo/run/lessons-2.jsonl",
        "student=classmate",
        "teacher=null",
        "objective=sft",
        "policy=off_policy",
        *SMOKE,
        "output=other",
        folder=whole,
    )
    assert done.code == 0, done.err


def test_the_test_split_is_read_once_and_after_all_training(
    distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    read, train = Arithmetic.examples, undo_course.train

    def spied(self: Arithmetic, split: Split) -> Sequence[Example]:
        events.append(f"{self.domain} {split}")
        return read(self, split)

    def trained(*of: Any, **how: Any) -> Any:
        events.append("training")
        return train(*of, **how)

    monkeypatch.setattr(Arithmetic, "examples", spied)
    monkeypatch.setattr(undo_course, "train", trained)
    assert distillkit("undo-iterate", *SMALL, "controls.length_matched=false").code == 0
    assert events.count("market test") == 1
    assert events.count("training") == 6
    last = max(at for at, event in enumerate(events) if event == "training")
    assert events.index("market test") > last


BAIT = "ZORG the validation item owns 7 zeppelins and buys 5 more zeppelins. How many has ZORG?"
BAIT_ROW = {"prompt": BAIT, "response": "7 + 5 = 12 zeppelins of ZORG\n#### 12", "answer": "12"}


def hostile(_: int, request: Request) -> Answer:
    """Solves nothing, and repeats the bait wherever it is shown it."""
    said = request.body["messages"][-1]["content"]
    bait = BAIT if BAIT in said else "I do not know"
    return Answer(completion(f"### new_answer\n{bait}\n#### 3"))


def test_a_validation_question_that_a_teacher_repeats_is_in_no_lesson(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    data = rows_of_our_own(tmp_path / "data", validation=[BAIT_ROW])
    with serving(hostile) as (url, requests):
        done = distillkit(*endpoint_run(data, url))
    assert done.code == 0, done.err
    shown = [BAIT in request.body["messages"][-1]["content"] for request in requests]
    assert any(shown), "the bait was never set out"
    folder = tmp_path / "outputs/undo/run"
    for file in folder.rglob("*lessons*.jsonl"):
        assert "ZORG" not in file.read_text()
    assert {row["status"] for row in rows(folder / "lessons-1.jsonl")} == {"fallback"}
    assert {row["status"] for row in rows(folder / "lessons-0.jsonl")} == {"accepted"}


def rows_of_our_own(folder: Path, *, validation: Sequence[dict[str, str]] = ()) -> Path:
    """Six training questions that all have the answer 3, and a validation item."""
    folder.mkdir()
    known = {"response": "1 + 2 = 3\n#### 3", "answer": "3"}
    train = [{"prompt": f"Ann has 1 and buys 2, day {n}. How many?", **known} for n in range(6)]
    splits = {"train": train, "validation": validation or train[:2], "test": train[2:4]}
    for name, items in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    return folder


def endpoint_run(data: Path, url: str, *more: str) -> list[str]:
    """A run on a folder of rows with a served teacher."""
    return [
        "undo-iterate",
        "tracker=none",
        "steps=2",
        "loop.batch_size=4",
        "rollout.max_new_tokens=32",
        "iterations=1",
        "retries=1",
        "name=run",
        *ALONE,
        "dataset=jsonl",
        f"dataset.path={data}",
        "dataset.answer_field=answer",
        "dataset.answer_kind=number",
        "dataset@elsewhere=null",
        "teacher=endpoint",
        f"teacher.url={url}",
        "teacher.model=stand-in",
        *more,
    ]


def test_every_reply_is_paid_for_once_though_the_server_and_the_process_die(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    """Two replies come, and the run goes on at another server; neither is asked for again."""
    data = rows_of_our_own(tmp_path / "data")

    def helpful(_: int, request: Request) -> Answer:
        number = request.body["messages"][-1]["content"].count("###")
        return Answer(completion(f"1 + 2 = 3, written after {number} headings\n#### 3"))

    def dying(count: int, request: Request) -> Answer:
        return helpful(count, request) if count < 2 else Answer("gone", status=401)

    one_by_one = ("teacher.concurrency=1", "teacher.input_price=1e6", "teacher.output_price=2e6")
    with serving(dying) as (url, first):
        done = distillkit(*endpoint_run(data, url, *one_by_one))
    assert done.code == 2
    assert "the same command goes on" in done.err
    with serving(helpful) as (url, second):
        done = distillkit(*endpoint_run(data, url, *one_by_one))
    assert done.code == 0, done.err
    asked = [request.body["messages"][-1]["content"] for request in (*first[:2], *second)]
    assert len(asked) == len(set(asked)) == 12
    cost = summary_of(tmp_path / "outputs/undo/run")["cost"]
    assert (cost["teacher_calls"], cost["prompt_tokens"], cost["completion_tokens"]) == (12, 36, 24)
    assert cost["money"] == pytest.approx(36 * 1 + 24 * 2)


def killed_when(file: Path, process: Started, number: int) -> None:
    """Send the signal as soon as the file is there."""
    while not file.is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), said
    if number != signal.SIGKILL:
        assert "the same command goes on" in said


def test_a_run_killed_again_and_again_ends_as_one_that_was_left_alone(
    whole: Path, tmp_path: Path, started: Start, distillkit_process: CommandLine
) -> None:
    run = tmp_path / "outputs/undo/run"

    def again() -> Started:
        return started("undo-iterate", *SMALL, folder=tmp_path)

    killed_when(tmp_path / "outputs/replies.sqlite", again(), signal.SIGKILL)
    killed_when(run / "train/iteration-0/metrics.jsonl", again(), signal.SIGTERM)
    killed_when(run / "lessons-1.jsonl", again(), signal.SIGINT)
    killed_when(run / "train/untargeted-1/run.yaml", again(), signal.SIGKILL)
    done = distillkit_process("undo-iterate", *SMALL, folder=tmp_path)
    assert done.code == 0, done.err
    other = whole / "outputs/undo/run"
    assert without_seconds(run) == without_seconds(other)
    compared = [
        file.relative_to(other)
        for pattern in ("*.jsonl", "train/*/student/model.safetensors", "train/*/metrics.jsonl")
        for file in other.glob(pattern)
    ]
    assert len(compared) > 20
    for file in compared:
        assert (run / file).read_bytes() == (other / file).read_bytes(), file
    assert replies(tmp_path) == replies(whole)
    said = [line.split()[1] for line in (run / "log.txt").read_text().splitlines()]
    for number in range(3):
        assert said.count(f"lessons-{number}.jsonl:") <= 1
    assert said.count("lessons-2.jsonl:") == 1


def replies(folder: Path) -> set[tuple[str, bytes]]:
    """What the store of the teacher's texts holds."""
    with closing(sqlite3.connect(folder / "outputs/replies.sqlite")) as connection:
        return set(connection.execute("SELECT key, value FROM kept"))


@pytest.mark.parametrize("begin", ["first", "previous"])
def test_an_iteration_begins_with_the_first_student_or_with_the_one_before(
    distillkit: CommandLine, tmp_path: Path, begin: str
) -> None:
    assert distillkit("undo-iterate", *SMALL, *ALONE, f"begin={begin}", "iterations=1").code == 0
    run = tmp_path / "outputs/undo/run"
    student = yaml.safe_load((run / "train/iteration-1/run.yaml").read_text())["student"]["name"]
    first = "embedded:pupil"
    assert student == (first if begin == "first" else "outputs/undo/run/train/iteration-0/student")
    steps = {row["name"]: row["steps"] for row in summary_of(run)["rows"]}
    assert steps["iteration-1"] == (2 if begin == "first" else 4)


def test_lessons_of_all_rounds_may_be_kept(distillkit: CommandLine, tmp_path: Path) -> None:
    assert distillkit("undo-iterate", *SMALL, *ALONE, "lessons=all").code == 0
    run = tmp_path / "outputs/undo/run"
    counts = [Counter(r["iteration"] for r in rows(run / f"lessons-{n}.jsonl")) for n in range(3)]
    assert counts == [{0: 16}, {0: 16, 1: 16}, {0: 16, 1: 16, 2: 16}]


def test_the_students_of_an_iteration_may_imitate_a_model_too(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    done = distillkit(
        "undo-iterate",
        *SMALL,
        *ALONE,
        "objective=divergence",
        "divergence=jsd",
        "policy=mixed",
        "teacher@imitate=embedded",
        "iterations=1",
    )
    assert done.code == 0, done.err
    config = yaml.safe_load((tmp_path / "outputs/undo/run/train/iteration-1/run.yaml").read_text())
    assert config["teacher"]["name"] == "embedded:teacher"
    assert config["divergence"]["beta"] == 0.5


def test_a_local_model_may_write_and_its_nonsense_falls_back(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    """The embedded teacher knows bare questions alone, and makes nothing of a longer prompt."""
    done = distillkit(
        "undo-iterate",
        *SMALL,
        *ALONE,
        "teacher=embedded",
        "prompt.first='{{ question }}'",
        "writing.max_new_tokens=40",
        "objective=divergence",
        "iterations=1",
        "retries=1",
    )
    assert done.code == 0, done.err
    run = tmp_path / "outputs/undo/run"
    first, second = (rows(run / f"lessons-{number}.jsonl") for number in (0, 1))
    gold = {example.id: example.reference for example in Arithmetic(train=16).examples(Split.train)}
    assert Counter(row["status"] for row in first)["fallback"] > 8
    assert Counter(row["status"] for row in second)["accepted"] > 8
    for row in (*first, *second):
        assert row["status"] != "fallback" or row["lesson"] == gold[row["id"]]
        assert row["prompt_tokens"] > 10
        assert row["teacher"] == "embedded:teacher"
    config = yaml.safe_load((run / "train/iteration-1/run.yaml").read_text())
    assert config["teacher"]["name"] == "embedded:teacher"
    cost = summary_of(run)["cost"]
    assert cost["teacher_calls"] == sum(row["attempts"] for row in (*first, *second)) > 32


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["dataset=svamp"], "teacher=tutor knows only the embedded world"),
        (["objective=divergence"], "teacher=tutor is no model of this process, but objective="),
        (["policy=seq_kd"], "but policy=seq_kd has it write"),
        (
            ["policy=on_policy", "objective=divergence", "teacher@imitate=embedded"],
            "policy=on_policy never reads the lessons",
        ),
        (
            ["policy=teacher_mixed", "objective=divergence", "teacher@imitate=embedded"],
            "policy=teacher_mixed never reads the lessons",
        ),
        (["iterations=0"], "iterations must be at least 1, got 0"),
        (["patience=0"], "patience must be at least 1, got 0"),
        (["retries=-1"], "retries must be 0 or more, got -1"),
        (["min_gain=2"], "min_gain must lie in [0, 1), got 2"),
        (["evidence.wrong=0"], "evidence.wrong must be at least 1, got 0"),
        (["evidence.right=-1"], "evidence.right must be 0 or more, got -1"),
        (["writing.retry_temperature=0"], "writing.retry_temperature must be more than 0"),
        (["teacher=endpoint"], "teacher.model is required"),
        (["prompt.first='{{ question'"], "prompt.first is no Jinja template"),
        (["teacher=hf"], "teacher.name"),
        (["dataset@elsewhere=nowhere"], "nowhere"),
        (["student=hf", "student.name=/no/where"], "student.name=/no/where could not"),
        (["elsewhere.digits=1", "dataset@elsewhere=null"], "has no effect"),
        (["beta=0.5"], "beta=0.5 has no effect"),
        (["teacher=null"], "teacher"),
        (["begin=middle"], "distillkit show --verb undo"),
        (["+made_up=1"], "distillkit show --verb undo"),
        (["made_up=1"], "distillkit show --verb undo"),
        (["evaluation.validation=0"], "validation"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    distillkit: CommandLine, tmp_path: Path, overrides: list[str], said: str
) -> None:
    done = distillkit("undo-iterate", *SMALL[:2], *overrides)
    assert done.code == 2
    assert said in done.err
    assert done.err.startswith("distillkit: ")
    assert done.err.count("\n") == 1
    assert contents(tmp_path) == {}


def test_a_dataset_without_a_test_split_of_its_own_is_refused_before_a_lesson_is_paid_for(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    data = rows_of_our_own(tmp_path / "data")
    (data / "test.jsonl").unlink()
    with serving(hostile) as (url, requests):
        done = distillkit(*endpoint_run(data, url))
    assert done.code == 2
    assert "dataset=jsonl has no test split of its own here" in done.err
    assert not requests
    assert not (tmp_path / "outputs").exists()
