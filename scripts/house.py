"""The packages of distillkit as a picture, made from the import floors of pyproject.toml.

    python -m scripts.house            # print the block
    python -m scripts.house --write    # replace it in CONTRIBUTING.md

A row is a layer: it may import what stands below it, and nothing beside or above.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
CONTRACT = "Imports point down only"
BEGIN, END = "<!-- house: begin -->", "<!-- house: end -->"
"""What stands around the block in the page."""


def main(
    write: Annotated[bool, typer.Option("--write", help="Replace it in CONTRIBUTING.md.")] = False,
) -> None:
    """Print the block, or put it where it belongs."""
    if write:
        PAGE.write_text(with_block(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(block())


def layers() -> list[list[str]]:
    """Packages and modules of each floor, the highest first."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (floors,) = (each["layers"] for each in contracts if each["name"] == CONTRACT)
    return [[name.strip() for name in floor.split("|")] for floor in floors]


def block() -> str:
    """A Mermaid diagram, one row a layer."""
    return "\n".join(["```mermaid", "flowchart TB", *_lines(layers()), "```"])


def with_block(page: str) -> str:
    """The page with the block as it is now.

    Raises:
        ValueError: the page lacks one of the two markers.
    """
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{block()}\n{END}{after}"


def first_sentence(module: str) -> str:
    """The first sentence of a package's or a module's docstring, which is read, not imported."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return f"{' '.join(told.split()).split('. ')[0].removesuffix('.')}."


def _lines(floors: list[list[str]]) -> Iterator[str]:
    for number, floor in enumerate(floors):
        yield f'    subgraph floor{number}[" "]'
        yield "        direction TB"
        for module in floor:
            name, told = module.rpartition(".")[2], first_sentence(module).replace('"', "#quot;")
            yield f'        {name}["<b>{name}</b><br/>{told}"]'
        yield "    end"
    yield "    " + " --> ".join(f"floor{number}" for number in range(len(floors)))


if __name__ == "__main__":
    typer.run(main)
