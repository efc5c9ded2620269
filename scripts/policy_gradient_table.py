"""Policy-gradient objectives and what they are compared with, over several seeds, as Markdown.

    for seed in 0 1 2; do distillkit train experiment=minillm seed=$seed name=minillm-$seed; done
    distillkit eval run=outputs/train/minillm-0 \\
        metric=[accuracy,length,divergence,precision_recall,diversity]
    python -m scripts.policy_gradient_table outputs/train

Runs are named ``<experiment>-<seed>``. Accuracy and cut answers are those of greedy decoding, all
else is of samples; length and repetition count words. A difference is in points of accuracy: its
first interval resamples the examples with the seeds held fixed, the second is Student's t over the
seeds that both have. Accuracy elsewhere is measured here, greedily, and kept beside the run.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from distillkit.compose import compose, reopen
from distillkit.core.rundir import RunDirectory
from distillkit.core.sealed import read_sealed, write_sealed
from distillkit.core.types import Split
from distillkit.evaluation.quality import measure
from distillkit.metrics.diversity import n_grams
from distillkit.models.loading import load, pick_device
from distillkit.models.pretrained import of_folder
from distillkit.models.sampling import Sampling
from distillkit.report.comparing import PairedRuns
from distillkit.report.groups import Group
from distillkit.report.runs import Run
from scripts.seeded import by_configuration

Reading = Callable[[Run], float | None]

ABSENT = "-"
LAST = 50
"""Updates over whose diagnostics a mean is taken."""


def main(
    folder: Annotated[Path, typer.Argument(help="Holds runs named <experiment>-<seed>.")],
    against: Annotated[str, typer.Option(help="Whom all others are compared with.")] = "minillm",
    elsewhere: Annotated[str, typer.Option(help="A dataset; empty for none.")] = "journey",
    limit: Annotated[int | None, typer.Option(help="Examples elsewhere; all if not given.")] = None,
) -> None:
    """Print one row for each configuration, the baseline first."""
    groups = by_configuration(folder)
    if against not in groups:
        raise SystemExit(f"--against {against} is none of {', '.join(groups)}.")
    columns = _columns()
    if elsewhere:
        columns[f"accuracy on {elsewhere}"] = (
            ".1%",
            lambda run: accuracy_elsewhere(folder / run.name, elsewhere, limit=limit),
        )
    order = sorted(groups, key=lambda name: (name != against, name))
    cells = {
        title: [_mean(reading, groups[name].runs, form) for name in order]
        for title, (form, reading) in columns.items()
    }
    shown = {title: column for title, column in cells.items() if set(column) != {ABSENT}}
    head = ("configuration", "accuracy, each seed", "mean", f"points over {against}", *shown)
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    comparison, baseline = PairedRuns(), groups[against]
    for row, name in enumerate(order):
        each = ", ".join(_written(_number("accuracy")(run), ".1%") for run in groups[name].runs)
        mean = _mean(_number("accuracy"), groups[name].runs, ".1%")
        over = ABSENT if name == against else _difference(comparison, groups[name], baseline)
        print(f"| {' | '.join((name, each, mean, over, *(shown[key][row] for key in shown)))} |")
    for who in ("start", "teacher"):
        first = baseline.runs[0].evaluation
        found = first.number("accuracy", "accuracy", who=who) if first else None
        if found:
            print(f"| {who} | | {found.value:.1%} |{' |' * (len(head) - 3)}")


def _columns() -> dict[str, tuple[str, Reading]]:
    """By title, a number's format and where it is read."""
    return {
        "cut": (".1%", _number("length", "truncated_share")),
        "words a sample": (".1f", sample_length),
        "repeated 4-grams": (".1%", repeated_share),
        "response length, training": (".1f", _diagnostic("response_length")),
        "repetition, training": (".1%", _diagnostic("repetition")),
        "KL(student, teacher)": (".3f", _number("divergence", "reverse_kl_own")),
        "KL(teacher, student)": (".3f", _number("divergence", "forward_kl_own")),
        "precision": (".3f", _number("precision_recall", "precision")),
        "recall": (".3f", _number("precision_recall", "recall")),
        "Self-BLEU": (".1f", _number("diversity", "self_bleu")),
    }


def _difference(comparison: PairedRuns, group: Group, baseline: Group) -> str:
    """Points of accuracy, with both intervals; or why there are none."""
    found = comparison.difference(group.runs, baseline.runs, metric="accuracy", number="accuracy")
    if isinstance(found, str):
        return found
    seeds = found.seeds
    # Seeds that all differ by the same leave no spread to judge by.
    spread = seeds if seeds and seeds.low != seeds.high else None
    return (
        f"{100 * found.value:+.1f}; examples {_points(found.low, found.high)}; "
        f"seeds {_points(spread and spread.low, spread and spread.high)}"
    )


def _points(low: float | None, high: float | None) -> str:
    return ABSENT if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"


def _mean(reading: Reading, runs: Sequence[Run], form: str) -> str:
    found = [reading(run) for run in runs]
    known = [value for value in found if value is not None]
    return _written(fmean(known) if known and len(known) == len(runs) else None, form)


def _written(value: float | None, form: str) -> str:
    return ABSENT if value is None else f"{value:{form}}"


def _number(metric: str, number: str | None = None) -> Reading:
    def read(run: Run) -> float | None:
        found = run.evaluation and run.evaluation.number(metric, number or metric)
        return found.value if found else None

    return read


def _diagnostic(name: str) -> Reading:
    """Mean over the last updates whose row has the number."""

    def read(run: Run) -> float | None:
        rows = [row[name] for row in run.journal if name in row][-LAST:]
        return fmean(rows) if rows else None

    return read


def samples(run: Run) -> list[list[str]]:
    """Words of every sample that ``metric=diversity`` kept."""
    records = run.evaluation.records.get("diversity", {}) if run.evaluation else {}
    return [text.split() for record in records.values() for text in record.get("texts", ())]


def sample_length(run: Run) -> float | None:
    """Mean words."""
    texts = samples(run)
    return fmean(map(len, texts)) if texts else None


def repeated_share(run: Run) -> float | None:
    """Of all runs of four words, the share that their sample has had before."""
    grams = [n_grams(words, 4) for words in samples(run)]
    total = sum(map(len, grams))
    return 1 - sum(len(set(some)) for some in grams) / total if total else None


def accuracy_elsewhere(folder: Path, dataset: str, *, limit: int | None) -> float:
    """Share of right greedy answers on another dataset's test split, measured once for a run."""
    file = folder / f"elsewhere-{dataset}.json"
    directory = RunDirectory(folder)
    summary = directory.summary
    if summary is None:
        raise SystemExit(f"{folder} is not finished.")
    directory.check_left(directory.student.name)
    made_from = {"fingerprint": summary["fingerprint"], "limit": limit}
    kept = (
        read_sealed(file, dict[str, Any], old=True, way_out="Delete it.") if file.exists() else {}
    )
    if any(kept.get(key) != value for key, value in made_from.items()):
        run = reopen(folder).run
        source = of_folder(run.student, directory.student)
        student = load(source, device=pick_device(run.device), precision=run.precision)
        judge = compose("train", [f"dataset={dataset}"]).run.dataset
        length = run.evaluation.max_new_tokens or run.rollout.max_new_tokens
        examples = judge.examples(Split.test)[:limit]
        found = measure(student, judge, examples, sampling=Sampling(max_new_tokens=length))
        kept = {**made_from, "accuracy": found.accuracy.compute(), "n": len(examples)}
        write_sealed(file, kept)
    return float(kept["accuracy"])


if __name__ == "__main__":
    typer.run(main)
