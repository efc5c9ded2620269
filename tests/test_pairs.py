"""Every divergence with every policy, and every named experiment, run for two steps."""

from pathlib import Path

import pytest

from distillkit.compose import conf_folder
from distillkit.core.spec import discover

from .conftest import SMOKE, CommandLine

DIVERGENCES = sorted(path.split("/")[1] for path in discover() if path.startswith("divergence/"))
POLICIES = sorted(path.split("/")[1] for path in discover() if path.startswith("policy/"))
EXPERIMENTS = sorted(
    file.stem
    for file in (conf_folder() / "experiment").glob("*.yaml")
    if not file.stem.startswith("undo_")
)
QUICK = (*SMOKE, "evaluation.every=0", "evaluation.test=2", "name=run")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_pair_trains(
    divergence: str, policy: str, distillkit: CommandLine, tmp_path: Path
) -> None:
    done = distillkit("train", *QUICK, f"divergence={divergence}", f"policy={policy}")
    assert done.code == 0, done.err
    assert (tmp_path / "outputs/train/run/summary.json").is_file()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_trains(experiment: str, distillkit: CommandLine, tmp_path: Path) -> None:
    done = distillkit("train", *QUICK, f"experiment={experiment}")
    assert done.code == 0, done.err
    assert (tmp_path / "outputs/train/run/summary.json").is_file()
