"""The rule by which a study chooses learning rates, the same for every method."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from distillkit.core.errors import DataError
from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.programs.train.standing import METRICS

Rate = TypeVar("Rate", float, str)


def untried(scores: Mapping[Rate, float], rates: Sequence[Rate]) -> list[Rate]:
    """Rates that are still to be tried before one is chosen.

    First all but the ends, then an end where its neighbour is the best so far.

    Args:
        scores: validation of the last weights of those that were tried; higher is better.
        rates: all that may be, ascending; of two both are tried, one is not asked about.
    """
    if len(rates) == 1:
        return []
    first = rates[1:-1] or rates
    if left := [rate for rate in first if rate not in scores]:
        return left
    at = rates.index(best(scores, rates))
    return [rate for rate in rates[max(0, at - 1) : at + 2] if rate not in scores]


def best(scores: Mapping[Rate, float], rates: Sequence[Rate]) -> Rate:
    """The rate with the best score; the lowest one of equals."""
    tried = [rate for rate in rates if rate in scores]
    return max(tried, key=lambda rate: scores[rate]) if len(rates) > 1 else rates[0]


def score_of(run: RunDirectory) -> float:
    """Of a finished run's last validation: accuracy, or where nothing is judged, likelihood.

    Raises:
        RunError: its metrics are damaged.
        DataError: it has no validation.
    """
    run.check_left(METRICS)
    rows = read_json_lines(run.path / METRICS, dict[str, float], way_out=WAY_OUT)
    for row in reversed(rows):
        if "validation/accuracy" in row:
            return row["validation/accuracy"]
        if "validation/nll" in row:
            return -row["validation/nll"]
    raise DataError(f"{run.path} was never validated, so that no rate can be chosen. {WAY_OUT}")
