"""The folder of one evaluation: ``<run>/evaluation/<split>/``, added to by later calls.

``results.json`` has the numbers and the digests of its two neighbours: ``records.jsonl``, what each
example adds to each metric, and ``items.jsonl``, the greedy texts side by side.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.core.errors import RunError
from distillkit.core.files import write_json_lines
from distillkit.core.reading import damaged, read_json_lines
from distillkit.core.rundir import RunDirectory
from distillkit.core.sealed import check_digests, digests_of, read_sealed, write_sealed
from distillkit.core.shapes import Item, Measured, Results
from distillkit.evaluation.results import Tallies
from distillkit.metrics.base import Metric, Tally
from distillkit.metrics.rebuilding import metric_of

RESULTS, RECORDS, ITEMS, WEIGHTS = "results.json", "records.jsonl", "items.jsonl", "weights.json"


@dataclass(frozen=True, slots=True)
class KeptEvaluation:
    """What an evaluation left, as its files have it."""

    results: Mapping[str, Any]
    """Of results.json."""
    records: list[dict[str, Any]]
    """Lines of records.jsonl."""
    items: list[dict[str, Any]]
    """Lines of items.jsonl."""


class EvaluationFolder:
    """Reads and writes one evaluation.

    Args:
        run: the run directory.
        split: the split that was measured.
    """

    def __init__(self, run: Path, split: str) -> None:
        self.path = run / "evaluation" / split
        self._run = RunDirectory(run)
        self._way_out = (
            f"Delete {self.path.parent} and give distillkit eval run={run} again: texts and scores "
            "are kept elsewhere"
        ) + "."

    def check(self) -> None:
        """Compare all that earlier calls left with what they wrote; touch nothing.

        Raises:
            RunError: a file is damaged, of another run, or there is a folder in its place.
        """
        for folder in (self.path.parent, self.path):
            if folder.exists() and not folder.is_dir():
                raise damaged(folder, "it is no folder", way_out=self._way_out)
        if self.path.is_dir():
            for entry in self.path.iterdir():
                if not entry.is_file():
                    raise damaged(entry, "it is no ordinary file", way_out=self._way_out)
        self._weights()
        self.kept()

    def bind(self, weights: Mapping[str, str]) -> None:
        """Hold the evaluations of this run to the weights that they began with.

        Args:
            weights: digest of each measured model.

        Raises:
            RunError: earlier evidence was made from other weights.
        """
        folder, before = self.path.parent, self._weights()
        for who, digest in weights.items():
            if before.get(who, digest) != digest:
                raise RunError(
                    f"the evidence in {folder} is from another checkpoint: its {who} had "
                    f"weights {before[who]}, and now they are {digest}. Put those weights back, or "
                    f"delete {folder} to measure the new ones."
                )
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(folder / WEIGHTS, {"run": self._owner, **before, **weights})

    def _weights(self) -> dict[str, str]:
        """Digests that earlier calls measured; none where digests meant something else."""
        file = self.path.parent / WEIGHTS
        if not file.exists():
            return {}
        found = read_sealed(file, dict[str, str | None], old=self._run.old, way_out=self._way_out)
        if "run" not in found:
            return {}
        self._check_owner(file, found.pop("run"))
        return {who: str(digest) for who, digest in found.items()}

    def kept(self) -> KeptEvaluation | None:
        """What is there; None where there are no results.

        Raises:
            RunError: a file is damaged, or another run's.
        """
        file = self.path / RESULTS
        if not file.exists():
            return None
        way_out = self._way_out
        results = read_sealed(file, Results, old=self._run.old, way_out=way_out)
        if "run" in results:
            self._check_owner(file, results["run"])
        recorded = results.get("files", {})
        check_digests(self.path, recorded, names=recorded, way_out=way_out)
        lines = {
            name: read_json_lines(self.path / name, shape, way_out=way_out)
            if name in recorded or (self.path / name).exists()
            else []
            for name, shape in ((RECORDS, Measured), (ITEMS, Item))
        }
        return KeptEvaluation(results, lines[RECORDS], lines[ITEMS])

    def earlier(self, fingerprint: str) -> tuple[dict[str, Metric], dict[str, dict[str, Tally]]]:
        """Metrics of earlier calls with the same examples, decoding and weights, and tallies."""
        kept = self.kept()
        if kept is None or kept.results["fingerprint"] != fingerprint:
            return {}, {}
        metrics = {
            name: metric
            for name, fields in kept.results["metrics"].items()
            if (metric := metric_of(name, fields)) is not None
        }
        tallies = {
            who: {
                name: Tally(
                    {row["id"]: row[who][name] for row in kept.records if name in row.get(who, {})}
                )
                for name in metrics
            }
            for who in kept.results["numbers"]
        }
        return metrics, tallies

    def write(
        self, results: Mapping[str, Any], *, tallies: Tallies, items: Iterable[Mapping[str, Any]]
    ) -> None:
        """Replace what is there; ``results.json`` goes first and comes back last."""
        self.path.mkdir(parents=True, exist_ok=True)
        records: dict[str, dict[str, Any]] = {}
        for who, by_metric in tallies.items():
            for name, tally in by_metric.items():
                for each, record in tally.records.items():
                    row = records.setdefault(each, {"id": each, **{side: {} for side in tallies}})
                    row[who][name] = record
        # A process that dies in between leaves no results, and never those of other records.
        (self.path / RESULTS).unlink(missing_ok=True)
        write_json_lines(self.path / ITEMS, items)
        write_json_lines(self.path / RECORDS, records.values())
        files = digests_of(self.path, (ITEMS, RECORDS))
        write_sealed(self.path / RESULTS, {**results, "run": self._owner, "files": files})

    @property
    def _owner(self) -> str | None:
        record = self._run.record
        return None if record is None else str(record["fingerprint"])

    def _check_owner(self, file: Path, owner: str | None) -> None:
        if owner != self._owner:
            raise damaged(file, "it is another run's", way_out=self._way_out)
