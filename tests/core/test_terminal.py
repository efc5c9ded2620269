"""Every text is printed as it is, on every terminal."""

import ast
from pathlib import Path

import pytest
from rich.table import Table

import distillkit
from distillkit.core.terminal import WIDE, terminal

HOSTILE = "[red]x[/red] [/x] [a] :smile: 'a' 1e-3"
PACKAGE = Path(distillkit.__file__).parent


def test_texts_and_cells_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=HOSTILE, caption=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    console = terminal()
    console.print(HOSTILE)
    console.print(table)
    assert capsys.readouterr().out.count(HOSTILE) == 5


@pytest.mark.parametrize("columns", ["1", "0", "x", ""])
def test_a_terminal_of_no_width_still_shows_a_table(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table = Table("number", "value")
    table.add_row("accuracy", "30.0%")
    terminal().print(table)
    assert "accuracy │ 30.0%" in capsys.readouterr().out


def test_without_a_terminal_there_are_as_many_columns_as_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert [terminal().width, terminal(columns=WIDE).width] == [80, 120]


def calls(name: str) -> list[tuple[str, ast.Call]]:
    return [
        (str(file.relative_to(PACKAGE)), node)
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    ]


def test_there_is_no_other_way_to_a_console() -> None:
    assert [file for file, _ in calls("Console")] == ["core/terminal.py"]
    assert calls("from_markup") == []


def test_descriptions_of_bars_are_no_markup_either() -> None:
    found = calls("TextColumn")
    assert found
    for file, call in found:
        assert [key.arg for key in call.keywords if not key.value.value] == ["markup"], file
