"""The learning rate as a function of the step, so that resuming has nothing to restore."""

import math

from distillkit.training.settings import OptimizerSettings, Shape


def warm_updates(steps: int, settings: OptimizerSettings) -> int:
    """Updates of a run of so many steps in which the rate rises."""
    return round(settings.warmup * steps)


def learning_rate(step: int, *, steps: int, settings: OptimizerSettings) -> float:
    """Rate of the update with index ``step`` (from 0) in a run of ``steps`` updates."""
    warm = warm_updates(steps, settings)
    if step < warm:
        return settings.lr * (step + 1) / (warm + 1)
    progress = (step - warm) / max(1, steps - warm)
    return settings.lr * (settings.floor + (1 - settings.floor) * _height(progress, settings))


def _height(progress: float, settings: OptimizerSettings) -> float:
    match settings.schedule:
        case Shape.constant:
            return 1.0
        case Shape.linear:
            return 1 - progress
        case Shape.cosine:
            return (1 + math.cos(math.pi * progress)) / 2
        case Shape.wsd:
            return min(1.0, (1 - progress) / settings.decay) if settings.decay else 1.0
