"""What is inside a cache, and what may be trained from it."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from distillkit.core.spec import discover, name_of
from distillkit.core.terminal import terminal
from distillkit.opinions.cache_layout import CacheManifest, manifest_of, told_by
from distillkit.opinions.cache_rows import check_files
from distillkit.supports.base import Support


def show_cache(path: Path, *, console: Console | None = None) -> None:
    """Check every file of a cache, and print what it says of itself.

    Raises:
        RunError: it is none, or damaged.
    """
    console = console or terminal()
    discover()
    check_files(path, manifest_of(path))
    tell_cache(path, console)


def tell_cache(path: Path, console: Console) -> None:
    """Print the manifest as a table, and commands that train from the cache."""
    made = manifest_of(path)
    table = Table("", "", title=f"cache {made['name']}", show_header=False)
    for name, value in _lines(made).items():
        table.add_row(name, value)
    console.print(table)
    for line in ("may be trained from it:", *_commands(path, made)):
        console.print(line, soft_wrap=True)


def _lines(made: CacheManifest) -> dict[str, str]:
    costs, positions = made["costs"], made["positions"]
    teacher = ", ".join(str(value) for value in made["teacher"].values() if value)
    return {
        "teacher": teacher,
        "engine": " ".join(each for each in (made["engine"], made["precision"]) if each),
        "kept": f"{_named(made['support'])}, {made['kept']}",
        "texts": f"{made['rows']:,} by the {made['author']} of dataset={made['dataset']['name']} "
        f"({made['dataset']['digest']})",
        "positions": f"{positions:,}",
        "size": f"{made['bytes'] / 1e6:,.1f} MB, {made['bytes'] / max(1, positions):.0f} bytes a "
        "position",
        "tokenizer, template": f"{made['tokenizer']}, {made['template']}",
        "ids": f"{made['ids']['end'] - len(made['ids']['holes']):,}",
        "seed": str(made["seed"]),
        "took": f"{made['seconds']:,.0f} s"
        + (f", {costs['tokens']:,} tokens at {costs['price']:.4f}" if costs["price"] else ""),
    }


def _named(support: Mapping[str, Any]) -> str:
    fields = {name: value for name, value in support.items() if name != "name"}
    return " ".join([support["name"], *(f"{name}={value}" for name, value in fields.items())])


def _commands(path: Path, made: CacheManifest) -> list[str]:
    policy = "seq_kd" if made["author"] == "teacher" else "off_policy"
    given = f"teacher=cached teacher.path={path} policy={policy}"
    lines = [f"{given} {_typed(each)}: {_divergences(each)}" for each in told_by(path)]
    if any(support.dense for support in told_by(path)):
        lines.append(f"{given} with any other support, and objective.teacher_temperature")
    else:
        lines.append("objective.teacher_temperature, teacher_noise and text by a student: none")
    return lines


def _typed(support: Support) -> str:
    said = [f"support.{name}={value}" for name, value in asdict(support).items()]
    return " ".join([f"support={name_of(support)}", *said])


def _divergences(support: Support) -> str:
    if support.UNBIASED:
        return "divergence=forward_kl alone, without a bias"
    fewer = " (or a smaller k)" if hasattr(support, "k") else ""
    return f"any divergence{fewer}"
