"""The control of a training: SFT on the same labels, chosen by validation, trained once."""

import json
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.core.errors import ConfigError
from distillkit.programs.train.control import control_of
from distillkit.programs.train.fields import check_fields
from distillkit.statistics.paired import mcnemar

from .conftest import SMOKE, CommandLine, contents
from .test_bad_input import said

RATES = (1.0, 1e-5)
TYPED = (*SMOKE, "name=run", "policy=on_policy", "control=sft", "control.rates=[1.0,1e-5]",
         "dataset.labelled=6", "dataset.test=40",
         "evaluation.validation=40", "dataset.validation=40")  # fmt: skip
RUNS = Path("outputs/train")


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def verdicts(folder: Path) -> list[bool]:
    lines = (folder / "verdicts.jsonl").read_text().splitlines()
    return [json.loads(line)["student"] for line in lines]


def test_a_control_is_trained_for_each_rate_and_compared_example_by_example(
    distillkit: CommandLine,
) -> None:
    done = distillkit("train", *TYPED)
    assert done.code == 0, done.err
    found = read(RUNS / "run", "control.json")
    controls = sorted(path for path in RUNS.iterdir() if path.name != "run")
    assert len(controls) == len(RATES)
    for folder in controls:
        summary = read(folder, "summary.json")
        assert summary["budget"]["gold_labels"] == 6
        assert summary["selection"].startswith("best-by-validation")
    scores = found["validation"]
    assert scores["1"] < scores["1e-05"]
    assert scores[f"{found['rate']:g}"] == max(scores.values())
    mine, theirs = verdicts(RUNS / "run"), verdicts(RUNS / found["run"])
    assert len(mine) == read(RUNS / "run", "summary.json")["student_after"]["n"]
    assert found["difference"] == mcnemar(mine, theirs).as_dict()
    assert sum(mine) / len(mine) == read(RUNS / "run", "summary.json")["student_after"]["accuracy"]

    before = {name: there for name, there in contents(RUNS).items() if name != "run/control.json"}
    again = distillkit("train", *TYPED)
    after = {name: there for name, there in contents(RUNS).items() if name != "run/control.json"}
    assert again.code == 0
    assert "SFT on the same labels, optimizer.lr" not in again.out
    assert after == before


def test_methods_with_the_same_labels_share_their_control() -> None:
    common = ["tracker=none", "control=sft", "dataset.labelled=9"]
    methods = [
        ["policy=on_policy", "divergence=jsd", "beta=0.3", "name=one"],
        ["objective=minillm", "policy=teacher_mixed", "loop.group=2", "loop.collect=2"],
        ["policy=seq_kd", "objective=sft", "support=full", "optimizer.lr=3e-5"],
    ]
    prints = {
        control_of(compose("train", [*common, *method]), 1e-3).fingerprint for method in methods
    }
    assert len(prints) == 1
    fewer = compose("train", ["tracker=none", "control=sft", "dataset.labelled=8"])
    assert control_of(fewer, 1e-3).fingerprint not in prints


def test_a_control_changes_nothing_of_the_run_itself() -> None:
    plain, watched = (compose("train", ["tracker=none", *more]) for more in ([], ["control=sft"]))
    assert plain.fingerprint == watched.fingerprint


def test_a_control_is_the_run_that_sft_would_be() -> None:
    typed = ["tracker=none", "dataset.labelled=9", "seed=3", "steps=40"]
    plain = compose("train", [*typed, "experiment=sft", "teacher=null", "optimizer.lr=1e-4",
                              "checkpoint.export=best"])  # fmt: skip
    control = control_of(compose("train", [*typed, "control=sft", "policy=on_policy"]), 1e-4)
    assert control.fingerprint == plain.fingerprint


@pytest.mark.parametrize("rates", ["[]", "[0.0]", "[-1.0,1e-3]"])
def test_rates_that_are_none_are_refused(rates: str, distillkit: CommandLine) -> None:
    said(distillkit("train", *SMOKE, "control=sft", f"control.rates={rates}"), "control.rates=")


@pytest.mark.parametrize(
    "lacking", ["evaluation.every=0", "evaluation.test=0", "dataset.labelled=0"]
)
def test_a_control_needs_labels_validations_and_a_test_split(lacking: str) -> None:
    typed = ["control=sft", "policy=on_policy", lacking]
    with pytest.raises(ConfigError, match=f"control=sft .*{lacking}"):
        check_fields(compose("train", typed).run, typed)


def test_a_control_without_references_is_refused_before_anything_is_trained(
    distillkit: CommandLine,
) -> None:
    Path("rows").mkdir()
    for split in ("train", "validation", "test"):
        Path(f"rows/{split}.jsonl").write_text(4 * '{"prompt": "Say 1"}\n')
    typed = (
        *SMOKE,
        "dataset=jsonl",
        "dataset.path=rows",
        "dataset.response_field=null",
        "policy=on_policy",
        "control=sft",
    )
    said(
        distillkit("train", *typed, "evaluation.test=2"), "no reference", "control=sft would train"
    )
    assert not RUNS.exists()


def test_a_control_on_running_text_is_shown_without_a_difference(distillkit: CommandLine) -> None:
    Path("text").mkdir()
    for split in ("train", "validation", "test"):
        Path(f"text/{split}.jsonl").write_text(6 * '{"text": "Emma has 14 shells."}\n')
    done = distillkit(
        "train", *SMOKE, "name=run", "dataset=text", "dataset.path=text", "policy=off_policy",
        "control=sft", "control.rates=[1e-3]",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "not told" in done.out
    assert read(RUNS / "run", "control.json")["difference"] is None


@pytest.mark.parametrize("typed", ["control=null", "~control"])
def test_a_control_can_be_left_out_as_every_sentence_about_it_says(typed: str) -> None:
    assert compose("train", ["experiment=few_labels"]).run.control is not None
    without = compose("train", ["experiment=few_labels", typed])
    assert without.run.control is None
    with pytest.raises(ConfigError, match=r"control.rates=\[1e-4\] has no effect beside"):
        compose("train", [typed, "control.rates=[1e-4]"])
