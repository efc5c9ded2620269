"""Three levels of mixtures: truth, sharpened teacher, student; how precise, and how complete."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distillkit.evaluation.explanation_study.fitting import fit
from distillkit.evaluation.explanation_study.mixture import Array, Mixture, truth
from distillkit.evaluation.explanation_study.settings import Levels

DIRECT = "direct"
"""The student that is fitted to the data itself."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """One student of one seed, and what it was fitted to."""

    beta: float | None
    """Of its teacher; None for the direct student."""
    student: Mixture
    teacher: Mixture
    """Sharpened; that of the largest beta where the student had none."""
    points: Array
    """It was fitted to [n, 2]."""


def fitted(levels: Levels, betas: Sequence[float], seed: int) -> tuple[Array, list[Fitted]]:
    """The data [n, 2], and all students of a seed, the direct one first."""
    random = np.random.default_rng(seed)
    data = truth(levels.variance, levels.ratio).sample(levels.data, random)
    teacher = fit(data, levels.teacher, how=levels.fit, seed=seed)

    def student(points: Array) -> Mixture:
        return fit(points, levels.student, how=levels.fit, seed=seed)

    found = [Fitted(None, student(data), teacher.sharpened(max(betas)), data)]
    for beta in betas:
        sharp = teacher.sharpened(beta)
        points = sharp.sample(levels.drawn, random)
        found.append(Fitted(beta, student(points), sharp, points))
    return data, found


def measured(levels: Levels, betas: Sequence[float], seed: int) -> list[dict[str, Any]]:
    """A row for each student of a seed; likelihoods are means in nats a point.

    ``precision`` is that of the student's samples under the truth, ``recall`` that of fresh points
    of the truth under the student. The last two are what the authors' notebook computes under
    these names: the first under the sharpened teacher, the second on the data of the fit.
    """
    data, students = fitted(levels, betas, seed)
    real = truth(levels.variance, levels.ratio)
    random = np.random.default_rng((seed, 1))
    test = real.sample(levels.test, random)
    rows = []
    for each in students:
        own = each.student.sample(levels.samples, random)
        rows.append(
            {
                "seed": seed,
                "beta": each.beta,
                "teacher_entropy": None if each.beta is None else each.teacher.entropy,
                "precision": float(real.log_density(own).mean()),
                "recall": float(each.student.log_density(test).mean()),
                "precision_as_coded": float(each.teacher.log_density(own).mean()),
                "recall_as_coded": float(each.student.log_density(data).mean()),
            }
        )
    return rows
