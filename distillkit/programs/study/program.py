"""``distillkit study fidelity``: a paper's statistics from its published tables, and how robust."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.core.errors import ConfigError
from distillkit.core.files import made_folder, new_file, write_json
from distillkit.core.terminal import terminal
from distillkit.evaluation.fidelity_study.hypotheses import Outcome, answers
from distillkit.evaluation.fidelity_study.published import DOMAINS, Likeness, published
from distillkit.evaluation.fidelity_study.results import (
    Result,
    Selection,
    over_seeds,
    rule,
    select,
)
from distillkit.programs.study.picture import draw_study
from distillkit.programs.study.tables import (
    check_table,
    configuration_table,
    gain_table,
    method_table,
    relation_table,
)

WARNING = (
    "WARNING: the temperature was chosen on the test score (best of tau, for each task anew), so "
    "every improvement below is the largest of several and too good. Compare with the fixed "
    "temperature, or choose on validation."
)

NOTES = (
    "Agreement and fidelity are those of one checkpoint of each (teacher, student), by arithmetic "
    "the reverse KL one, set beside all methods as the authors did. Units also share students and "
    "teachers. p and intervals take units as independent, so they promise too much; those of one "
    "method, with one unit a pair, promise less.",
    "Fidelity is the authors' BLEU.csv, whose numbers look like a cosine of embeddings; real BLEU "
    "is BLEU2.csv. n counts (teacher, student, method). Intervals have 95 %: t's for the gain, "
    "Fisher's z with Bonett and Wright's error for ρ. Holm corrects over all tasks of one column, "
    "averages included; the authors corrected nothing. p of the gain is one-sided.",
)
"""What a reader has to know; part of the file."""

CONFIGURATION = (
    *("teacher", "student", "method", "tau", "task", "accuracy", "sft_accuracy"),
    *("improvement", "agreement", "fidelity"),
)
"""What the file has of each result."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """All questions under one rule, with one measure of fidelity."""

    selection: Selection
    likeness: Likeness
    answers: Sequence[Outcome]


def study_fidelity(
    results: Path,
    *,
    tau: float = 1.0,
    selection: str = "best",
    output: Path = Path("outputs"),
    console: Console | None = None,
) -> Path:
    """Test the hypotheses of arXiv:2505.15442; print tables, leave JSON and PNG.

    Args:
        results: folder of the authors' csv files.
        tau: the temperature where it is fixed.
        selection: ``best`` tau for each task, with the fixed one beside it, or ``fixed`` alone.
        output: parent of study/fidelity, where study.json and study.png are left.
        console: where tables go.

    Raises:
        DistillkitError: something the user has to mend.
    """
    console = console or terminal()
    main = _selection(selection)
    if not 0 < tau < inf:
        raise ConfigError(f"--tau must be above 0 and finite, got {tau}.")
    tables = {likeness: published(results, likeness=likeness) for likeness in Likeness}
    rules = list(dict.fromkeys([main, Selection.fixed]))
    analyses = [
        Analysis(how, likeness, answers(tables[likeness], selection=how, tau=tau))
        for how in rules
        for likeness in Likeness
    ]
    configurations = over_seeds(tables[Likeness.embedding])
    folder = made_folder(output / "study" / "fidelity", choose="--output.")
    file = folder / "study.json"
    write_json(file, _as_json(results, analyses, configurations, tau=tau))
    averages = {domain.average for domain in DOMAINS}
    chosen = [result for result in select(configurations, main, tau=tau) if result.task in averages]
    with new_file(file.with_suffix(".png")) as picture:
        draw_study(chosen, analyses[0].answers, picture, rule=rule(main, tau))
    _show(console, analyses, configurations, tau=tau)
    console.print(f"numbers  {file}\npicture  {file.with_suffix('.png')}", soft_wrap=True)
    return file


def _selection(text: str) -> Selection:
    try:
        return Selection(text)
    except ValueError:
        raise ConfigError(
            f"--selection is best or fixed, got {text!r}. best takes the best tau on the test "
            "score, fixed that of --tau."
        ) from None


def _as_json(
    source: Path, analyses: Sequence[Analysis], configurations: Sequence[Result], *, tau: float
) -> dict[str, Any]:
    main = analyses[0].selection
    return {
        "paper": "arXiv:2505.15442",
        "results": str(source),
        "selection": rule(main, tau),
        "warnings": [WARNING] if main is Selection.best else [],
        "notes": list(NOTES),
        "analyses": [
            {
                "selection": rule(analysis.selection, tau),
                "chosen_on_test": analysis.selection is Selection.best,
                "fidelity": str(analysis.likeness),
                "answers": [answer.as_dict() for answer in analysis.answers],
            }
            for analysis in analyses
        ],
        "configurations": [
            {name: getattr(result, name) for name in CONFIGURATION} for result in configurations
        ],
    }


def _show(
    console: Console,
    analyses: Sequence[Analysis],
    configurations: Sequence[Result],
    *,
    tau: float,
) -> None:
    main = analyses[0]
    how = rule(main.selection, tau)
    averages = {domain.name[:4]: domain.average for domain in DOMAINS}
    console.print(configuration_table(configurations, averages))
    if main.selection is Selection.best:
        console.print(WARNING, style="bold red")
    for table in (gain_table, relation_table, method_table):
        console.print(table(main.answers, how=how))
    labels = {Selection.best: "best", Selection.fixed: f"{tau:g}"}
    by_likeness = {
        likeness: {
            labels[one.selection]: one.answers for one in analyses if one.likeness is likeness
        }
        for likeness in Likeness
    }
    console.print(check_table(by_likeness[Likeness.embedding], by_likeness[Likeness.bleu]))
    for note in NOTES:
        console.print(note)
