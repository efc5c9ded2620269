"""The page, its table and pictures: whole, self-contained, and safe with text from models."""

import io
import json
import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from distillkit.core.errors import RunError
from distillkit.programs.report import report
from distillkit.report.examples import choose, mark
from distillkit.report.markdown import NOTE
from distillkit.report.style import DARK, LIGHT
from tests.conftest import CommandLine
from tests.report.builder import Recipe, build_run

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }} | `*x*`"


class Tags(HTMLParser):
    """Every start tag with its attributes, and all text outside of styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("style", "script"):
            self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def make(paths: list[Path], output: Path, **settings: str) -> Path:
    return report(paths, output=output, console=Console(file=io.StringIO()), **settings)


def test_the_folder_has_a_page_a_table_and_a_picture_each(page: Path) -> None:
    names = {file.name for file in page.parent.iterdir()}
    assert {"report.html", "table.md", "heat-map.png", "learning-loss.png"} <= names
    assert {"precision-recall.png", "fidelity.png", "exposure-bias.png"} <= names
    drawn = Tags(page.read_text()).all("svg")
    assert len([svg for svg in drawn if svg["class"] == "plot"]) == len(
        [name for name in names if name.endswith(".png")]
    )
    assert all((page.parent / name).read_bytes() for name in names)


def test_nothing_on_the_page_points_outside(page: Path) -> None:
    tags = Tags(page.read_text())
    links = [
        value
        for _, attributes in tags.tags
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "action", "srcset")
    ]
    assert links
    assert all(link and link.startswith(("#", "data:,")) for link in links)
    (policy,) = [meta["content"] for meta in tags.all("meta") if meta.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert re.search(r"script-src 'sha256-[^']+'(;|$)", policy)


def test_ids_are_unique_and_every_reference_has_its_target(page: Path) -> None:
    text = page.read_text()
    tags = Tags(text)
    ids = [value["id"] for _, value in tags.tags if "id" in value]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    assert wanted <= set(ids)


def test_every_picture_and_table_says_what_it_is(page: Path) -> None:
    tags = Tags(page.read_text())
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in tags.all("svg"))
    assert len(tags.all("figcaption")) == len(tags.all("figure"))
    assert all(box["aria-label"] for box in tags.all("div") if box.get("role") == "region")
    levels = [int(tag[1]) for tag, _ in tags.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_pictures_take_all_their_colours_from_the_page(page: Path) -> None:
    text = page.read_text()
    drawings = re.findall(r'<svg class="plot".*?</svg>', text, flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert re.findall(r"#[0-9a-fA-F]{6}\b", drawing) == []
        ET.fromstring(drawing.replace("<svg ", '<svg xmlns:xlink="x" ', 1))


def test_text_of_models_and_names_of_runs_stay_text(tmp_path: Path) -> None:
    folder = build_run(tmp_path, Recipe("plain", n=10))
    named = folder.rename(folder.with_name("a<b>&'|x"))
    file = named / "evaluation" / "test" / "items.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        row["prompt"] = row["answer"] = row["texts"]["student"]["text"] = HOSTILE
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = make([named], tmp_path / "out")
    tags = Tags(page.read_text())
    assert len(tags.all("script")) == 1
    assert tags.all("img") == tags.all("b") == []
    assert not any(key.startswith("on") for _, found in tags.tags for key in found)
    assert "{{ 7 * 7 }}" in tags.text
    assert "a<b>&'|x" in tags.text
    (row,) = [line for line in (page.parent / "table.md").read_text().splitlines() if "**" in line]
    assert r"a\<b\>&'\|x" in row


def test_no_diff_no_home_and_no_absolute_path_is_told(page: Path, grid: Path) -> None:
    for file in (page, page.with_name("table.md")):
        text = file.read_text()
        assert "secret" not in text
        assert str(grid.parent.parent) not in text
    assert "e6165330b10f" in page.read_text()


def test_the_same_runs_give_the_same_page(grid: Path, tmp_path: Path) -> None:
    run = next(iter(sorted(grid.parent.parent.glob("train/*"))))
    first, second = (make([run], tmp_path / name) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_the_markdown_table_has_a_row_a_run_and_cells_of_one_count(page: Path) -> None:
    text = page.with_name("table.md").read_text()
    text = text.split(NOTE)[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2 + 6 + 12
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "12 runs of 6 configurations · 60 test examples · seeds 0 and 1 · last weights" in text
    assert "(baseline)" in next(row for row in rows if row.startswith("| A "))


def test_what_each_configuration_took_is_the_mean_over_its_seeds(page: Path) -> None:
    markdown = page.with_name("table.md").read_text().split(NOTE)[1]
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 6
    assert rows[2] == "| A | 100 | 2,000 | 30,500 | 45 |"
    cost = page.read_text().split('<section id="cost"')[1].split("</section>")[0]
    assert cost.count("<td>30,500</td>") == 6
    assert "Cost" in page.read_text().split("<main")[0]


def test_a_report_replaces_a_report_and_nothing_else(grid: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="--output .* is not a report"):
        make([grid], output)
    assert (output / "thesis.tex").read_text() == "years of work"


def test_a_single_run_without_an_evaluation_is_still_a_page(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = make([finished_run], tmp_path / "out")
    text = Tags(page.read_text()).text
    assert "run has no evaluation on the test split." in text
    assert "distillkit eval run=…/run" in text
    assert "Calibration was not measured." in text
    assert (page.parent / "learning-loss.png").is_file()
    assert str(finished_run.parent) not in page.read_text()


def test_a_run_that_was_trained_and_evaluated_for_real_is_read(
    finished_run: Path, distillkit: CommandLine, tmp_path: Path
) -> None:
    shutil.copytree(finished_run, tmp_path / "train" / "real")
    done = distillkit("eval", "run=train/real", "samples=2", "metric=[accuracy,agreement]")
    assert done.code == 0, done.err
    assert distillkit("report", "train/real").code == 0
    page = tmp_path / "outputs" / "report" / "real" / "report.html"
    text = Tags(page.read_text()).text
    assert "has no evaluation" not in text
    assert "agreement, %" in text
    assert "8 test examples" in text
    assert "Answers" in text
    assert "newly right" in text


def test_the_command_line_writes_where_it_says(
    distillkit: CommandLine, grid: Path, tmp_path: Path
) -> None:
    one, other = sorted(grid.parent.parent.glob("train/*"))[:2]
    done = distillkit("report", str(one), str(other), "--baseline", other.name)
    assert done.code == 0, done.err
    (page,) = tmp_path.glob("outputs/report/*/report.html")
    assert str(page.relative_to(tmp_path)) in done.out
    wrong = distillkit("report", str(tmp_path))
    assert (wrong.code, "neither a run directory" in wrong.err) == (2, True)


def test_examples_are_chosen_by_the_rule_and_shown_once() -> None:
    def item(name: str, start: bool, student: bool, answer: str) -> dict:
        return {
            "id": name,
            "prompt": "?",
            "texts": {
                "start": {"text": "x", "answer": "0", "correct": start},
                "student": {"text": "x", "answer": answer, "correct": student},
                "teacher": {"text": "x", "answer": "1", "correct": True},
            },
        }

    items = [
        item("a", True, True, "1"),
        item("b", False, True, "1"),
        item("c", True, False, "2"),
        item("d", False, False, "2"),
        item("e", False, True, "1"),
        item("f", False, True, "1"),
        item("g", True, True, "3"),
    ]
    assert [(shown.kind, shown.id) for shown in choose(items)] == [
        ("newly right", "b"),
        ("newly right", "e"),
        ("newly wrong", "c"),
        ("still wrong", "d"),
        ("unlike the teacher", "g"),
    ]


def test_marked_words_are_those_the_teacher_has_not_and_no_character_is_lost() -> None:
    text = "2 + 3 = 6\n#### 6"
    pieces = mark(text, "2 + 3 = 5\n#### 5")
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text for piece in pieces if piece.marked] == ["6", "6"]
    assert not any(piece.marked for piece in mark(text, text))


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_every_colour_of_a_line_or_letter_can_be_read(palette: dict[str, str]) -> None:
    for role in set(palette) - {"surface", "rule"}:
        assert contrast(palette[role], palette["surface"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio of two colours #rrggbb."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
