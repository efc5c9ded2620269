"""The tables of ``distillkit study fidelity``, each at most 80 characters wide."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.table import Column, Table

from distillkit.core.terminal import cell, of_numbers, tight_table
from distillkit.evaluation.fidelity_study.hypotheses import NUMBER, Outcome, Question
from distillkit.evaluation.fidelity_study.results import Result

RELATIONS = (
    Question.teacher,
    Question.size,
    Question.start,
    Question.agreement,
    Question.fidelity,
)
"""What the improvement is correlated with."""

HEADS = {
    Question.teacher: "ρ teacher\naccuracy",
    Question.size: "ρ student\nsize",
    Question.start: "ρ student\nSFT",
    Question.agreement: "ρ\nagreement",
    Question.fidelity: "ρ\nfidelity",
}

SCORES: tuple[tuple[str, Callable[[Result], float | None], str], ...] = (
    ("acc", lambda result: result.accuracy, ".1f"),
    ("gain", lambda result: result.improvement, "+.1f"),
    ("agr", lambda result: result.agreement, ".1f"),
    ("fid", lambda result: result.fidelity, ".1f"),
)

Found = Mapping[tuple[str, str | None, Question], Outcome]
"""Answers by task, method and question."""


def configuration_table(results: Sequence[Result], averages: Mapping[str, str]) -> Table:
    """Scores of every (teacher, student, method, tau) on averages, {heading: task}."""
    tables = {
        heading: {
            (one.teacher, one.student, one.method, one.tau): one
            for one in results
            if one.task == task
        }
        for heading, task in averages.items()
    }
    columns = [
        (f"{heading}\n{name}", read, style, table)
        for heading, table in tables.items()
        for name, read, style in SCORES
        if any(read(one) is not None for one in table.values())
    ]
    table = tight_table(
        "Averages over tasks, %: accuracy, gain over SFT, agreement, fidelity",
        *(Column(name, no_wrap=True) for name in ("teacher", "student", "method")),
        *of_numbers("tau", *(heading for heading, *_ in columns)),
    )
    keys = sorted(dict.fromkeys(key for found in tables.values() for key in found))
    for place, key in enumerate(keys):
        same = place and keys[place - 1][:2] == key[:2]
        scores = [
            cell(read(found[key]) if key in found else None, style)
            for _, read, style, found in columns
        ]
        pair = ("", "") if same else key[:2]
        table.add_row(*pair, key[2], f"{key[3]:g}", *scores)
    return table


def gain_table(answers: Iterable[Outcome], *, how: str) -> Table:
    """H1: whether distillation helps, and whether methods differ."""
    columns = of_numbers("n", "gain", "95 % interval", "t", "p", "Holm", "F", "p", "Holm")
    title = f"H1: gain over SFT, and difference between methods ({how})"
    table = tight_table(title, Column(), *columns)
    found = _by_question(answers)
    for task in _tasks(found):
        cells = [""] * 9
        if one := found.get((task, None, Question.improvement)):
            it = one.finding
            between = "" if it.low is None else f"{it.low:+.2f} to {it.high:+.2f}"
            cells[:6] = [
                str(it.n),
                f"{it.estimate:+.2f}",
                between,
                cell(it.statistic, ".2f"),
            ]
            cells[4:6] = [short_p(it.p), short_p(one.holm)]
        if one := found.get((task, None, Question.method)):
            cells[6:] = [f"{one.finding.estimate:.2f}", short_p(one.finding.p), short_p(one.holm)]
        table.add_row(task, *cells)
    return table


def relation_table(answers: Iterable[Outcome], *, how: str) -> Table:
    """H2 to H5: correlation (p), its 95 % interval, and the corrected p."""
    found = _by_question(answers)
    asked = _asked(found)
    columns = of_numbers(*(f"{HEADS[question]}\n{NUMBER[question]}" for question in asked))
    title = f"What the gain goes with: Spearman's ρ (p), 95 % interval, Holm ({how})"
    table = tight_table(title, Column(), *columns)
    for task in _tasks(found):
        counted = [found[task, None, q].finding.n for q in asked if (task, None, q) in found]
        label = f"{task}\nn = {', '.join(map(str, dict.fromkeys(counted)))}" if counted else task
        table.add_row(label, *(_relation(found.get((task, None, q))) for q in asked))
    return table


def method_table(answers: Iterable[Outcome], *, how: str) -> Table:
    """H1 to H5 for each method on its own, with p."""
    found = _by_question(answers)
    asked = _asked(found)
    columns = of_numbers("n", "gain", *(HEADS[question] for question in asked))
    title = f"Each method: gain with one-sided p, Spearman's ρ with p ({how})"
    table = tight_table(title, Column(), *columns)
    for task in _tasks(found):
        table.add_row(task)
        for method in dict.fromkeys(key[1] for key in found if key[0] == task and key[1]):
            gain = found.get((task, method, Question.improvement))
            cells = [str(gain.finding.n), _gain(gain)] if gain else ["", ""]
            cells += [_short(found.get((task, method, question))) for question in asked]
            table.add_row(f" {method}", *cells)
    return table


def check_table(
    rules: Mapping[str, Iterable[Outcome]], other: Mapping[str, Iterable[Outcome]]
) -> Table:
    """The same questions under other choices.

    Args:
        rules: answers by the rule that picked the temperature.
        other: the same with real BLEU as fidelity.
    """
    columns = of_numbers("gain", "t (p)", "F (p)", "ρ fidelity (p)", "ρ BLEU (p)")
    title = "Robustness: the temperature's rule, and real BLEU as fidelity"
    table = tight_table(title, Column(), Column("tau", no_wrap=True), *columns)
    found = {label: _by_question(answers) for label, answers in rules.items()}
    real = {label: _by_question(answers) for label, answers in other.items()}
    for task in dict.fromkeys(task for one in found.values() for task in _tasks(one)):
        for place, (label, own) in enumerate(found.items()):
            gain = own.get((task, None, Question.improvement))
            spread = own.get((task, None, Question.method))
            table.add_row(
                "" if place else task,
                label,
                f"{gain.finding.estimate:+.2f}" if gain else "",
                _with_p(gain.finding.statistic, gain) if gain else "",
                _with_p(spread.finding.estimate, spread) if spread else "",
                _correlation(own.get((task, None, Question.fidelity))),
                _correlation(real[label].get((task, None, Question.fidelity))),
            )
    return table


def _by_question(answers: Iterable[Outcome]) -> Found:
    return {(one.task, one.method, one.question): one for one in answers}


def _tasks(found: Found) -> list[str]:
    return list(dict.fromkeys(task for task, _, _ in found))


def _asked(found: Found) -> list[Question]:
    return [question for question in RELATIONS if any(key[2] == question for key in found)]


def _relation(answer: Outcome | None) -> str:
    if answer is None:
        return ""
    it = answer.finding
    between = "" if it.low is None else f"{_rho(it.low)} to {_rho(it.high)}"
    return f"{_correlation(answer)}\n{between}\nHolm {short_p(answer.holm)}"


def _correlation(answer: Outcome | None) -> str:
    return f"{_rho(answer.finding.estimate)} ({short_p(answer.finding.p)})" if answer else ""


def _short(answer: Outcome | None) -> str:
    return f"{_rho(answer.finding.estimate)} {short_p(answer.finding.p)}" if answer else ""


def _gain(answer: Outcome) -> str:
    return f"{answer.finding.estimate:+.1f} {short_p(answer.finding.p)}"


def _with_p(value: float | None, answer: Outcome) -> str:
    return f"{cell(value, '.2f')} ({short_p(answer.finding.p)})"


def _rho(value: float | None) -> str:
    return cell(value, ".2f").replace("0.", ".", 1)


def short_p(value: float | None) -> str:
    """As in ``.086`` or ``2e-10``."""
    if value is None:
        return "-"
    if value >= 0.9995:
        return "1"
    if value < 0.0005:
        digit, power = f"{value:.0e}".split("e")
        return f"{digit}e{int(power)}"
    return f"{value:.3f}".removeprefix("0")
