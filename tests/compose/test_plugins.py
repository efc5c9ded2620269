"""Components of the user's own, from files that are typed and from no others."""

from pathlib import Path

import pytest

from distillkit.compose import compose, reopen
from distillkit.core.errors import ConfigError, RunError
from distillkit.core.spec import ORIGINS, SPECS, discover

from ..conftest import CommandLine
from .test_reopening import leave

SOURCE = """
from distillkit.core.spec import spec
from distillkit.divergences.jsd import JensenShannon

@spec("divergence/mine")
class Mine(JensenShannon):
    beta: float = 0.3
"""


@pytest.fixture(autouse=True)
def _forget() -> object:
    before = dict(discover())
    yield
    SPECS.clear()
    SPECS.update(before)
    ORIGINS.clear()


def plugin(folder: Path, source: str = SOURCE, name: str = "mine.py") -> str:
    (folder / name).write_text(source)
    return str(folder / name)


def test_one_file_is_a_component(tmp_path: Path) -> None:
    given = plugin(tmp_path)
    composed = compose("train", ["divergence=mine", "divergence.beta=0.2"], plugins=[given])
    assert type(composed.run.divergence).__name__ == "Mine"
    assert composed.run.objective.divergence.beta == 0.2
    again = reopen(leave(tmp_path / "run", composed))
    assert again.run == composed.run


def test_a_yaml_of_the_users_own_fills_the_component(tmp_path: Path) -> None:
    file = tmp_path / "own/divergence/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("defaults: [/schema/divergence/mine@_here_, _self_]\nbeta: 0.7\n")
    given = {"plugins": [plugin(tmp_path)], "config_dir": tmp_path / "own"}
    assert compose("train", ["divergence=mine"], **given).run.divergence.beta == 0.7


def test_a_changed_file_is_another_configuration(tmp_path: Path) -> None:
    first = compose("train", ["divergence=mine"], plugins=[plugin(tmp_path)]).fingerprint
    changed = plugin(tmp_path, f"{SOURCE}\n# Changed.\n")
    assert compose("train", ["divergence=mine"], plugins=[changed]).fingerprint != first


def test_a_run_whose_component_is_not_given_asks_for_it(tmp_path: Path) -> None:
    composed = compose("train", ["divergence=mine"], plugins=[plugin(tmp_path)])
    folder = leave(tmp_path / "run", composed)
    del SPECS["divergence/mine"]
    with pytest.raises(RunError, match=r"divergence=mine is no option.*--plugin"):
        reopen(folder)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("raise SystemExit(3)", "cannot be imported (SystemExit: 3)"),
        ("import nowhere_to_be_found", "cannot be imported (ModuleNotFoundError"),
        ("def (", "cannot be imported (SyntaxError"),
        ("x = 1", "brings no component"),
        (SOURCE.replace("divergence/mine", "divergence/jsd"), "takes the name divergence/jsd"),
        (SOURCE.replace("divergence/mine", "nowhere/mine"), "in no group of distillkit"),
    ],
)
def test_a_file_that_is_no_plug_in_is_one_sentence(
    source: str, words: str, tmp_path: Path, distillkit: CommandLine
) -> None:
    before = dict(SPECS)
    given = plugin(tmp_path, source, "bad.py")
    result = distillkit("show", "--plugin", given)
    assert result.code == 2
    assert result.err.startswith(f"distillkit: --plugin {given} ")
    assert words in result.err
    assert before == SPECS


@pytest.mark.parametrize("given", ["missing.py", "no.such.module", "", "..", "a b"])
def test_a_plug_in_that_is_not_there_is_named(given: str) -> None:
    with pytest.raises(ConfigError, match="--plugin .*cannot be imported"):
        compose("train", [], plugins=[given])


def test_nothing_is_imported_that_was_not_typed(tmp_path: Path) -> None:
    plugin(tmp_path / ".", "raise AssertionError", "experiment.py")
    (tmp_path / "divergence").mkdir()
    plugin(tmp_path / "divergence", "raise AssertionError")
    with pytest.raises(ConfigError, match="there is no such option"):
        compose("train", ["divergence=mine"], config_dir=tmp_path)
