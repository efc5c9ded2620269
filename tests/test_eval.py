"""``distillkit eval`` through the real command line."""

import json
import re
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from distillkit.core.rundir import RunDirectory
from distillkit.core.spec import SPECS

from .conftest import CommandLine, Start, contents
from .tiny import save

WHO = ("student", "start", "teacher")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run in an output folder of its own."""
    return Path(shutil.copytree(finished_run, tmp_path / "outputs" / "train" / "run"))


def results(run: Path, split: str = "test") -> dict[str, Any]:
    return json.loads((run / "evaluation" / split / "results.json").read_text())


def counted(out: str) -> dict[str, int]:
    """Sum of what the log says was made and reused."""
    found = re.findall(r"(\d+) (made|reused)", out)
    return {word: sum(int(n) for n, which in found if which == word) for word in ("made", "reused")}


def test_an_evaluation_finds_what_the_run_found(distillkit: CommandLine, run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert distillkit("eval", f"run={run}", "metric=[accuracy,precision_recall]").code == 0
    found = results(run)["numbers"]
    names = ("student_after", "student_before", "teacher")
    for who, former in zip(WHO, names, strict=True):
        assert found[who]["accuracy"]["accuracy"]["value"] == summary[former]["accuracy"]
        likely = found[who]["precision_recall"]["recall"]["value"]
        assert -likely == pytest.approx(summary[former]["nll"], rel=1e-4)


def test_an_evaluation_on_validation_finds_the_last_validation(
    distillkit: CommandLine, run: Path
) -> None:
    assert distillkit("eval", f"run={run}", "split=validation", "metric=accuracy").code == 0
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    found = results(run, "validation")["numbers"]["student"]["accuracy"]["accuracy"]["value"]
    assert found == last["validation/accuracy"]


def test_all_metrics_are_shown_and_kept_for_all_three(
    distillkit: CommandLine, run: Path, wide: None
) -> None:
    result = distillkit("eval", f"run={run}", "metric=all")
    assert (result.code, result.err) == (0, "")
    found = results(run)
    for who in WHO:
        assert set(found["numbers"][who]) == set(found["metrics"])
    shown = {line.split("│")[1].strip() for line in result.out.splitlines() if line.count("│") > 5}
    named = {name for of in found["numbers"]["student"].values() for name in of}
    assert named <= shown
    items = [
        json.loads(line) for line in (run / "evaluation/test/items.jsonl").read_text().splitlines()
    ]
    assert len(items) == found["n"] == 8
    assert set(items[0]["texts"]) == set(WHO)
    # The numbers can be made again from what was kept of each example.
    records = [
        json.loads(line)
        for line in (run / "evaluation/test/records.jsonl").read_text().splitlines()
    ]
    for name, fields in found["metrics"].items():
        metric = SPECS[f"metric/{name}"](**fields)
        again = metric.compute([row["student"].get(name, {}) for row in records])
        kept = found["numbers"]["student"][name]
        assert again == {key: number["value"] for key, number in kept.items()}


def test_a_second_call_reuses_all_evidence_and_keeps_earlier_metrics(
    distillkit: CommandLine, run: Path
) -> None:
    first = counted(distillkit("eval", f"run={run}", "metric=[accuracy,divergence]").out)
    assert first["made"] > 100
    result = distillkit("eval", f"run={run}", "metric=[speculation,precision_recall]")
    assert counted(result.out)["made"] == 0
    assert counted(result.out)["reused"] > 0
    (*_, last) = (run / "evaluation/test/log.txt").read_text().splitlines()
    assert "evidence  teacher" in last
    assert counted(last)["made"] == 0
    together = results(run)
    assert set(together["metrics"]) == {"accuracy", "divergence", "speculation", "precision_recall"}
    assert together["numbers"]["teacher"]["divergence"]["forward_kl_own"]["value"] == 0
    # Fewer examples are another evaluation; what was known of all of them is not mixed in.
    assert distillkit("eval", f"run={run}", "metric=accuracy", "limit=5").code == 0
    assert set(results(run)["metrics"]) == {"accuracy"}


def test_a_sweep_stands_for_its_runs_that_are_done(
    distillkit: CommandLine, run: Path, finished_run: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(finished_run, run.parent / "other"))
    cells = [{"run": str(each), "summary": {}} for each in (run, other)]
    cells[0]["summary"] = cells[1]["summary"] = json.loads((run / "summary.json").read_text())
    (tmp_path / "table.json").write_text(json.dumps([*cells, {"status": "failed"}]))
    assert distillkit("eval", f"run={tmp_path}", "metric=accuracy").code == 0
    assert results(run)["numbers"] == results(other)["numbers"]
    # The sweep was run in another folder, and the whole output was moved here.
    moved = tmp_path / "outputs" / "sweep" / "grid"
    moved.mkdir(parents=True)
    cells[0]["run"], cells[1]["run"] = "elsewhere/train/run", "elsewhere/train/other"
    (moved / "table.json").write_text(json.dumps(cells))
    assert distillkit("eval", f"run={moved}", "metric=accuracy", "limit=3").code == 0
    assert results(other)["n"] == 3
    (tmp_path / "table.json").write_text(json.dumps([{"status": "failed"}]))
    assert "no cell is done" in distillkit("eval", f"run={tmp_path}", "metric=accuracy").err


def test_runs_of_one_output_share_the_evidence_of_their_teacher(
    distillkit: CommandLine, run: Path, finished_run: Path
) -> None:
    distillkit("eval", f"run={run}", "metric=accuracy")
    other = Path(shutil.copytree(finished_run, run.parent / "other"))
    change(other / "student")
    said = distillkit("eval", f"run={other}", "metric=accuracy").out
    lines = {line.split()[1]: counted(line) for line in said.splitlines() if "evidence" in line}
    assert lines["student:"] == {"made": 8, "reused": 0}
    assert lines["start:"] == lines["teacher:"] == {"made": 0, "reused": 8}


def change(student: Path) -> None:
    """Other weights under the same name."""
    weights = load_file(student / "model.safetensors")
    name = min(weights)
    save_file(
        {**weights, name: weights[name] * 1.5}, student / "model.safetensors", {"format": "pt"}
    )
    # As if the run had left these.
    directory = RunDirectory(student.parent)
    summary = directory.summary
    assert summary is not None
    directory.finish(summary, leaves=("student",))


def test_evidence_from_another_checkpoint_is_refused(distillkit: CommandLine, run: Path) -> None:
    assert distillkit("eval", f"run={run}", "metric=accuracy").code == 0
    change(run / "student")
    before = contents(run)
    result = distillkit("eval", f"run={run}", "metric=accuracy")
    assert result.code == 2
    assert result.err.count("\n") == 1
    for word in ("another checkpoint", "student", f"delete {run / 'evaluation'}"):
        assert word in result.err
    assert contents(run) == before


def test_a_reference_that_is_not_there_is_named_as_typed(
    distillkit: CommandLine, run: Path
) -> None:
    result = distillkit("eval", f"run={run}", f"reference={run}/nothing")
    assert result.code == 2
    assert f"reference={run}/nothing could not be loaded" in result.err


def test_a_prompt_that_fills_a_models_context_is_refused(
    distillkit: CommandLine, run: Path, tmp_path: Path
) -> None:
    short = save(tmp_path / "short", context=8)
    result = distillkit("eval", f"run={run}", "metric=precision_recall", f"reference={short}")
    assert result.code == 2
    assert "leaves no room for an answer in a context of 8" in result.err


def test_a_reference_of_its_own_gives_another_precision(distillkit: CommandLine, run: Path) -> None:
    overrides = ("eval", f"run={run}", "metric=precision_recall", "samples=2")
    assert distillkit(*overrides).code == 0
    by_teacher = results(run)["numbers"]["student"]["precision_recall"]
    assert distillkit(*overrides, "reference=embedded:student").code == 0
    by_start = results(run)["numbers"]["student"]["precision_recall"]
    assert by_start["precision"]["value"] > by_teacher["precision"]["value"]
    assert by_start["recall"] == by_teacher["recall"]


def kept(store: Path) -> int:
    if not store.is_file():
        return 0
    try:
        with sqlite3.connect(store) as connection:
            return connection.execute("SELECT count(*) FROM kept").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


LONG = ("metric=[accuracy,divergence]", "batch_size=4")


@pytest.fixture(scope="module")
def undisturbed(
    distillkit_process: CommandLine, finished_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Numbers of an evaluation that nobody kills."""
    place = tmp_path_factory.mktemp("calm")
    run = Path(shutil.copytree(finished_run, place / "train" / "run"))
    assert distillkit_process("eval", f"run={run}", *LONG, folder=place).code == 0
    return results(run)["numbers"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_evaluation_goes_on_where_it_was(
    number: signal.Signals,
    distillkit: CommandLine,
    started: Start,
    run: Path,
    tmp_path: Path,
    undisturbed: dict[str, Any],
) -> None:
    command = ["eval", f"run={run}", *LONG]
    process = started(*command, folder=tmp_path)
    store, deadline = run.parents[1] / "evidence.sqlite", time.monotonic() + 120
    while kept(store) < 30:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate()
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert "goes on from here" in err
    there = kept(store)
    assert not (run / "evaluation/test/results.json").exists()
    result = distillkit(*command)
    assert result.code == 0
    assert counted(result.out)["made"] == kept(store) - there
    assert results(run)["numbers"] == undisturbed


def test_a_run_without_references_is_measured_by_what_there_is(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    rows = [{"id": str(n), "prompt": f"Say {n}."} for n in range(6)]
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    typed = ["dataset=jsonl", f"dataset.path={folder}", "policy=on_policy", "name=open"]
    typed += ["dataset.response_field=null", "tracker=none"]
    quick = ["steps=1", "evaluation.every=0", "rollout.max_new_tokens=8", "loop.batch_size=2"]
    assert distillkit("train", *typed, *quick).err == ""
    assert distillkit("eval", "run=outputs/train/open", "metric=all").err == ""
    found = results(Path("outputs/train/open"))["numbers"]["student"]
    assert "accuracy" not in found["accuracy"]
    assert found["rouge"] == found["bleu"] == {}
    assert found["divergence"]["forward_kl_own"]["value"] > 0
