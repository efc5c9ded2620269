"""Divergences with policies, and every named experiment, run for two steps.

Of the grid of divergences and policies, whose parts know nothing of each other, two diagonals run,
in which each divergence meets two policies; `make smoke` and the slow tests run all of it.
"""

from pathlib import Path

import pytest

from distillkit.compose import conf_folder
from distillkit.core.spec import discover

from .conftest import SMOKE, CommandLine
from .tiny import save

DIVERGENCES = sorted(path.split("/")[1] for path in discover() if path.startswith("divergence/"))
POLICIES = sorted(path.split("/")[1] for path in discover() if path.startswith("policy/"))
EXPERIMENTS = sorted(
    file.stem
    for file in (conf_folder() / "experiment").glob("*.yaml")
    if not file.stem.startswith("undo_")
)
FAMILIES = {"gpt2": "gpt2", "opt": "opt", "llama": "llama", "dolly": "gpt2", "smollm2": "llama"}
"""Families of models on the hub, by the part of an experiment's name that says so."""
QUICK = (*SMOKE, "evaluation.every=0", "evaluation.test=2", "name=run")


def pairs() -> list:
    """Every pair, those off the two diagonals marked slow."""
    slow = [pytest.mark.slow]
    found = []
    for row, divergence in enumerate(DIVERGENCES):
        for column, policy in enumerate(POLICIES):
            quick = (row - column) % len(POLICIES) in (0, 2)
            found.append(pytest.param(divergence, policy, marks=[] if quick else slow))
    return found


@pytest.mark.parametrize(("divergence", "policy"), pairs())
def test_a_pair_trains(
    divergence: str, policy: str, distillkit: CommandLine, tmp_path: Path
) -> None:
    done = distillkit("train", *QUICK, f"divergence={divergence}", f"policy={policy}")
    assert done.code == 0, done.err
    assert (tmp_path / "outputs/train/run/summary.json").is_file()


def stand_ins(experiment: str, folder: Path) -> list[str]:
    """Overrides that put tiny models of the family, and text from here, in place of the hub's."""
    if experiment == "rl_distil":
        return ["loop.group=2"]
    if experiment == "few_labels":
        return ["dataset.labelled=4", "evaluation.every=1", "evaluation.validation=2"]
    families = [family for part, family in FAMILIES.items() if part in experiment]
    if not families:
        return []
    sides = ["student"] if experiment == "dolly_sft" else ["student", "teacher"]
    named = [
        f"{side}.name={save(folder / side, families[0], context=512, seed=seed)}"
        for seed, side in enumerate(sides)
    ]
    if "smollm2" in experiment:
        named += ["student.prompt=plain", "teacher.prompt=plain"]
    if "recover" in experiment:
        (folder / "story.txt").write_text("Once upon a time there were 12 apples. " * 400)
        return [*named, f"dataset.path={folder / 'story.txt'}", "dataset.validation_share=8"]
    if "minillm" in experiment:
        text = folder / "text.jsonl"
        text.write_text('{"text": "Once upon a time."}\n' * 40)
        named += ["dataset_pt.repository=null", "dataset_pt.documents=null"]
        named += [f"dataset_pt.path={text}", "loop.collect=1", "loop.inner_epochs=2"]
    return [*named, "dataset=arithmetic", "checkpoint.export=last"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_trains(experiment: str, distillkit: CommandLine, tmp_path: Path) -> None:
    done = distillkit("train", f"experiment={experiment}", *QUICK, *stand_ins(experiment, tmp_path))
    assert done.code == 0, done.err
    assert (tmp_path / "outputs/train/run/summary.json").is_file()
