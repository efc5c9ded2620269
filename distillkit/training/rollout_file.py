"""Rollouts that outlive the step they were written in, as JSON lines beside a checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from distillkit.core.files import write_json_lines
from distillkit.core.reading import damaged, read_json_lines
from distillkit.core.types import Author, Example, Response, Rollout

WAY_OUT = (
    "Delete that checkpoint to resume from the one before it, or the run directory to start anew."
)


class Answered(TypedDict):
    """A response as a line has it."""

    tokens: list[int]
    truncated: bool
    author: str
    log_probs: list[float]
    of_student: list[float]
    of_teacher: list[float]


class Line(TypedDict):
    """A rollout as a line has it."""

    example: str
    response: Answered
    reward: float | None


def save_rollouts(file: Path, rollouts: Sequence[Rollout]) -> None:
    """Write them; every float can be read back to the last bit."""
    write_json_lines(
        file,
        [
            {
                "example": rollout.example.id,
                "response": asdict(rollout.response),
                "reward": rollout.reward,
            }
            for rollout in rollouts
        ],
    )


def load_rollouts(file: Path, examples: Sequence[Example]) -> list[Rollout]:
    """Read them; none where there is no file.

    Args:
        file: written by :func:`save_rollouts`.
        examples: those of the run, of which a rollout holds one.

    Raises:
        RunError: an example is none of the run's, or a field is missing.
    """
    if not file.is_file():
        return []
    known = {example.id: example for example in examples}
    rows = read_json_lines(file, Line, way_out=WAY_OUT)
    try:
        return [_rollout(row, known) for row in rows]
    except (KeyError, ValueError) as error:
        raise damaged(file, f"it has rollouts of another run: {error}", way_out=WAY_OUT) from error


def _rollout(row: Mapping[str, Any], known: Mapping[str, Example]) -> Rollout:
    values = row["response"]
    numbers = (tuple(values[name]) for name in ("log_probs", "of_student", "of_teacher"))
    author = Author(values["author"])
    response = Response(tuple(values["tokens"]), values["truncated"], author, *numbers)
    return Rollout(known[row["example"]], response, row["reward"])
