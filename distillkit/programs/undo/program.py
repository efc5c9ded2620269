"""``distillkit undo-iterate``: rewrite the lessons for the student's errors, distil again, compare.

UNDO (arXiv:2504.02521) around the ordinary training. Every step leaves a file, and a call goes on
from the files that are there: no lesson, training or answer is made twice.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.errors import DataError
from distillkit.core.files import new_folder
from distillkit.core.provenance import provenance
from distillkit.core.rundir import RunDirectory
from distillkit.core.shapes import UndoSummary
from distillkit.core.stopping import stopping
from distillkit.core.store import Store
from distillkit.core.terminal import WIDE, terminal
from distillkit.core.types import Split
from distillkit.datasets.lessons import DESCRIPTION, describe
from distillkit.programs.train.differences import check_same
from distillkit.programs.train.standing import VERDICTS, check_trainings
from distillkit.programs.undo.course import Course, check_parts, check_undo
from distillkit.programs.undo.picture import draw_iterations
from distillkit.programs.undo.results import Entrant, cost, summarise, verdicts_of
from distillkit.programs.undo.rounds import Iteration, best, first_round, targeted, untargeted
from distillkit.programs.undo.table import accuracy_table, difference_table, error_table
from distillkit.programs.watch import Watch
from distillkit.run import Begin, UndoRun


def undo_iterate(composed: Composed, *, console: Console | None = None) -> RunDirectory:
    """Run, resume, or show the result of a run that is already done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; all that was made is kept.
    """
    console = console or terminal(columns=WIDE)
    run: UndoRun = composed.run
    check_undo(composed)
    name = run.name or f"undo-{composed.fingerprint[:8]}"
    directory = RunDirectory(Path(run.output) / "undo" / name, shape=UndoSummary)
    check_same(directory, composed)
    if (done := directory.summary) is not None:
        told = (f"already done: {directory.path}", *(f"note: {each}" for each in directory.notes))
        console.print("\n".join(told), soft_wrap=True)
        _show(done, console)
        return directory
    questions, validation = (_examples(run, split) for split in (Split.train, Split.validation))
    check_parts(run, [*questions, *validation])
    record = {**provenance(), "seed": run.seed}
    # Opened, and so checked, before anything is written.
    replies = Store(Path(run.replies or f"{run.output}/replies.sqlite"))
    answers = Store(Path(run.output) / "evidence.sqlite")
    with stopping() as stop, directory.claim(**composed.asked(), provenance=record) as notes:
        check_trainings(directory)
        watch = _begun(run, directory, notes, console)
        course = Course(
            composed=composed,
            directory=directory,
            questions=questions,
            validation=validation,
            answers=watch.keeper(answers, batch_size=run.evaluation.batch_size, poll=stop.poll),
            replies=watch.keeper(replies, batch_size=run.writing.batch_size, poll=stop.poll),
            watch=watch,
            console=console,
        )
        summary = _iterate(course)
        directory.finish(summary, leaves=(directory.student.name, VERDICTS))
    _show(summary, console)
    watch.say(f"student  {directory.student}\nfigure   {directory.path / 'undo.png'}")
    return directory


def _begun(run: UndoRun, directory: RunDirectory, notes: Sequence[str], console: Console) -> Watch:
    """Say where the run is, and describe its dataset there once."""
    watch = Watch(console, log=directory.path / "log.txt")
    watch.say(f"run directory {directory.path}")
    for note in notes:
        watch.say(f"note: {note}")
    if not directory.holds(DESCRIPTION):
        describe(directory.path, run.dataset)
        directory.enter(DESCRIPTION)
    return watch


def _iterate(course: Course) -> dict[str, Any]:
    """All rounds and controls, and what they come to."""
    run, directory = course.run, course.directory
    rounds, decision = targeted(course, first_round(course))
    returned = rounds[decision.best]
    course.watch.say(f"stopped after iteration {rounds[-1].number}: {decision.stop}")
    course.watch.say(f"returned: {returned.name}, the best by validation")
    with new_folder(directory.student) as folder:
        shutil.copytree(returned.student, folder, dirs_exist_ok=True)
    entrants = [Entrant("start", "start", None, 0, {}), *_entered(run, rounds, "iteration")]
    baselines = {"one-shot, one iteration's steps": rounds[0].name}
    controls: list[Iteration] = []
    if run.controls.one_shot:
        steps = run.steps * len(rounds)
        student = course.train("one-shot", rounds[0].lessons, begin=None, steps=steps)
        entrants.append(Entrant("one-shot", "control", student, steps, {}))
        baselines["one-shot, all iterations' steps"] = "one-shot"
    for name, like in _rewritten(run, rounds).items():
        found = untargeted(course, rounds[0], name=name, rounds=len(rounds) - 1, like=like)
        controls += found
        entrants += _entered(run, found, "control")
        # Chosen by validation among as many as the targeted ones.
        baselines[name] = best([rounds[0], *found]).name
    verdicts = verdicts_of(course, entrants)
    summary = {
        "name": directory.path.name,
        "fingerprint": course.composed.fingerprint,
        "returned": returned.name,
        "reason": decision.stop,
        "lessons": str(returned.lessons),
        "cost": cost(course, [*rounds, *controls], entrants),
        **summarise(entrants, verdicts, returned=returned.name, baselines=baselines),
    }
    draw_iterations(summary, directory.path / "undo.png")
    return summary


def _rewritten(run: UndoRun, rounds: Sequence[Iteration]) -> Mapping[str, Sequence[Iteration]]:
    """Controls in which the teacher rewrites too, with what their lessons are to be as long as."""
    wanted: dict[str, Sequence[Iteration]] = {}
    if run.controls.untargeted:
        wanted["untargeted"] = ()
    if run.controls.length_matched:
        wanted["length-matched"] = rounds
    return wanted


def _entered(run: UndoRun, rounds: Sequence[Iteration], kind: str) -> list[Entrant]:
    begins = run.begin is Begin.previous
    return [
        Entrant(
            each.name,
            kind,
            each.student,
            run.steps * (each.number + 1 if begins else 1),
            {"lessons": str(each.lessons), **each.numbers},
        )
        for each in rounds
    ]


def _examples(run: UndoRun, split: Split) -> Sequence[Any]:
    examples = run.dataset.examples(split)
    if split is Split.validation:
        examples = examples[: run.evaluation.validation]
    judged = [example for example in examples if example.answer]
    if not judged:
        raise DataError(
            f"the {split} split has no question with a known answer, so no lesson can be checked. "
            "Use a dataset with answers, such as dataset=gsm8k."
        )
    return judged


def _show(summary: Mapping[str, Any], console: Console) -> None:
    console.print(accuracy_table(summary))
    console.print(error_table(summary))
    if summary["differences"]:
        console.print(difference_table(summary))
    spent = summary["cost"]
    tokens = [spent[name] for name in ("prompt_tokens", "completion_tokens")]
    counted = "" if None in tokens else f", {tokens[0]} tokens read and {tokens[1]} written"
    money = "" if spent["money"] is None else f", cost {spent['money']:.4g}"
    console.print(
        f"teacher  {spent['teacher_calls']} texts{counted}{money}\n"
        f"student  {spent['gradient_steps']} gradient steps in {spent['training_seconds']:.0f} s",
        soft_wrap=True,
    )
