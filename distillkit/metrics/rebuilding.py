"""From what an evaluation kept of a metric back to the metric."""

from collections.abc import Mapping
from typing import Any

from distillkit.core.spec import SPECS, discover_in
from distillkit.metrics.base import Metric


def metric_of(name: str, fields: Mapping[str, Any]) -> Metric | None:
    """The metric as it was set; None where this version has no such metric or field."""
    discover_in("distillkit.metrics")
    spec = SPECS.get(f"metric/{name}")
    try:
        return spec(**fields) if spec else None
    except (TypeError, ValueError):
        return None
