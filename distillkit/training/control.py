"""What a finished training is compared with, trained from the same student and labels."""

import math
from dataclasses import field

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec


@spec("control/sft")
class SftControl:
    """SFT on the labels that the run had, for as many updates: the row that it must beat.

    The dataset's text alone is learnt, once with each rate. Validation chooses among the rates and
    among the steps at which it was asked, so that the control is as good as those labels make it.
    """

    rates: list[float] = field(default_factory=lambda: [1e-4, 3e-4, 1e-3])
    """Learning rates to try."""

    def __post_init__(self) -> None:
        if not self.rates or not all(0 < rate < math.inf for rate in self.rates):
            raise ConfigError(
                f"control.rates={self.rates} must be one learning rate or more, each above 0."
            )
