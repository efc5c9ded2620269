"""What of a study's summary agrees with arXiv:2505.15442, and what does not."""

from collections.abc import Mapping
from statistics import median
from typing import Any

PUBLISHED_GAIN = {"mathematics": 4.39, "commonsense": -2.33}
"""Mean gain of all 33 students at tau 1, from the authors' tables."""

PUBLISHED_AGREEMENT = (
    *(-0.18, -0.09, -0.33, -0.63, -0.37, -0.12),
    *(-0.12, -0.19, 0.21, 0.08, -0.32, -0.02, -0.21, 0.12),
)
"""Spearman's ρ of gain and agreement, task by task, at the best tau."""

PUBLISHED_FIDELITY = (-0.19, -0.12, -0.02, -0.46, -0.21, 0.11)
"""The same of gain and likeness of rationales, which mathematics alone has."""

NOTE = (
    "n counts (teacher, student, method), means over seeds; units share teachers and students, so "
    "p promises too much. Gain and agreement are read off the same answers: where the teacher is "
    "right, to agree is to be right, so their correlation leans towards 1 by how they are made; "
    "agreement where the teacher is wrong does not."
)


def verdict(found: Mapping[str, Any]) -> str:
    """Sentences with our numbers and the paper's side by side."""
    sentences = [_gain(found)]
    together = {line["measure"]: line["spearman"] for line in found["together"]}
    for measure, name, theirs in (
        ("agreement", "agreement", PUBLISHED_AGREEMENT),
        ("agreement_teacher_wrong", "agreement where the teacher is wrong", None),
        ("bleu", "likeness of rationales (BLEU)", PUBLISHED_FIDELITY),
    ):
        if measure in together:
            sentences.append(_about(name, together[measure], theirs))
    return " ".join(sentences)


def _gain(found: Mapping[str, Any]) -> str:
    asked = ("average", "improvement", None, "paired t, one-sided (greater)")
    for told in found["answers"]:
        if tuple(told[name] for name in ("task", "question", "method", "test")) == asked:
            low, high = told["low"], told["high"]
            between = "no interval" if low is None else f"{low:+.2f} to {high:+.2f}"
            helps = "agrees" if low is not None and low > 0 else "does not agree"
            named = " and ".join(f"{gain:+.2f} ({name})" for name, gain in PUBLISHED_GAIN.items())
            return (
                f"H1, distillation helps: {helps}. Mean gain {told['estimate']:+.2f} points "
                f"({between}), published {named} at tau 1."
            )
    return "H1, distillation helps: fewer than three (teacher, student, method) cannot tell."


def _about(name: str, rho: Mapping[str, Any], published: tuple[float, ...] | None) -> str:
    if rho["estimate"] is None or rho["low"] is None:
        return f"Gain and {name}: cannot be told."
    tied = rho["low"] > 0
    paradox = "no paradox here, they rise together" if tied else "as in the paper, no clear tie"
    beside = ""
    if published is not None:
        beside = (
            f", published {median(published):+.2f} (median of {len(published)} tasks, "
            f"{min(published):+.2f} to {max(published):+.2f})"
        )
    between = f"{rho['low']:+.2f} to {rho['high']:+.2f}"
    return f"Gain and {name}: {paradox}: ρ {rho['estimate']:+.2f} ({between}){beside}."
