"""A user's own function as a reward: how it is called, and every way in which it can be wrong."""

import importlib
import sys
from pathlib import Path

import pytest

from distillkit.core.errors import ConfigError, DataError
from distillkit.core.types import Answer, Example, Message
from distillkit.rewards.python import PythonFunction
from tests.rewards.judged import CPU, answer, rewards, rows

PLUG_IN = """
import torch

SEEN = []
constant = 3

def lengths(prompts, responses, references, answers):
    SEEN.append((prompts, responses, references, answers))
    return [len(response) for response in responses]

def tensor(answers, responses, *, prompts, **rest):
    return torch.tensor([len(response) / 2 for response in responses])

def one_more(prompts, responses, references, answers):
    return [0.0] * (len(responses) + 1)

def nothing(prompts, responses, references, answers):
    pass

def words(prompts, responses, references, answers):
    return responses

def pairs(prompts, responses, references, answers):
    return torch.zeros(len(responses), 2)

def undefined(prompts, responses, references, answers):
    return [0.0, float("nan")]

def completions(prompts, completions):
    return [0.0 for _ in completions]

def broken(prompts, responses, references, answers):
    return 1 / 0
"""


@pytest.fixture(autouse=True)
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module of a package that is as good as installed."""
    package = tmp_path / "installed" / f"plugged_{tmp_path.name}"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(PLUG_IN)
    (package / "unwell.py").write_text("import no_such_library")
    (package / "unfinished.py").write_text("def f(:")
    monkeypatch.syspath_prepend(package.parent)
    return f"{package.name}"


def judged(function: str, folder: Path) -> list[float]:
    two = (answer("abc", name="first"), answer("d", name="second"))
    return rewards(PythonFunction(function=function), rows(folder, {}), *two)


def test_a_function_gets_four_lists_of_texts_and_gives_the_rewards(
    plug_in: str, tmp_path: Path
) -> None:
    turns = (Message("system", "Be kind."), Message("user", "Why?"))
    answers = [
        Answer(Example("a", turns, "because", "B"), "text", (0,) * 4, False),
        Answer(Example("b", turns[1:], "", ""), "", (0,), True),
    ]
    reward = PythonFunction(function=f"{plug_in}.mine:lengths")
    found = reward.judge(rows(tmp_path, {}), device=CPU)(answers)
    assert found == [4.0, 0.0]
    assert all(type(value) is float for value in found)
    assert importlib.import_module(f"{plug_in}.mine").SEEN == [
        (["Be kind.\n\nWhy?", "Why?"], ["text", ""], ["because", ""], ["B", ""])
    ]


def test_a_tensor_is_a_list_of_numbers_and_the_order_of_parameters_is_free(
    plug_in: str, tmp_path: Path
) -> None:
    assert judged(f"{plug_in}.mine:tensor", tmp_path) == [1.5, 0.5]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("PLUG.mine:one_more", "gave 3 numbers for 2 responses"),
        ("PLUG.mine:nothing", "gave what is no list of numbers .*Return one for each response"),
        ("PLUG.mine:words", "gave what is no list of numbers .*'abc'"),
        ("PLUG.mine:pairs", "gave what is no list of numbers"),
        ("PLUG.mine:constant", r"is no function of the module plugged_\w+\.mine\. Name one"),
        ("PLUG.mine:absent", "is no function of the module"),
        ("PLUG.mine:completions", "does not fit .*prompts, responses, references, answers"),
        ("PLUG.nowhere:f", r"cannot be imported \(No module named .*PYTHONPATH="),
        ("PLUG.unwell:f", "cannot be imported .*no_such_library"),
        ("PLUG.unfinished:f", "cannot be imported .*unfinished.py"),
        # What is installed anyway must not be callable by a yaml from a stranger.
        ("os:system", "does not fit"),
        ("subprocess:run", "does not fit"),
        ("builtins:exec", "does not fit"),
        ("builtins:dict", "does not fit"),
    ],
)
def test_a_function_that_cannot_judge_is_refused_in_one_sentence(
    plug_in: str, tmp_path: Path, function: str, words: str
) -> None:
    function = function.replace("PLUG", plug_in)
    with pytest.raises(ConfigError, match=rf"^reward\.function={function} {words}"):
        judged(function, tmp_path)


def test_a_value_that_is_no_finite_number_is_named_with_its_example(
    plug_in: str, tmp_path: Path
) -> None:
    words = r"^reward\.function=\S+:undefined gave nan for the example second and .* 'd'"
    with pytest.raises(DataError, match=words):
        judged(f"{plug_in}.mine:undefined", tmp_path)


def test_what_the_function_itself_raises_keeps_its_traceback(plug_in: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        judged(f"{plug_in}.mine:broken", tmp_path)


@pytest.mark.parametrize(
    "function", ["", "mine", "mine.f", "a/b.py:f", "./mine:f", "..mine:f", "m:f()", "m:f.g", "1m:f"]
)
def test_what_is_no_name_of_a_module_and_its_function_is_refused(function: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form package.module:name"):
        PythonFunction(function=function)


def test_a_file_in_the_folder_that_one_stands_in_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lying_here.py").write_text("raise SystemExit")
    monkeypatch.setattr("sys.path", [place for place in sys.path if place])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="lying_here:f cannot be imported"):
        judged("lying_here:f", tmp_path)
