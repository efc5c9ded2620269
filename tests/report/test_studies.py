"""Pages of studies: what was asked, tables, pictures and sentences, and no file but theirs."""

import base64
import json
import shutil
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.core.cells import cells_of, write_table
from distillkit.core.errors import ConfigError, RunError
from distillkit.core.rundir import RunDirectory
from distillkit.core.terminal import terminal
from distillkit.programs.study.folder import claimed, directory_of, finish
from distillkit.report.runs import gather
from distillkit.report.settings import without_places
from tests.conftest import CommandLine
from tests.report.builder import Recipe, build_run
from tests.report.test_page import HOSTILE, Tags, make

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MIXTURE = (
    *("study", "explanation", "mixture", "seeds=[0,1]", "betas=[1,100]", "tracker=none"),
    *("levels.test=200", "levels.samples=100", "levels.drawn=200", "name=small"),
)


def build_study(output: Path, *, said: str = "It agrees.", rows: int = 3) -> RunDirectory:
    """A study's folder as ``finish`` leaves it."""
    typed = ["name=built", f"output={output}", "seeds=[0,1]", "tracker=none"]
    composed = compose("mixture", typed)
    directory = directory_of(composed, "mixture")
    with claimed(composed, directory, terminal()):
        lines = [f"{at},{at / 7},/home/me/runs/{at}," for at in range(rows)]
        (directory.path / "table.csv").write_text("\n".join(["n,share,run,none", *lines]) + "\n")
        (directory.path / "dots.png").write_bytes(PNG)
        (directory.path / "other.txt").write_text("not to be shown")
        finish(
            composed,
            directory,
            "mixture",
            {},
            shown={
                "tables": [{"title": "Numbers", "file": "table.csv"}],
                "pictures": [{"title": "Dots", "file": "dots.png", "alt": "one dot"}],
                "said": [said],
            },
        )
    return directory


def test_a_study_without_trainings_has_a_page_of_its_own(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    assert distillkit(*MIXTURE).code == 0
    done = distillkit("report", "outputs/study/mixture/small")
    assert (done.code, done.err) == (0, "")
    page = tmp_path / "outputs" / "report" / "small" / "report.html"
    tags = Tags(page.read_text())
    assert "Study mixture small" in tags.text
    assert "seeds=[0,1] betas=[1,100]" in tags.text
    assert "the paper" in tags.text
    (picture,) = tags.all("img")
    assert "Precision and recall against beta" in (picture["alt"] or "")
    told = base64.b64decode((picture["src"] or "").removeprefix("data:image/png;base64,"))
    assert told == Path("outputs/study/mixture/small/mixture.png").read_bytes()
    ids = [value["id"] for _, value in tags.tags if "id" in value]
    assert len(ids) == len(set(ids))
    assert "Answers" not in tags.text
    summary = json.loads(Path("outputs/study/mixture/small/summary.json").read_text())
    for shown in summary["shown"]["tables"]:
        head = Path("outputs/study/mixture/small", shown["file"]).read_text().splitlines()[0]
        assert all(column in tags.text for column in head.split(","))
    markdown = page.with_name("table.md").read_text()
    assert "| 100 |" in markdown
    again = distillkit(*MIXTURE)
    assert (again.code, "already done" in again.out) == (0, True)


def test_numbers_are_cut_to_four_digits_and_places_to_their_last_name(tmp_path: Path) -> None:
    page = make([build_study(tmp_path / "out").path], tmp_path / "page")
    text = page.read_text()
    assert "<td>0.1429</td><td>…/1</td><td>–</td>" in text
    assert "/home/me" not in text
    assert str(tmp_path) not in text
    assert "not to be shown" not in text


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    page = make([build_study(tmp_path / "out", rows=1500).path], tmp_path / "page")
    assert "table.csv has 1,300 rows more." in Tags(page.read_text()).text
    assert "1,300 rows more." in page.with_name("table.md").read_text()


def test_sentences_of_a_study_stay_text(tmp_path: Path) -> None:
    tags = Tags(make([build_study(tmp_path, said=HOSTILE).path], tmp_path / "page").read_text())
    assert len(tags.all("script")) == len(tags.all("img")) == 1
    assert "{{ 7 * 7 }}" in tags.text


def test_a_study_is_shown_beside_runs_and_with_its_own(tmp_path: Path) -> None:
    study = build_study(tmp_path / "out")
    runs = [build_run(study.path, Recipe(name, n=10, seed=at)) for at, name in enumerate("ab")]
    write_table(study.path, [{"run": str(run), "overrides": [f"name={run.name}"]} for run in runs])
    text = Tags(make([study.path], tmp_path / "page").read_text()).text
    for part in ("What was found", "It agrees.", "Results", "2 runs", "10 test examples"):
        assert part in text
    other = build_run(tmp_path, Recipe("other", n=10))
    both = Tags(make([study.path, other], tmp_path / "both").read_text()).text
    assert "It agrees." in both
    assert "3 runs" in both


def test_the_trainings_of_a_study_that_was_moved_are_found_inside(tmp_path: Path) -> None:
    study = build_study(tmp_path / "out")
    run = build_run(study.path, Recipe("inside", n=10))
    write_table(study.path, [{"run": str(run), "overrides": []}])
    moved = tmp_path / "elsewhere" / "deep" / "study"
    shutil.move(study.path, moved)
    ((_, found),) = cells_of(moved)
    assert found == moved / "train" / "inside"
    assert [each.name for each in gather([moved], split="test").runs] == ["inside"]


def test_a_baseline_of_a_study_without_runs_is_refused(tmp_path: Path) -> None:
    study = build_study(tmp_path / "out")
    with pytest.raises(ConfigError, match="--baseline some: there is no run to compare"):
        make([study.path], tmp_path / "page", baseline="some")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / "table.csv").write_text("n\n1\n"), "table.csv has changed"),
        (lambda path: (path / "dots.png").unlink(), "dots.png is missing"),
        (lambda path: (path / "run.yaml").write_text("seeds: [0]"), "run.yaml has changed"),
    ],
)
def test_a_file_that_is_not_what_the_study_left_is_named(
    change: object, words: str, tmp_path: Path
) -> None:
    folder = build_study(tmp_path / "out").path
    change(folder)
    with pytest.raises(RunError, match=words):
        gather([folder], split="test")


def test_a_page_shows_no_file_that_the_study_did_not_leave(tmp_path: Path) -> None:
    study = build_study(tmp_path / "out")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    summary = dict(study.summary or {})
    summary["shown"]["tables"].append({"title": "x", "file": "../../../../secret.csv"})
    kept = summary.pop("files")
    study.finish(summary, leaves=list(kept))
    with pytest.raises(RunError, match="keeps no digest of"):
        gather([study.path], split="test")


def test_a_study_that_is_not_finished_says_so(tmp_path: Path) -> None:
    study = build_study(tmp_path / "out")
    (study.path / "summary.json").unlink()
    text = Tags(make([study.path], tmp_path / "page").read_text()).text
    assert "It is not finished" in text
    assert "It agrees." not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "dataset=jsonl dataset.path=/home/me/rows.jsonl",
            "dataset=jsonl dataset.path=…/rows.jsonl",
        ),
        ("train='~/x/y' and/or 1/2", "train='…/y' and/or 1/2"),
        ("nats / token", "nats / token"),
        ("~5 nats", "~5 nats"),
    ],
)
def test_only_paths_are_cut(text: str, expected: str) -> None:
    assert without_places(text) == expected
