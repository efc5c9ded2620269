"""The folder of one evaluation: ``<run>/evaluation/<split>/``, added to by later calls.

``results.json`` has the numbers, ``records.jsonl`` what each example adds to each metric, and
``items.jsonl`` the greedy texts side by side.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distillkit.core.errors import RunError
from distillkit.core.files import read_json, write_json, write_json_lines
from distillkit.evaluation.results import Tallies
from distillkit.metrics.base import Metric, Tally
from distillkit.metrics.rebuilding import metric_of


class EvaluationFolder:
    """Reads and writes one evaluation.

    Args:
        run: the run directory.
        split: the split that was measured.
    """

    def __init__(self, run: Path, split: str) -> None:
        self.path = run / "evaluation" / split

    def bind(self, weights: Mapping[str, str]) -> None:
        """Hold the evaluations of this run to the weights that they began with.

        Args:
            weights: digest of each measured model.

        Raises:
            RunError: earlier evidence was made from other weights.
        """
        file = self.path.parent / "weights.json"
        before = read_json(file) if file.is_file() else {}
        for who, digest in weights.items():
            if before.get(who, digest) != digest:
                raise RunError(
                    f"the evidence in {file.parent} is from another checkpoint: its {who} had "
                    f"weights {before[who]}, and now they are {digest}. Put those weights back, or "
                    f"delete {file.parent} to measure the new ones."
                )
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {**before, **weights})

    def earlier(self, fingerprint: str) -> tuple[dict[str, Metric], dict[str, dict[str, Tally]]]:
        """Metrics of earlier calls with the same examples, decoding and weights, and tallies."""
        file = self.path / "results.json"
        if not file.is_file():
            return {}, {}
        found = read_json(file)
        if found["fingerprint"] != fingerprint:
            return {}, {}
        metrics = {
            name: metric
            for name, fields in found["metrics"].items()
            if (metric := metric_of(name, fields)) is not None
        }
        lines = (self.path / "records.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        tallies = {
            who: {
                name: Tally({row["id"]: row[who][name] for row in rows if name in row[who]})
                for name in metrics
            }
            for who in found["numbers"]
        }
        return metrics, tallies

    def write(
        self, results: Mapping[str, Any], *, tallies: Tallies, items: Iterable[Mapping[str, Any]]
    ) -> None:
        """Replace what is there; ``results.json`` comes last."""
        self.path.mkdir(parents=True, exist_ok=True)
        records: dict[str, dict[str, Any]] = {}
        for who, by_metric in tallies.items():
            for name, tally in by_metric.items():
                for each, record in tally.records.items():
                    row = records.setdefault(each, {"id": each, **{side: {} for side in tallies}})
                    row[who][name] = record
        write_json_lines(self.path / "items.jsonl", items)
        write_json_lines(self.path / "records.jsonl", records.values())
        write_json(self.path / "results.json", results)
