"""``distillkit osd`` through the command line: streams, drafts, resuming, what is left behind."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from distillkit.compose import compose
from distillkit.core.errors import Interrupted
from distillkit.programs.osd.program import osd
from tests.tiny import save

from .conftest import CommandLine, Start, contents

TWO = ("~domain.maze", "~domain.large")
SMALL = (
    "tracker=none",
    "name=run",
    *TWO,
    "stream.requests=12",
    "probe.size=4",
    "probe.every=8",
    "rollout.max_new_tokens=12",
    "rollout.batch_size=4",
    "update.interval=8",
    "optimizer.lr=1e-3",
    "checkpoint.every=8",
)
EXACT = ("requests.jsonl", "updates.jsonl", "probes.jsonl", "metrics.jsonl")


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; its folder is not to be changed."""
    output = tmp_path_factory.mktemp("osd")
    return osd(compose("osd", [*SMALL, f"output={output}"])).path


def test_a_stream_leaves_rows_a_summary_a_picture_and_a_draft(whole: Path) -> None:
    requests = rows(whole / "requests.jsonl")
    assert [row["request"] for row in requests] == [*range(24)]
    assert [row["domain"] for row in requests] == ["market"] * 12 + ["journey"] * 12
    assert [row["version"] for row in requests] == [0] * 8 + [1] * 8 + [2] * 8
    for row in requests:
        assert 0 <= row["accepted"] <= row["verified"] <= row["tokens"] <= 12
        assert 0 <= row["overlap"] <= row["verified"]
        # The last round gives none of its own where a proposal that ends the text is accepted.
        assert row["accepted"] + row["rounds"] - row["tokens"] in (0, 1)
    assert [row["request"] for row in rows(whole / "updates.jsonl")] == [8, 16, 24]
    assert [row["request"] for row in rows(whole / "probes.jsonl")] == [0, 8, 16, 24]
    heard = rows(whole / "metrics.jsonl")
    assert [row["step"] for row in heard] == [0, 8, 8, 16, 16, 24, 24]
    assert {"serving/alpha", "update/all/loss"} < heard[1].keys()
    summary = json.loads((whole / "summary.json").read_text())
    assert (summary["requests"], summary["updates"]) == (24, 3)
    found = summary["domains"]["journey"]
    own = requests[12:]
    verified = sum(row["verified"] for row in own)
    assert found["alpha"] == pytest.approx(sum(row["overlap"] for row in own) / verified)
    assert found["accepted"] == pytest.approx(sum(row["accepted"] for row in own) / verified)
    assert summary["buffer_mb"] > 0
    assert (whole / "osd.png").stat().st_size > 10_000
    assert AutoModelForCausalLM.from_pretrained(whole / "student").config.model_type == "llama"


def test_the_same_call_again_shows_what_is_done(
    whole: Path, distillkit: CommandLine, wide: None
) -> None:
    before = contents(whole)
    shown = distillkit("osd", *SMALL, f"output={whole.parents[1]}")
    assert shown.code == 0, shown.err
    assert "already done" in shown.out
    assert "3 updates took" in shown.out
    assert contents(whole) == before
    other = distillkit("osd", *SMALL, "proposals=3", f"output={whole.parents[1]}")
    assert other.code == 2
    assert "another configuration: proposals is 5 there and 3 here" in other.err


def test_nothing_of_a_users_text_is_left_behind(whole: Path) -> None:
    """Trap of the issue: the buffer is never on disk unless it is asked for."""
    for file in whole.glob("*"):
        if file.suffix in (".jsonl", ".json", ".yaml", ".txt"):
            text = file.read_text()
            assert "How many" not in text, file
            assert '"tokens": [' not in text, file


def wait_for(folder: Path, count: int) -> None:
    file, deadline = folder / "requests.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline:
        if file.is_file() and len(file.read_bytes().splitlines()) >= count:
            return
        time.sleep(0.002)
    raise TimeoutError(f"request {count} was never served")


HARD = {
    "replayed": ("buffer.keep=true", "buffer.replay=0.5", "update.interval=5"),
    "routed": ("routing=classifier", "update.interval=6", "policy=on_policy"),
    "offline": ("offline.share=0.5", "offline.batch_size=8", "stream=smooth_shift"),
}


@pytest.mark.parametrize("name", HARD)
def test_a_stream_that_was_stopped_and_killed_ends_as_one_that_was_not(
    name: str, started: Start, tmp_path: Path
) -> None:
    more = HARD[name]
    asked = [*SMALL, *more, "stream.requests=24"] if name == "offline" else [*SMALL, *more]
    expected = osd(compose("osd", [*asked, f"output={tmp_path / 'whole'}"])).path
    folder = tmp_path / "osd" / "run"

    def send() -> None:
        wait_for(folder, 5)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted, match="the same command goes on from there"):
        osd(compose("osd", [*asked, f"output={tmp_path}"]))
    sender.join()
    process = started("osd", *asked, f"output={tmp_path}", folder=tmp_path)
    wait_for(folder, 16)
    process.kill()
    process.wait()
    found = osd(compose("osd", [*asked, f"output={tmp_path}"])).path
    assert "resumed at request" in (found / "log.txt").read_text()
    for each in EXACT:
        assert (found / each).read_bytes() == (expected / each).read_bytes(), each
    for file in (expected / "student").rglob("*.safetensors"):
        assert (found / file.relative_to(expected)).read_bytes() == file.read_bytes()


def test_what_is_kept_for_replay_is_there_only_where_it_was_asked_for(tmp_path: Path) -> None:
    asked = [*SMALL, "buffer.keep=true", "buffer.replay=0.5", f"output={tmp_path}"]
    folder = osd(compose("osd", asked)).path
    kept = list(folder.rglob("old.safetensors"))
    assert kept
    assert all(load_file(file)["tokens"].numel() for file in kept)


def test_a_damaged_checkpoint_is_refused_and_nothing_is_touched(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    folder = tmp_path / "outputs/osd/run"

    def send() -> None:
        wait_for(folder, 9)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    distillkit("osd", *SMALL)
    sender.join()
    file = sorted(folder.rglob("optimizer.pt"))[-1]
    file.write_bytes(file.read_bytes()[:-7])
    before = contents(folder)
    refused = distillkit("osd", *SMALL)
    assert refused.code == 2
    assert "optimizer.pt" in refused.err
    assert {key: value for key, value in contents(folder).items() if key != "log.txt"} == {
        key: value for key, value in before.items() if key != "log.txt"
    }


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["stream=single"], "stream=single asks about one domain, and there are 2"),
        (["stream=mixed", "stream.shares=[1]"], "stream.shares=[1"),
        (["stream.requests=0"], "stream.requests must be at least 1"),
        (["objective=sft"], "objective=sft does not compare"),
        (["policy=off_policy"], "policy=off_policy learns from the dataset's text"),
        (["teacher.draft=embedded:pupil"], "teacher.draft=embedded:pupil"),
        (["~domain.journey", "routing=domain"], "routing=domain chooses between drafts"),
        (["beta=0.1"], "beta=0.1 has no effect here: only divergence=jsd"),
        (["lmbda=0.1"], "lmbda=0.1 has no effect here: only policy=mixed"),
        (["update.interval=0"], "update.interval must be at least 1"),
        (["update.interval=null", "update.seconds=3"], "update.seconds=3"),
        (["update.interval=null", "buffer.keep=true"], "buffer.keep=true"),
        (["update.rejected=0", "update.others=0"], "leave nothing to learn"),
        (["buffer.replay=0.5"], "Set buffer.keep=true"),
        (["buffer.replay=1", "buffer.keep=true"], "buffer.replay=1"),
        (["offline.share=2"], "offline.share must lie in [0, 1]"),
        (["probe.size=0"], "probe.size must be at least 1"),
        (["proposals=0"], "proposals must be at least 1"),
        (["proposals=1000000000"], "proposals must be at most"),
        (["rollout.max_new_tokens=600"], "domain.market has no prompt that leaves room"),
        (["rollout.batch_size=0"], "rollout.batch_size must be at least 1"),
        (["student.name=other"], "teacher.name and student.name"),
        (["name=a/b"], "name=a/b"),
        (
            ["+dataset@domain.mine=jsonl", "domain.mine.path=nowhere.jsonl"],
            "domain.mine.path=nowhere.jsonl",
        ),
        (["teacher=tutor"], "teacher=tutor"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    typed: list[str], said: str, distillkit: CommandLine, tmp_path: Path
) -> None:
    if "student.name=other" in typed:
        from tests.models.test_loading import tokenizer_with

        def swap(content: dict) -> None:
            vocabulary = content["model"]["vocab"]
            vocabulary["A"], vocabulary["B"] = vocabulary["B"], vocabulary["A"]

        save(tmp_path / "other", "llama", tokenizer=tokenizer_with(tmp_path, swap), context=512)
    refused = distillkit("osd", *SMALL, *typed)
    assert refused.code == 2, refused.out
    assert said in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_domains_are_added_and_taken_away_by_name() -> None:
    composed = compose("osd", [*SMALL, "+dataset@domain.sums=arithmetic", "domain.sums.digits=1"])
    assert [*composed.run.domain] == ["market", "journey", "sums"]
    assert yaml.safe_load(composed.yaml())["domain"]["sums"]["digits"] == 1


def test_the_kind_of_a_domains_dataset_is_part_of_what_a_run_is() -> None:
    prints = {
        compose(
            "osd",
            [*SMALL, f"+dataset@domain.other={name}", "domain.other.path=rows"],
        ).fingerprint
        for name in ("svamp", "strategyqa")
    }
    assert len(prints) == 2


def test_wandb_hears_numbers_and_no_text(
    distillkit: CommandLine, tmp_path: Path, fresh_wandb: None
) -> None:
    done = distillkit("osd", *[each for each in SMALL if each != "tracker=none"])
    assert done.code == 0, done.err
    (log,) = (tmp_path / "outputs/osd/run").rglob("run-*.wandb")
    heard = log.read_bytes()
    assert b"probe/all/market" in heard
    assert b"serving/alpha" in heard
    assert b"How many" not in heard


def test_other_verbs_say_whose_run_it_is(whole: Path, distillkit: CommandLine) -> None:
    for verb, typed in (("eval", f"run={whole}"), ("report", str(whole))):
        refused = distillkit(verb, typed)
        assert refused.code == 2, refused.out
        assert "osd" in refused.err
        assert len(refused.err.strip().splitlines()) == 1
