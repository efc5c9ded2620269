"""What a reward costs in divergence from the teacher: a picture, and a table as Markdown.

    for alpha in 0 0.25 0.5 1; do
        distillkit train experiment=rl_distil objective.alpha=$alpha seed=0 name=alpha-$alpha-0
        distillkit eval run=outputs/train/alpha-$alpha-0 metric=[accuracy,divergence,diversity]
    done
    python -m scripts.reward_tradeoff outputs/train

Runs are named ``alpha-<alpha>-<seed>``. The reward is the runs' own, of the samples of the test
split at temperature 1 (what GKD's eq. 5 maximises); the table has the accuracy of greedy answers
too. The divergence is KL(student || teacher) of a token in the same
samples. Whiskers are 95 % intervals: Student's t over seeds, and where there is one seed, or for
the student before and the teacher, a bootstrap over examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from transformers import AutoTokenizer

from distillkit.compose import reopen
from distillkit.core.types import Split
from distillkit.evaluation.folder import EvaluationFolder
from distillkit.models.loading import locate
from distillkit.report.comparing import over_seeds, value_of
from distillkit.report.evaluations import Value
from distillkit.report.groups import Group
from distillkit.report.runs import Run
from distillkit.rewards.base import Answer
from distillkit.run import TrainRun
from distillkit.statistics import bootstrap
from scripts.seeded import by_configuration

PREFIX = "alpha-"


@dataclass(frozen=True, slots=True)
class Point:
    """One place in the picture."""

    label: str
    seeds: int
    divergence: Value
    reward: Value
    greedy: Value


def main(
    folder: Annotated[Path, typer.Argument(help="Holds runs named alpha-<alpha>-<seed>.")],
    picture: Annotated[
        Path | None, typer.Option(help="tradeoff.png in the folder if none.")
    ] = None,
) -> None:
    """Draw and print a point for each alpha, the student before and the teacher."""
    groups = [group for name, group in by_configuration(folder).items() if name.startswith(PREFIX)]
    if not groups:
        raise SystemExit(f"{folder} has no run that is named alpha-<alpha>-<seed>.")
    groups.sort(key=lambda group: float(group.label.removeprefix(PREFIX)))
    points = [_of_alpha(folder, group) for group in groups]
    points += [_of_model(folder, groups[0].runs[0], who) for who in ("start", "teacher")]
    print("| | seeds | reward of samples | greedy accuracy | KL(student, teacher) |")
    print("|---|---|---|---|---|")
    for point in points:
        told = [_told(point.reward, ".3f"), _told(point.greedy, ".1%")]
        row = [point.label, str(point.seeds or "-"), *told, _told(point.divergence, ".3f")]
        print(f"| {' | '.join(row)} |")
    target = picture or folder / "tradeoff.png"
    draw(points, target)
    print(f"\n{target}")


def _of_alpha(folder: Path, group: Group) -> Point:
    rewards = [rewards_of_samples(folder / run.name)["student"] for run in group.runs]
    divergence = value_of(group, "divergence", "reverse_kl_own")
    greedy = value_of(group, "accuracy", "accuracy")
    if divergence is None or greedy is None:
        raise SystemExit(f"{group.label}: evaluate with metric=[accuracy,divergence,diversity].")
    means = [_share(reward) for reward in rewards]
    return Point(
        label=f"alpha {group.label.removeprefix(PREFIX)}",
        seeds=len(group.runs),
        divergence=divergence,
        reward=over_seeds([mean.value for mean in means]) if group.seeded else means[0],
        greedy=greedy,
    )


def _of_model(folder: Path, run: Run, who: str) -> Point:
    """A model that is the same for all runs; the teacher is 0 away from itself."""
    assert run.evaluation is not None
    reward = _share(rewards_of_samples(folder / run.name)[who])
    greedy = run.evaluation.number("accuracy", "accuracy", who=who)
    away = run.evaluation.number("divergence", "reverse_kl_own", who=who)
    assert greedy is not None
    return Point(who, 0, away or Value(0.0), reward, greedy)


def rewards_of_samples(run: Path) -> dict[str, list[list[float]]]:
    """What each sample of each test example earns, by whose it is.

    Raises:
        SystemExit: the evaluation kept no samples.
    """
    opened: TrainRun = reopen(run).run
    examples = {example.id: example for example in opened.dataset.examples(Split.test)}
    judge = opened.reward.judge(opened.dataset, device=torch.device("cpu"))
    tokenizer = AutoTokenizer.from_pretrained(locate(opened.student.name))
    found: dict[str, list[list[float]]] = {}
    kept = EvaluationFolder(run, "test").kept()
    for row in kept.records if kept else ():
        for who, texts in _texts(row).items():
            answers = [
                Answer(examples[row["id"]], text, len(tokenizer(text)["input_ids"]) + 1, False)
                for text in texts
            ]
            found.setdefault(who, []).append(judge(answers))
    if not found:
        raise SystemExit(f"{run}: no samples are kept. Evaluate with metric=diversity too.")
    return found


def _texts(row: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    return {
        who: of["diversity"]["texts"]
        for who, of in row.items()
        if isinstance(of, Mapping) and "diversity" in of
    }


def _share(rewards: Sequence[Sequence[float]]) -> Value:
    """Mean of all samples, with an interval over examples."""
    means = np.array([np.mean(each) for each in rewards])
    draws = bootstrap.counts(len(means)) @ means / len(means)
    return Value(float(means.mean()), *bootstrap.interval(draws))


def _told(value: Value, form: str) -> str:
    if value.low is None or value.high is None:
        return f"{value.value:{form}}"
    return f"{value.value:{form}} ({value.low:{form}} to {value.high:{form}})"


def draw(points: Sequence[Point], target: Path) -> None:
    """Reward over divergence, with whiskers and labels."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 5), layout="constrained")
    alphas = [point for point in points if point.seeds]
    axis.plot(
        [point.divergence.value for point in alphas],
        [point.reward.value for point in alphas],
        color="#4c72b0",
        linewidth=1,
    )
    axis.margins(0.12)
    for place, point in enumerate(points):
        x, y = point.divergence, point.reward
        axis.errorbar(
            x.value,
            y.value,
            xerr=_whiskers(x),
            yerr=_whiskers(y),
            fmt="o" if point.seeds else "s",
            color="#4c72b0" if point.seeds else "#555555",
            capsize=3,
        )
        # Neighbours may lie on one spot: their labels stand one above the other.
        aside = (6, 6 + 12 * (place % 2)) if point.seeds else (6, -14)
        axis.annotate(point.label, (x.value, y.value), xytext=aside, textcoords="offset points")
    axis.set_xlabel("KL(student || teacher) of a token in its own samples, nats")
    axis.set_ylabel("reward of a sample, test")
    axis.set_title("Reward against divergence; 95 % intervals")
    figure.savefig(target, dpi=120)
    pyplot.close(figure)


def _whiskers(value: Value) -> list[list[float]] | None:
    """Below and above [2, 1]."""
    if value.low is None or value.high is None:
        return None
    return [[max(0.0, value.value - value.low)], [max(0.0, value.high - value.value)]]


if __name__ == "__main__":
    typer.run(main)
