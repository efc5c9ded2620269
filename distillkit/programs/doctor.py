"""``distillkit doctor``: look at a run before its hours are spent. Nothing is written."""

from collections import Counter
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from distillkit.compose import Composed
from distillkit.core.errors import ConfigError
from distillkit.core.spec import name_of
from distillkit.core.terminal import terminal
from distillkit.core.types import Split
from distillkit.models.loading import load, pick_device
from distillkit.models.pretrained import SelfTeacher, Teacher
from distillkit.preflight.checks import CHECKS, Check, examine
from distillkit.preflight.data import of_data, said_of
from distillkit.preflight.finding import Finding, Severity, ok
from distillkit.preflight.machine import Machine, this_machine
from distillkit.preflight.sizes import duration
from distillkit.preflight.subject import Subject
from distillkit.programs.train.assemble import room_needed, splits
from distillkit.programs.train.continuing import continuation
from distillkit.programs.train.fields import check_fields
from distillkit.programs.train.program import directory_of

TOLD = 1.0
"""Seconds of a check that are worth a line of their own where there is no terminal."""
STYLES = {
    Severity.ok: "green",
    Severity.warning: "yellow",
    Severity.fatal: "bold red",
    Severity.skipped: "dim",
}


def doctor(
    composed: Composed, *, console: Console | None = None, machine: Machine | None = None
) -> bool:
    """Make every check, print what each finds as it comes, and count.

    Args:
        composed: the run as ``train`` would get it.
        console: where to print.
        machine: whose memory and disk are asked; this one if None.

    Returns:
        Whether nothing fatal was found.

    Raises:
        ConfigError: the run has no model as its teacher.
    """
    teacher = composed.run.teacher
    if isinstance(teacher, SelfTeacher):
        raise ConfigError(
            "teacher=self is the student's own base, with which there is nothing to compare. Run "
            "distillkit doctor with another teacher, or distillkit train, which makes the quick "
            "checks by itself."
        )
    if not isinstance(teacher, Teacher):
        none = "null" if teacher is None else name_of(teacher)
        raise ConfigError(
            f"teacher={none} leaves the doctor nothing to compare the student with. Give it a "
            "model as its teacher, or run distillkit train, which makes the quick checks by itself."
        )
    console = console or terminal()
    counts: Counter[Severity] = Counter()
    # On a terminal what is being looked at stands below what was found.
    with console.status("settings") as status:

        def begin(name: str, seconds: float | None) -> None:
            cost = "" if seconds is None else f", about {duration(seconds)}"
            status.update(f"{name}{cost}")
            if seconds is not None and seconds >= TOLD and not console.is_terminal:
                console.print(f"        {name}{cost} ...", style="dim", highlight=False)

        for name, finding in diagnose(composed, machine=machine or this_machine(), begin=begin):
            counts[finding.severity] += 1
            _print(console, name, finding)
    healthy = not counts[Severity.fatal]
    told = ", ".join(f"{counts[severity]} {severity}" for severity in Severity)
    console.print(
        f"\n{'nothing fatal' if healthy else 'not fit to run'}: {told}",
        style=STYLES[Severity.ok if healthy else Severity.fatal],
    )
    return healthy


def diagnose(
    composed: Composed,
    *,
    machine: Machine,
    begin: Callable[[str, float | None], None],
) -> Iterator[tuple[str, Finding]]:
    """All findings in order, each with the name of its check; what is quick comes first.

    A part that cannot be had is a finding, and the checks that need it are skipped.

    Args:
        composed: the run as ``train`` would get it.
        machine: whose memory and disk are asked.
        begin: told of each check before it is made, with its price in seconds where it has one.
    """
    subject = Subject(
        run=composed.run,
        folder=directory_of(composed).path,
        room=room_needed(composed.run),
        machine=machine,
    )
    gathering = (
        Check("settings", lambda _: _settings(composed)),
        Check("dataset", _dataset),
        Check("teacher", lambda subject: _model(subject, "teacher")),
        Check("student", lambda subject: _model(subject, "student")),
    )
    for check in (*gathering, *CHECKS):
        begin(check.name, None)
        if check.price:
            begin(check.name, _price(check, subject))
        for finding in examine(check, subject):
            yield check.name, finding


def _price(check: Check, subject: Subject) -> float | None:
    """Seconds that a check takes, from a timed pass; None where nobody knows."""
    try:
        return check.price * subject.seconds
    except Exception:
        # What stands in the way of a pass is what the check itself will find.
        return None


def _settings(composed: Composed) -> Iterator[Finding]:
    check_fields(composed.run, composed.overrides)
    directory = directory_of(composed)
    plan = continuation(directory, composed)
    done = " is already done, so train would show its result" if directory.summary else ""
    if plan is not None:
        done = f" would be continued from step {plan.standing.progress.step}"
    yield ok(f"run directory {directory.path}{done}")


def _dataset(subject: Subject) -> Iterator[Finding]:
    run = subject.run
    limits = {Split.validation: run.evaluation.validation, Split.test: run.evaluation.test}
    gathered = run.dataset.gather(splits(run))
    for split, examples in gathered.examples.items():
        subject.examples[split] = examples[: limits.get(split)]
    yield from of_data(subject.examples, gathered.remarks)
    if run.dataset_pt is not None:
        yield from said_of(run.dataset_pt.gather([Split.train]).remarks)


def _model(subject: Subject, side: str) -> Iterator[Finding]:
    run = subject.run
    source = getattr(run, side)
    model = load(source, device=pick_device(run.device), precision=run.precision)
    subject.models[side] = model
    yield ok(f"{source.name} on {model.device}, {model.module.dtype} weights")


def _print(console: Console, name: str, finding: Finding) -> None:
    style = STYLES[finding.severity]
    row = Table.grid(padding=(0, 1))
    row.add_column(width=len(Severity.skipped))
    row.add_column(width=max(len(check.name) for check in CHECKS))
    row.add_column(ratio=1)
    said = Text(finding.what)
    for label, text in (("why", finding.why), ("mend", finding.mend)):
        if text:
            said.append(f"\n{label}: ", style="bold").append(text)
    row.add_row(Text(finding.severity, style=style), Text(name, style="bold"), said)
    console.print(row)
    if finding.shown is not None:
        console.print(Padding(finding.shown, (0, 0, 0, 4)))
