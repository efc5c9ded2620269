"""``distillkit report``: runs side by side and what studies found, as a page, a table, pictures."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from rich.console import Console

from distillkit.core.errors import RunError
from distillkit.core.files import new_folder, write_text
from distillkit.core.terminal import terminal
from distillkit.report.groups import baseline_of, group
from distillkit.report.markdown import markdown
from distillkit.report.page import render
from distillkit.report.runs import gather
from distillkit.report.sections import sections
from distillkit.report.studies import StudyPage
from distillkit.report.style import drawing
from distillkit.report.tables import EMPTY, Column, build

PAGE, TABLE = "report.html", "table.md"


def report(
    paths: Sequence[Path],
    *,
    baseline: str | None = None,
    split: str = "test",
    output: Path | None = None,
    console: Console | None = None,
) -> Path:
    """Compare runs and write ``report.html``, ``table.md`` and a PNG of each picture of runs.

    Args:
        paths: run directories, sweep folders and studies' folders.
        baseline: run that the others are compared with; the first if None.
        split: whose evaluation is shown.
        output: folder to write, or to write anew; ``outputs/report/<name>`` if None.
        console: where the folder's name goes.

    Returns:
        The page.

    Raises:
        RunError: a path is neither, a file is damaged, or the folder holds something else.
        ConfigError: the baseline is none of the runs.
    """
    console = console or terminal()
    gathered = gather(paths, split=split)
    groups = group(gathered.runs)
    folder = output or Path("outputs", "report", _name(paths))
    _check(folder)
    table = build(groups, baseline_of(groups, baseline)) if groups or baseline else EMPTY
    primary = table.columns[0] if table.columns else Column("accuracy", "accuracy")
    remedy = f"distillkit eval run={gathered.runs[0].path}" if groups else ""
    title = _title(paths, gathered.studies)
    with drawing(), new_folder(folder.resolve()) as partial:
        plots = sections(groups, primary, remedy=remedy)
        page = render(
            groups, table, plots, gathered=gathered, title=title, split=split, remedy=remedy
        )
        write_text(partial / PAGE, page)
        told = markdown(table, groups, studies=gathered.studies, title=title, split=split)
        write_text(partial / TABLE, told)
        for section in plots:
            section.save(partial)
    console.print(f"page   {folder / PAGE}\ntable  {folder / TABLE}", soft_wrap=True)
    return folder / PAGE


def _name(paths: Sequence[Path]) -> str:
    names = [path.resolve().name for path in paths]
    if len(names) == 1:
        return names[0]
    return f"runs-{sha256(' '.join(names).encode()).hexdigest()[:8]}"


def _title(paths: Sequence[Path], studies: Sequence[StudyPage]) -> str:
    names = [path.resolve().name for path in paths]
    if len(names) > 1:
        return f"{names[0]} and {len(names) - 1} more"
    if studies:
        return studies[0].title
    return f"Sweep {names[0]}" if (paths[0] / "table.json").is_file() else names[0]


def _check(folder: Path) -> None:
    """The folder is replaced as a whole, so it must be a report, empty or absent."""
    held = folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    if held and not (folder / PAGE).is_file():
        raise RunError(
            f"--output {folder} exists and is not a report, which would replace it. Give a folder "
            "that is new or empty."
        )
