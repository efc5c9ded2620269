"""What an UNDO run found: all students on all splits, and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.core.files import write_json_lines
from distillkit.core.rundir import RunDirectory
from distillkit.core.types import Example, Split
from distillkit.datasets.base import Dataset
from distillkit.lessons.endpoint import EndpointTeacher
from distillkit.lessons.lessons import total
from distillkit.metrics.proportion import Proportion
from distillkit.programs.train.standing import VERDICTS
from distillkit.programs.undo.course import Course
from distillkit.programs.undo.rounds import Iteration
from distillkit.statistics.correction import holm
from distillkit.statistics.paired import mcnemar

Verdicts = Mapping[str, Sequence[bool]]
"""By split, whether each example was answered rightly."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A student that is compared."""

    name: str
    """As it is reported."""
    kind: str
    """``start``, ``iteration`` or ``control``."""
    student: Path | None
    """Its folder, None for the one that everything begins with."""
    steps: int
    """Gradient steps behind it."""
    numbers: Mapping[str, Any]
    """What else is known of it."""


def verdicts_of(course: Course, entrants: Sequence[Entrant]) -> dict[str, Verdicts]:
    """Question every student on every split; the test split is read here and nowhere else.

    What each is right on is left in ``verdicts.jsonl``.
    """
    run, most = course.run, course.run.evaluation.test
    splits: dict[str, tuple[Dataset, Sequence[Example]]] = {
        "validation": (run.dataset, course.validation),
        "test": (run.dataset, run.dataset.examples(Split.test)[:most]),
    }
    if run.elsewhere is not None:
        splits["elsewhere"] = (run.elsewhere, run.elsewhere.examples(Split.test)[:most])
    verdicts: dict[str, Verdicts] = {}
    with course.watch.running():
        for entrant in entrants:
            student = course.student(entrant.student)
            verdicts[entrant.name] = {
                split: [bool(text.correct) for text in course.answered(student, *of)]
                for split, of in splits.items()
                if of[1]
            }
    rows = (
        {
            "split": split,
            "id": example.id,
            **{name: of_split[split][row] for name, of_split in verdicts.items()},
        }
        for split, (_, examples) in splits.items()
        for row, example in enumerate(examples)
    )
    write_json_lines(course.directory.path / VERDICTS, rows)
    return verdicts


def summarise(
    entrants: Sequence[Entrant],
    verdicts: Mapping[str, Verdicts],
    *,
    returned: str,
    baselines: Mapping[str, str],
) -> dict[str, Any]:
    """Rows and differences, in JSON's types.

    Args:
        entrants: in the order of the table.
        verdicts: by entrant.
        returned: the student that UNDO returns.
        baselines: what it is compared with, by the name that is reported.

    Returns:
        ``rows``, and ``differences`` of the returned student and each baseline: McNemar's exact
        test with Bonett and Price's interval, p corrected by Holm over all of them. Validation
        chose the student, so no difference is tested there.
    """
    rows = [
        {
            "name": entrant.name,
            "kind": entrant.kind,
            "steps": entrant.steps,
            "accuracy": {split: _share(right) for split, right in verdicts[entrant.name].items()},
            **entrant.numbers,
        }
        for entrant in entrants
    ]
    differences = []
    for label, name in baselines.items():
        for split, mine in verdicts[returned].items():
            if split == "validation" or name == returned:
                continue
            theirs = verdicts[name][split]
            found = mcnemar(mine, theirs, selection="best by validation").as_dict()
            before = sum(theirs) / len(theirs)
            relative = found["estimate"] / before if before else None
            about = {"left": returned, "right": name, "baseline": label, "split": split}
            differences.append({**about, **found, "relative": relative})
    for row, p in zip(differences, holm([row["p"] for row in differences]), strict=True):
        row["p_holm"] = p
    return {"rows": rows, "differences": differences}


def cost(
    course: Course, rounds: Sequence[Iteration], entrants: Sequence[Entrant]
) -> dict[str, Any]:
    """What the teacher wrote and the students trained, controls included."""
    tokens = {
        name: total(each.numbers[name] for each in rounds)
        for name in ("prompt_tokens", "completion_tokens")
    }
    money = None
    if isinstance(course.run.teacher, EndpointTeacher) and None not in tokens.values():
        money = course.run.teacher.cost(
            tokens["prompt_tokens"] or 0, tokens["completion_tokens"] or 0
        )
    summaries = [
        RunDirectory(entrant.student.parent).summary or {}
        for entrant in entrants
        if entrant.student is not None
    ]
    return {
        "teacher_calls": sum(each.numbers["calls"] for each in rounds),
        **tokens,
        "money": money,
        "gradient_steps": sum(summary["steps"] for summary in summaries),
        "training_seconds": round(sum(summary["training_seconds"] for summary in summaries), 1),
    }


def _share(right: Sequence[bool]) -> dict[str, float]:
    share = Proportion(sum(right), len(right))
    low, high = share.interval()
    return {"value": share.compute(), "low": low, "high": high, "n": len(right)}
