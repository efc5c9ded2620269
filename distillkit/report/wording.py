"""Numbers and findings as text, the same on the page and in the Markdown table."""

from collections.abc import Sequence

from distillkit.report.comparing import Difference
from distillkit.report.evaluations import Value
from distillkit.report.groups import Group
from distillkit.report.settings import ABSENT
from distillkit.report.tables import Column

MINUS = "\N{MINUS SIGN}"


def number(value: float, column: Column) -> str:
    """A value: a share in percent, anything else with three places."""
    return _plain(100 * value, ".1f") if column.share else _plain(value, _places(value))


def signed(value: float, column: Column) -> str:
    """A difference with its sign; of shares in percentage points."""
    return _plain(100 * value, "+.1f") if column.share else _plain(value, f"+{_places(value)}")


def _places(value: float) -> str:
    size = abs(value)
    if size < 1e-12:
        return ".3f"
    return ".1g" if size < 0.0005 else ".3f" if size < 10 else ".1f"


def _plain(value: float, form: str) -> str:
    """Formatted with a true minus, and no sign where only zeros are left."""
    text = format(value, form)
    if not text.strip("+-0.e"):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(value: Value, column: Column) -> str:
    """Both ends, empty where there is none."""
    if value.low is None or value.high is None:
        return ""
    return f"{number(value.low, column)} to {number(value.high, column)}"


def reach(difference: Difference | Value, column: Column) -> str:
    """Both ends of a difference, empty where there is none."""
    if difference.low is None or difference.high is None:
        return ""
    return f"{signed(difference.low, column)} to {signed(difference.high, column)}"


def p_value(p: float | None) -> str:
    """A p with as many digits as matter."""
    if p is None:
        return ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def heading(column: Column) -> str:
    """Title of a column with its unit."""
    return f"{column.title}, %" if column.share else column.title


def listing(words: Sequence[object], *, most: int = 8) -> str:
    """a, b and c; cut after ``most``."""
    texts = [str(word) for word in words]
    if len(texts) > most:
        return ", ".join(texts[:most]) + f" and {len(texts) - most} more"
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def count(n: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def summary(groups: Sequence[Group], split: str) -> str:
    """Runs, examples, seeds and the selection rule in one line."""
    runs = [run for group in groups for run in group.runs]
    sizes = sorted({run.evaluation.n for run in runs if run.evaluation})
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    rules = sorted({run.evaluation.selection for run in runs if run.evaluation})
    parts = [count(len(runs), "run")]
    if len(groups) < len(runs):
        parts[0] += f" of {count(len(groups), 'configuration')}"
    if sizes:
        parts.append(f"{listing([f'{n:,}' for n in sizes])} {split} examples")
    if seeds:
        parts.append(f"seed{'s' if len(seeds) > 1 else ''} {listing(seeds)}")
    if rules:
        parts.append(f"{listing(rules)} weights")
    return " · ".join(parts)


def warnings(groups: Sequence[Group]) -> list[str]:
    """What makes numbers look better than they are."""
    runs = [run for group in groups for run in group.runs if run.evaluation]
    rules = {run.name: run.evaluation.selection for run in runs if run.evaluation}
    by_test = [name for name, rule in rules.items() if "test" in rule.lower()]
    by_best = [
        run.name
        for run in runs
        if run.name not in by_test
        and ("best" in rules[run.name] or run.config.get("checkpoint.export") == "best")
    ]
    found = []
    if by_test:
        found.append(
            f"The weights of {listing(by_test)} were chosen by their test score, so that their "
            "test numbers are too good. Choose by validation."
        )
    if by_best:
        found.append(
            f"The weights of {listing(by_best)} are the best of several by validation "
            "(checkpoint.export=best): their validation numbers are too good, and they are not on "
            "one footing with runs that keep the last weights."
        )
    return found
