"""The trainings of a scaling study: each axis is varied with the others at their largest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from distillkit.compose import Composed
from distillkit.core.errors import ConfigError, RunError
from distillkit.core.rundir import RunDirectory
from distillkit.programs.study.trainings import Training
from distillkit.report.evaluations import read_evaluation
from distillkit.run_studies import Measured, ScalingStudy

TOLD = "forward_kl_dataset"
"""Number of metric.divergence that is a study's divergence."""


class Axis(StrEnum):
    """What a law is in."""

    steps = "steps"
    labels = "labels"
    parameters = "parameters"


@dataclass(frozen=True, slots=True)
class Cell:
    """One training and its place on all axes."""

    method: str
    student: str
    seed: int
    steps: int
    labels: int | None
    """None for the labels of all examples."""
    parameters: int

    @property
    def name(self) -> str:
        """Of its run directory."""
        labels = "all" if self.labels is None else self.labels
        return f"{self.method}-{self.steps}-steps-{labels}-labels-{self.student}-{self.seed}"

    def training(self, run: ScalingStudy) -> Training:
        """As a launcher takes it."""
        labels = [] if self.labels is None else [f"dataset.labelled={self.labels}"]
        chosen = [run.methods[self.method], run.students[self.student]]
        own = [f"steps={self.steps}", *labels, f"seed={self.seed}"]
        evaluated = run.of is Measured.divergence
        asked = f"metric=divergence {run.evaluation}" if evaluated else ""
        return Training(self.name, " ".join([*chosen, *own]), asked)

    def row(self, value: float) -> dict[str, Any]:
        """What cells.csv has of it."""
        return {
            "method": self.method,
            "steps": self.steps,
            "labels": self.labels,
            "student": self.student,
            "parameters": self.parameters,
            "seed": self.seed,
            "value": value,
        }


def cells_of(run: ScalingStudy, parameters: Mapping[str, int]) -> list[Cell]:
    """All cells, each once, in the order of methods, axes and seeds."""
    largest = max(parameters, key=lambda name: parameters[name])
    found: dict[str, Cell] = {}
    for method in run.methods:
        for seed in run.seeds:
            labels = max(run.labels, default=None)
            corner = Cell(method, largest, seed, max(run.steps), labels, parameters[largest])
            for cell in _from(corner, run, parameters):
                found[cell.name] = cell
    return list(found.values())


def _from(corner: Cell, run: ScalingStudy, parameters: Mapping[str, int]) -> Iterator[Cell]:
    yield from (replace(corner, steps=count) for count in sorted(run.steps))
    yield from (replace(corner, labels=count) for count in sorted(run.labels))
    for student in sorted(parameters, key=lambda name: parameters[name]):
        yield replace(corner, student=student, parameters=parameters[student])


def along(rows: Sequence[dict[str, Any]], axis: Axis) -> list[dict[str, Any]]:
    """The rows of one method that differ from the largest cell on this axis alone."""
    others = [each for each in Axis if each is not axis]
    largest = {each: max(row[each] or 0 for row in rows) for each in others}
    return [row for row in rows if all((row[each] or 0) == largest[each] for each in others)]


def check_sizes(parameters: Mapping[str, int]) -> None:
    """Refuse students that a law could not tell apart.

    Raises:
        ConfigError: two have as many parameters.
    """
    for name, count in parameters.items():
        if same := [each for each in parameters if parameters[each] == count and each != name]:
            raise ConfigError(
                f"students.{name} and students.{same[0]} both have {count:,} parameters, so they "
                "are one size. Leave one out."
            )


def check_tests(run: ScalingStudy, made: Mapping[str, Composed]) -> None:
    """Refuse trainings whose numbers would be of different examples, or of none.

    Raises:
        ConfigError: they would.
    """
    first, *others = made
    for name in others:
        for key, value in _tested(made[name]).items():
            expected = _tested(made[first]).get(key)
            if value != expected:
                raise ConfigError(
                    f"{key} is {value} in the training {name} and {expected} in {first}, so they "
                    f"would be tested on different examples. Set train.{key}=... for all alike."
                )
    if _tested(made[first])["evaluation.test"] == 0 and run.of is not Measured.divergence:
        raise ConfigError(
            f"of={run.of} is measured on the test split, but evaluation.test=0. Set it above 0."
        )


def _tested(composed: Composed) -> dict[str, Any]:
    config = composed.named
    dataset = {f"dataset.{key}": value for key, value in config["dataset"].items()}
    dataset.pop("dataset.labelled", None)
    return {**dataset, "evaluation.test": config["evaluation"]["test"]}


def measured(directory: RunDirectory, of: Measured) -> float:
    """What a finished training reached; an accuracy as its error rate.

    Raises:
        RunError: it was not measured.
    """
    after = (directory.summary or {}).get("student_after", {})
    value = after.get(of)
    if of is Measured.divergence:
        evaluation = read_evaluation(directory.path, "test")
        found = evaluation.number("divergence", TOLD) if evaluation else None
        value = None if found is None else found.value
    if value is None:
        raise RunError(f"{directory.path} has no {of} of the test split. Choose another of=...")
    return float(1 - value if of is Measured.accuracy else value)
