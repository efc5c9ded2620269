"""Studies: many trainings, and what they say together. Fields only."""

from distillkit.run_studies.base import Study, TrainingStudy
from distillkit.run_studies.explanation import LanguageStudy, MixtureStudy
from distillkit.run_studies.fidelity import FidelityStudy
from distillkit.run_studies.order import Equal, OrderStudy, Tuned
from distillkit.run_studies.scaling import LEAST_SIZES, Measured, ScalingStudy

__all__ = [
    "LEAST_SIZES",
    "Equal",
    "FidelityStudy",
    "LanguageStudy",
    "Measured",
    "MixtureStudy",
    "OrderStudy",
    "ScalingStudy",
    "Study",
    "TrainingStudy",
    "Tuned",
]
