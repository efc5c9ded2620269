"""Rules of the house that a reader would otherwise have to check by hand."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import yaml

import distillkit
from distillkit.compose import conf_folder
from distillkit.core.spec import discover
from distillkit.models.loading import EMBEDDED
from scripts import house

PACKAGE = Path(distillkit.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
CONF = conf_folder()
YAMLS = sorted(CONF.rglob("*.yaml"))
SPECS = discover()
GROUPS = {path.split("/")[0] for path in SPECS if "/" in path}
MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(distillkit.__path__, "distillkit.")
    if not found.name.endswith("__main__")
]


CONTRIBUTING = house.PAGE.read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```", "", CONTRIBUTING, flags=re.DOTALL | re.MULTILINE)


def name_of_path(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def nodes(file: Path, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {name_of_path(file): len(file.read_text().splitlines()) for file in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    long = [
        f"{name_of_path(file)}:{node.name}"
        for file in SOURCES
        for node in nodes(file, ast.FunctionDef, ast.AsyncFunctionDef)
        if node.end_lineno - node.lineno + 1 > 50
    ]
    assert long == []


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    assert {file.name for file in SOURCES} & {"utils.py", "helpers.py", "common.py"} == set()


def test_no_except_is_bare() -> None:
    bare = [
        f"{name_of_path(file)}:{node.lineno}"
        for file in SOURCES
        for node in nodes(file, ast.ExceptHandler)
        if node.type is None
    ]
    assert bare == []


@pytest.mark.parametrize("path", SPECS)
def test_every_spec_has_a_yaml_at_its_path(path: str) -> None:
    assert (CONF / f"{path}.yaml").is_file()


@pytest.mark.parametrize("file", YAMLS, ids=lambda file: str(file.relative_to(CONF)))
def test_every_yaml_says_what_it_is_and_fills_a_spec(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# ")
    path = file.relative_to(CONF).with_suffix("")
    if path.parts[0] == "settings":
        return
    if path.parts[0] in {"experiment", "debug"}:
        assert text.startswith("# @package _global_\n# ")
        return
    if path.parts[0] == "domains":
        assert text.startswith("# @package domain\n# ")
        return
    assert len(path.parts) == 1 or path.parts[0] in GROUPS
    defaults = yaml.safe_load(text)["defaults"]
    if path.parts[0] == "metric" and not any("/schema/" in str(item) for item in defaults):
        # A name for several metrics, and nothing else.
        assert set(yaml.safe_load(text)) == {"defaults"}
        return
    (schema,) = (item for item in defaults if "/schema/" in str(item))
    spec = schema.removeprefix("/schema/").removesuffix("@_here_")
    assert spec in SPECS
    assert spec.split("/")[0] == path.parts[0]


def documented(owner: type, name: str) -> bool:
    """Whether a method, the one it overrides, or the protocol it fulfils has a docstring."""
    if inspect.getdoc(inspect.getattr_static(owner, name)):
        return True
    classes = [cls for module in MODULES for _, cls in own(module, inspect.isclass)]
    bases = [cls for cls in classes if cls in owner.__mro__ or getattr(cls, "_is_protocol", False)]
    return any(inspect.getdoc(vars(cls).get(name)) for cls in bases if name in vars(cls))


def own(module: ModuleType, kind: object) -> list[tuple[str, type]]:
    """Public members that a module defines itself."""
    return [
        (name, member)
        for name, member in inspect.getmembers(module, kind)
        if not name.startswith("_") and member.__module__ == module.__name__
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_everything_public_has_a_docstring(module: ModuleType) -> None:
    missing = [] if module.__doc__ else [module.__name__]
    missing += [name for name, function in own(module, inspect.isfunction) if not function.__doc__]
    for name, cls in own(module, inspect.isclass):
        # A dataclass without a docstring is given its signature.
        if not cls.__doc__ or cls.__doc__.startswith(f"{name}("):
            missing.append(name)
        methods = [
            method
            for method, value in vars(cls).items()
            if not method.startswith("_") and (inspect.isroutine(value) or type(value) is property)
        ]
        missing += [f"{name}.{method}" for method in methods if not documented(cls, method)]
    assert missing == []


def schemas() -> list[type]:
    """Every dataclass of ours that a yaml fills: specs, their bases, and what they hold."""
    found: dict[type, None] = {}
    waiting = list(SPECS.values())
    while waiting:
        cls = waiting.pop()
        if cls in found or not dataclasses.is_dataclass(cls):
            continue
        found[cls] = None
        held = [field.type for field in dataclasses.fields(cls)]
        waiting += [*cls.__mro__[1:], *held, *(part for kind in held for part in get_args(kind))]
    return list(found)


@pytest.mark.parametrize("schema", schemas(), ids=lambda cls: cls.__qualname__)
def test_every_field_of_a_spec_is_documented_under_it(schema: type) -> None:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(schema))).body
    undocumented = []
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or "ClassVar" in ast.unparse(node.annotation):
            continue
        # A component that a group fills is documented by its own class.
        if (
            ast.unparse(node.value or node) == "MISSING"
            and ast.unparse(node.annotation)[0].isupper()
        ):
            continue
        if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)):
            undocumented.append(node.target.id)
    assert undocumented == []


def test_the_embedded_weights_are_small() -> None:
    weights = [file.stat().st_size for file in EMBEDDED.rglob("*.safetensors")]
    assert weights
    assert sum(weights) <= 12e6


def test_the_command_line_starts_without_anything_heavy() -> None:
    code = "import sys, distillkit.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "hydra", "omegaconf", "wandb", "datasets", "matplotlib"}
    assert heavy & set(done.stdout.split()) == set()


SHOWN = {"train": ["experiment=minillm_gpt2_120m"], "undo": [], "eval": ["run=x", "metric=all"]}
"""What ``show`` is asked for by verb: all kinds of components."""


def test_composing_loads_no_library_that_only_running_needs() -> None:
    code = f"""
import sys
from distillkit.cli import app
for verb, overrides in {SHOWN}.items():
    app(["show", "--verb", verb, *overrides], standalone_mode=False)
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    running = {"transformers", "datasets", "scipy", "statsmodels", "pandas", "matplotlib", "wandb"}
    judging = {"sacrebleu", "rouge_score", "math_verify", "lm_eval", "openai"}
    assert (running | judging | {"torch._dynamo"}) & loaded == set()


def test_the_picture_of_the_house_is_made_of_the_import_floors() -> None:
    """Else: ``python -m scripts.house --write``."""
    assert house.with_block(CONTRIBUTING) == CONTRIBUTING


def test_every_package_has_a_floor_of_its_own() -> None:
    floors = sorted(module for floor in house.layers() for module in floor)
    inside = {found.name for found in pkgutil.iter_modules(distillkit.__path__, "distillkit.")}
    assert floors == sorted(inside - {"distillkit.__main__"})


def test_a_first_sentence_is_read_from_a_package_and_from_a_module() -> None:
    assert house.first_sentence("distillkit.policies") == "Policies: who writes the next response."
    assert house.first_sentence("distillkit.cli") == "The command line."


def test_every_path_that_contributing_names_exists() -> None:
    spans = re.findall(r"`([\w./-]+)`", PROSE) + re.findall(r"\]\(([^)#]+)\)", PROSE)
    files = {span for span in spans if "/" in span or span.endswith((".py", ".yaml", ".md"))}
    assert len(files) > 50
    assert [file for file in sorted(files) if not (house.ROOT / file).exists()] == []


def test_every_name_that_contributing_places_in_a_file_is_there() -> None:
    placed = re.findall(r"`(\w+)`\s+in\s+`([\w./]+\.py)`", PROSE)
    assert len(placed) > 20
    missing = [
        (name, file)
        for name, file in placed
        if not re.search(rf"^(class |def |    )?{name}\b", (house.ROOT / file).read_text(), re.M)
    ]
    assert missing == []


def test_every_make_target_that_contributing_names_is_one() -> None:
    targets = re.findall(r"^(\w+):", (house.ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"(?:^|`)make (\w+)", CONTRIBUTING, re.MULTILINE))
    assert named
    assert named <= set(targets)
