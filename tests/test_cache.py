"""``distillkit cache`` and trainings from what it kept, through the command line."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import SMOKE, CommandLine
from tests.distributed.ranks import gradient
from tests.forking import Started

SMALL = ("dataset.train=24", "dataset.validation=4", "dataset.test=8")
TRAIN = (
    *SMALL,
    "tracker=none",
    "steps=6",
    "loop.batch_size=8",
    "evaluation.every=0",
    "optimizer.lr=1e-3",
)
TOP = ("support=teacher_top_k", "support.k=6")


def made(distillkit: CommandLine, *typed: str, name: str = "kept") -> Path:
    """A cache of the embedded teacher."""
    result = distillkit("cache", *SMALL, *typed, f"name={name}")
    assert result.code == 0, result.err
    return Path("outputs/cache") / name


def trained(distillkit: CommandLine, *typed: str, name: str) -> tuple[Path, list[dict[str, float]]]:
    """A training's folder and its updates."""
    result = distillkit("train", *TRAIN, *typed, f"name={name}")
    assert result.code == 0, result.err
    folder = Path("outputs/train") / name
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return folder, [row for row in map(json.loads, lines) if "loss" in row]


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        (TOP, TOP),
        (("support=teacher_top_k", "support.k=9"), TOP),
        (TOP, ("support=sampled", "divergence=jsd")),
        (("support=sampled",), ("support=sampled",)),
        (("support=full",), ("divergence=reverse_kl",)),
        (
            ("support=full",),
            ("objective.teacher_temperature=2", "support=student_top_k", "support.k=5"),
        ),
        (("support=full",), (*TOP, "objective.control=shuffled_teacher")),
    ],
    ids=lambda typed: " ".join(typed),
)
@pytest.mark.parametrize("policy", ["off_policy", "seq_kd"])
def test_a_training_from_a_cache_is_the_one_with_the_teacher(
    kept: tuple[str, ...], asked: tuple[str, ...], policy: str, distillkit: CommandLine
) -> None:
    path = made(distillkit, *kept, f"policy={policy}", "teacher_rollout.max_new_tokens=12")
    given = (*asked, f"policy={policy}", "teacher_rollout.max_new_tokens=12")
    one = (
        "steps=1",
        "optimizer.schedule=constant",
        "optimizer.warmup=0",
        "checkpoint.every=1",
        "evaluation.test=0",
    )
    cached = ("teacher=cached", f"teacher.path={path}")
    found = [
        gradient(trained(distillkit, *given, *teacher, *one, name=name)[0])
        for name, teacher in (("live-1", ()), ("cached-1", cached))
    ]
    assert found[0].keys() == found[1].keys()
    length = sum(each.norm() ** 2 for each in found[0].values()) ** 0.5
    apart = sum((found[1][name] - found[0][name]).norm() ** 2 for name in found[0]) ** 0.5
    # What is kept of the text's own token is its log-probability alone, not that of all others.
    assert apart <= (5e-6 if kept == TOP and asked != TOP else 1e-6) * length
    assert length > 1e-3
    live, rows = (
        trained(distillkit, *given, *teacher, name=name)[1]
        for name, teacher in (("live", ()), ("cached", cached))
    )
    for one_row, other in zip(live, rows, strict=True):
        assert other["loss"] == pytest.approx(one_row["loss"], rel=1e-5)
        assert other["tokens"] == one_row["tokens"]


def test_answers_to_one_prompt_are_told_apart(distillkit: CommandLine) -> None:
    answers = ["A duck.", "A duck, a goose and a swan.", "Two.", "None of them."]
    rows = [{"prompt": "Who swims?", "response": each} for each in answers]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = (
        "dataset=jsonl",
        "dataset.path=rows.jsonl",
        "dataset.validation_share=0",
        "policy=off_policy",
        *TOP,
    )
    result = distillkit("cache", *given, "name=kept")
    assert result.code == 0, result.err
    assert json.loads(Path("outputs/cache/kept/summary.json").read_text())["rows"] == len(rows)
    own = (
        "tracker=none",
        "steps=3",
        "loop.batch_size=4",
        "evaluation.every=0",
        "evaluation.test=0",
    )
    losses = []
    for name, teacher in (
        ("live", ()),
        ("cached", ("teacher=cached", "teacher.path=outputs/cache/kept")),
    ):
        result = distillkit("train", *given, *own, *teacher, f"name={name}")
        assert result.code == 0, result.err
        lines = Path(f"outputs/train/{name}/metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_draws_train_and_say_what_full_would(distillkit: CommandLine) -> None:
    """The logged value is unbiased: over an update's positions it is near the divergence itself."""
    path = made(distillkit, "support=draws", "support.k=16", "support.draws=8")
    cached = ("teacher=cached", f"teacher.path={path}", "policy=off_policy")
    _, live = trained(distillkit, "policy=off_policy", name="live")
    _, drawn = trained(
        distillkit, *cached, "support=draws", "support.k=16", "support.draws=8", name="drawn"
    )
    assert drawn[0]["loss"] == pytest.approx(live[0]["loss"], rel=0.05)
    assert drawn[-1]["loss"] == pytest.approx(live[-1]["loss"], rel=0.2)
    result = distillkit("train", *TRAIN, *cached, "support=draws", "divergence=jsd", "beta=0.5")
    assert result.code == 2
    assert "divergence=jsd is not linear in the teacher" in result.err


def test_half_the_bytes_are_right_to_three_digits(distillkit: CommandLine) -> None:
    whole, half = (
        made(distillkit, *TOP, f"kept={kept}", name=kept) for kept in ("float32", "float16")
    )
    sizes = [json.loads((path / "summary.json").read_text())["bytes"] for path in (whole, half)]
    assert sizes[1] < 0.8 * sizes[0]
    losses = [
        trained(
            distillkit,
            *TOP,
            "teacher=cached",
            f"teacher.path={path}",
            "policy=off_policy",
            name=path.name,
        )[1]
        for path in (whole, half)
    ]
    assert losses[1][0]["loss"] == pytest.approx(losses[0][0]["loss"], rel=5e-3)
    assert losses[1][0]["loss"] != losses[0][0]["loss"]


def test_what_is_inside_is_shown_with_what_may_be_trained_from_it(
    distillkit: CommandLine, wide: None
) -> None:
    path = made(distillkit, *TOP)
    shown = distillkit("cache", "--show", str(path))
    assert shown.code == 0
    assert "embedded:teacher" in shown.out
    assert (
        f"teacher=cached teacher.path={path} policy=off_policy support=teacher_top_k support.k=6"
        in shown.out
    )
    again = distillkit("cache", *SMALL, *TOP, "name=kept")
    assert again.code == 0
    assert "already made" in again.out
    other = distillkit("cache", *SMALL, *TOP, "name=kept", "seed=3")
    assert other.code == 2
    assert "holds another configuration" in other.err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["policy=on_policy"], "has a student write"),
        (["support=student_top_k"], "support=student_top_k depends on the student"),
        (["teacher=self"], "teacher=self has nothing of its own to keep"),
        (["shard_mb=0"], "shard_mb must be at least 1"),
        (["dataset.labelled=0"], "no training example of dataset=arithmetic has a reference"),
        (["max_prompt_tokens=2"], "max_prompt_tokens=2 drops every training prompt"),
    ],
)
def test_what_cannot_be_kept_is_one_sentence(
    typed: list[str], words: str, distillkit: CommandLine
) -> None:
    result = distillkit("cache", *SMALL, *typed)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["support=teacher_top_k", "support.k=7"], "support.k=7 compares more entries"),
        (["support=full"], "support=full compares more entries than teacher=cached tells"),
        ([*TOP, "objective.teacher_temperature=2"], "teacher_temperature=2.0 divides logits"),
        ([*TOP, "policy=on_policy"], "trains on text by the student too, which no cache can know"),
        ([*TOP, "policy=seq_kd"], "holds text by the dataset"),
        ([*TOP, "dataset.seed=1"], "has nothing of market-train-"),
        ([*TOP, "teacher.path=nowhere"], "nowhere is no folder"),
    ],
)
def test_a_training_that_a_cache_cannot_serve_is_one_sentence(
    typed: list[str], words: str, distillkit: CommandLine
) -> None:
    path = made(distillkit, *TOP)
    given = ("teacher=cached", f"teacher.path={path}", "policy=off_policy")
    result = distillkit("train", *TRAIN, *given, *typed)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not Path("outputs/train").exists()


def test_text_that_was_written_otherwise_is_refused(distillkit: CommandLine) -> None:
    path = made(distillkit, *TOP, "policy=seq_kd", "teacher_rollout.max_new_tokens=12")
    result = distillkit(
        "train", *TRAIN, *TOP, "teacher=cached", f"teacher.path={path}", "policy=seq_kd"
    )
    assert result.code == 2
    assert "teacher_rollout.max_new_tokens=64, but the text in" in result.err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_cache_that_was_interrupted_goes_on(
    number: signal.Signals, tmp_path: Path, zygote_address: None
) -> None:
    """As often as it takes; what comes of it trains as an undisturbed one does."""
    command = ("cache", "dataset.train=3000", *TOP, "shard_mb=1", "micro_batch_tokens=2048")
    whole = Started(*command, "name=whole", folder=tmp_path)
    assert whole.wait() == 0
    kept = tmp_path / "outputs" / "cache"
    for _ in range(3):
        process = Started(*command, "name=broken", folder=tmp_path)
        seen = len(list((kept / "broken").glob("shards/*.safetensors")))
        while process.poll() is None and len(list((kept / "broken").glob("shards/*.s*"))) <= seen:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(number)
        assert process.wait() in (0, -number, 128 + number)
    last = Started(*command, "name=broken", folder=tmp_path)
    assert last.wait() == 0
    said, again = (
        json.loads((kept / name / "summary.json").read_text()) for name in ("whole", "broken")
    )
    assert (said["rows"], said["dataset"]) == (again["rows"], again["dataset"])
    log = (kept / "broken" / "log.txt").read_text()
    assert "texts are there already" in log
    found = []
    for name in ("whole", "broken"):
        typed = ("dataset.train=3000", *TOP, "teacher=cached", f"teacher.path={kept / name}")
        run = Started("train", *SMOKE, *typed, "policy=off_policy", f"name={name}", folder=tmp_path)
        assert run.wait() == 0, run.communicate()
        found.append((tmp_path / "outputs" / "train" / name / "metrics.jsonl").read_bytes())
    assert found[0] == found[1]


def test_half_a_shard_of_a_killed_process_is_no_part_of_the_cache(
    distillkit: CommandLine,
) -> None:
    path = made(distillkit, *TOP)
    shards = sorted((path / "shards").iterdir())
    # As it lies there when the first process is killed while it writes its last shard.
    half = shards[-1].with_name(f".{shards[-1].name}.1.partial")
    half.write_bytes(shards[-1].read_bytes()[:100])
    given = (*TOP, "teacher=cached", f"teacher.path={path}", "policy=off_policy")
    refused = distillkit("train", *TRAIN, *given)
    assert f"{half.name} was not there when it was written" in refused.err
    (path / "summary.json").unlink()
    assert made(distillkit, *TOP) == path
    assert sorted((path / "shards").iterdir()) == shards
    trained(distillkit, *given, name="run")


def test_a_run_is_known_by_what_is_in_its_cache(distillkit: CommandLine) -> None:
    """A cache may be moved; another one under its name is another run."""
    path = made(distillkit, *TOP)
    given = (*TOP, "teacher=cached", "policy=off_policy", *SMOKE)
    first = distillkit("train", *SMALL, *given, f"teacher.path={path}")
    moved = path.rename(path.with_name("moved"))
    second = distillkit("train", *SMALL, *given, f"teacher.path={moved}")
    assert (first.code, second.code) == (0, 0), second.err
    assert "already done" in second.out
    other = made(distillkit, *TOP, "kept=float16", name="other")
    third = distillkit("train", *SMALL, *given, f"teacher.path={other}")
    assert "already done" not in third.out
