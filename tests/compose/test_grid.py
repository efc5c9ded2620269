"""Sweeps speak as train does: one sentence before the first cell, from folders of any name."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from distillkit.compose import grid_of
from distillkit.core.errors import ConfigError
from distillkit.programs import sweep as program

from ..conftest import SMOKE, CommandLine, contents
from ..test_bad_input import said

REFUSED = [
    (["divergence=jsd,nope"], "the cell divergence=nope cannot be run, so none has", "reverse_kl"),
    (["seed="], "seed: Value ''", "Integer"),
    (["output=a,b"], "output would differ between cells (a, b)", "one output"),
    (["stepss=3"], "stepss", "distillkit show"),
    (["hydra/launcher=nope"], "hydra/launcher=nope: there is no such option", "joblib"),
    (["hydra/sweeper=nope"], "hydra/sweeper=nope: there is no such option", "optuna"),
    ([""], "'' cannot be read", "field=value"),
    (["--config-dir", "nodir"], "--config-dir nodir", "yaml files"),
    (["hydra.sweep.dir=x"], "hydra.sweep.dir=x is no setting", "hydra/launcher"),
    (["hydra.launcher.nope=1"], "nope", "distillkit show"),
    (["divergence=forward_kl,jsd", "beta=0.1"], "the cell divergence=forward_kl", "beta=0.1"),
    (["seed=range(1,100000000)"], "more than 2000 cells", "fewer"),
    (["seed=range(3,3)"], "seed=range(3,3) holds no value", "seed=0,1"),
    (["seed=interval(0,1)"], "no end of values", "hydra/sweeper=optuna"),
    (["name=x", "seed=0,1"], "name=x would be the name of several cells", "Leave it out"),
    (["name=lr=1e-3"], "'name=\"lr=1e-3\"'"),
    (["debug=[1,2],[3]"], "a group takes the name of an option"),
    (["hydra/sweeper=optuna", "steps=choice(3,0)"], "the cell steps=0", "at least 1"),
]


@pytest.mark.parametrize(
    ("typed", "words"), [pytest.param(case, words, id=" ".join(case)) for case, *words in REFUSED]
)
def test_a_grid_that_cannot_be_run_is_refused_before_its_first_cell(
    typed: list[str], words: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    if "optuna" in str(typed):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    if "launcher=nope" in str(typed):
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    said(distillkit("sweep", *SMOKE, *typed), *words)
    assert contents(tmp_path) == {}


def test_a_chooser_is_tried_with_every_value_once() -> None:
    grid = grid_of(["hydra/sweeper=optuna", "seed=1,2,3", "steps=interval(4,5)", "divergence=tvd"])
    assert grid.chooses
    assert grid.varied == ["seed", "steps"]
    assert {item for cell in grid.cells for item in cell} == {
        *("seed=1", "seed=2", "seed=3", "steps=4.0", "steps=5.0", "divergence=tvd")
    } or {item for cell in grid.cells for item in cell} == {
        *("seed=1", "seed=2", "seed=3", "steps=4", "steps=5", "divergence=tvd")
    }
    assert len(grid.cells) == 4


def test_every_cell_of_a_grid_is_one_choice_of_each() -> None:
    cells = grid_of(["seed=1,2", "tracker.tags=[a,b],[c]", "steps=3"]).cells
    assert len(cells) == 4
    assert ["seed=2", "tracker.tags=[c]", "steps=3"] in cells


def test_optuna_maximises_and_outlives_failures_unless_told_otherwise() -> None:
    told = program._told(grid_of(["hydra/sweeper=optuna"]))
    assert "hydra.sweeper.direction=maximize" in told
    assert "hydra.sweeper.max_failure_rate=1.0" in told
    mine = grid_of(["hydra/sweeper=optuna", "hydra.sweeper.direction=minimize"])
    assert program._told(mine) == ["hydra.sweeper.max_failure_rate=1.0"]
    assert program._told(grid_of(["seed=1,2"])) == []


def test_a_table_shows_what_was_typed_though_it_looks_like_markup() -> None:
    tags = ["tracker.tags=[a,b]", "tracker.tags=[c]", "name=[/x]"]
    cells = [
        {"overrides": [tag], "status": "failed", "run": "outputs/train/[bold]"} for tag in tags
    ]
    console = Console(file=io.StringIO(), width=200)
    console.print(program._table(cells, title="sweep"))
    text = console.file.getvalue()
    for tag in [*tags, "[bold]"]:
        assert tag in text


def test_a_bad_cell_refuses_the_whole_grid(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the cell seed=0 steps=0 cannot be run, so none has"):
        program.sweep([*SMOKE, f"output={tmp_path}", "seed=0,1", "steps=1,0"])
    assert contents(tmp_path) == {}
