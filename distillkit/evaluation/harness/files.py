"""The benchmarks that have names of ours, as task files for lm-evaluation-harness.

A file includes the yaml that words and scores the task, lm_eval's own where it ships one and ours
under ``tasks`` where not, and at most replaces its dataset by local rows. The 14 tasks
of the generalization-and-fidelity study (arXiv:2505.15442) are among them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.core.errors import DataError
from distillkit.core.files import write_text
from distillkit.datasets.json_lines import read_json_lines
from distillkit.evaluation.harness import rows

OWN = Path(__file__).parent / "tasks"
PREFIX = "distillkit_"
"""Before every task name in our files, so that none is taken for lm_eval's."""

SHAPE_FAULTS = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What a row that has another shape than it should makes a converter raise."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One task, or a group of tasks that are told apart by a field of their rows."""

    wording: str
    """Yaml of the task or group, below lm_eval's tasks or ours."""
    row: Callable[[rows.Values], rows.Values] | None = None
    """Brings a local row into the shape of the hub's; None where there are no local rows."""
    part: str | None = None
    """Field that names the task inside a group."""
    parts: str = ""
    """Yamls of a group's tasks, with a star for the part."""


BENCHMARKS: Mapping[str, Benchmark] = {
    "gsm8k": Benchmark("gsm8k/gsm8k.yaml", rows.gsm8k),
    "gsm8k_zeroshot": Benchmark("gsm8k_zeroshot.yaml", rows.gsm8k),
    "svamp": Benchmark("svamp.yaml", rows.arithmetic),
    "multiarith": Benchmark("multiarith.yaml"),
    "singleeq": Benchmark("singleeq.yaml"),
    "addsub": Benchmark("addsub.yaml"),
    "aqua": Benchmark("agieval/aqua-rat.yaml"),
    "hellaswag": Benchmark("hellaswag/hellaswag.yaml", rows.hellaswag),
    "boolq": Benchmark("super_glue/boolq/default.yaml", rows.boolq),
    "siqa": Benchmark("siqa/siqa.yaml"),
    "piqa": Benchmark("piqa/piqa.yaml", rows.piqa),
    "arc_easy": Benchmark("arc/arc_easy.yaml", rows.lettered),
    "arc_challenge": Benchmark("arc/arc_challenge.yaml"),
    "winogrande": Benchmark("winogrande/default.yaml", rows.winogrande),
    "openbookqa": Benchmark("openbookqa/openbookqa.yaml"),
    "commonsenseqa": Benchmark("commonsense_qa/default.yaml", rows.lettered),
    "strategyqa": Benchmark("strategyqa.yaml", rows.strategyqa),
    "mmlu": Benchmark("mmlu/default/_mmlu.yaml", rows.mmlu, "subject", "mmlu/default/mmlu_*.yaml"),
    "bbh": Benchmark("bbh/cot_fewshot/_bbh.yaml", rows.bbh, "task", "bbh/cot_fewshot/*.yaml"),
}

FOLDERS = {"gsm8k_zeroshot": "gsm8k"}
"""Local folders whose name is not the benchmark's."""


def local_names(path: Path) -> list[str]:
    """Benchmarks that have rows under a folder."""
    return [name for name in BENCHMARKS if _local_files(name, path)]


def write_task(name: str, folder: Path, *, harness: Path, path: Path | None) -> None:
    """Write the task files of a benchmark, and the rows they read, for ``--include_path``.

    The task, or group of tasks, is called ``distillkit_<name>``.

    Args:
        name: one of :data:`BENCHMARKS`.
        folder: where to write; the files name it by its absolute path.
        harness: lm_eval's folder of tasks.
        path: folder of JSONL datasets; None leaves each task its hub dataset.

    Raises:
        DataError: ``path`` has no rows for it, or a row of another shape.
    """
    benchmark = BENCHMARKS[name]
    found = None if path is None else _read(name, path)
    included = OWN if (OWN / benchmark.wording).is_file() else harness
    folder.mkdir(parents=True, exist_ok=True)
    if benchmark.part is None:
        local = {} if found is None else _dataset(found.get("", {}), folder / name)
        _write(folder, PREFIX + name, included / benchmark.wording, local)
        return
    tasks = []
    for part, yaml in _parts(benchmark, harness).items():
        if found is not None and "judged" not in found.get(part, {}):
            continue
        local = {} if found is None else _dataset(found[part], folder / name / part)
        tasks.append(f"{PREFIX}{name}_{part}")
        _write(folder, tasks[-1], yaml, local)
    group = {"group": PREFIX + name, "task": tasks}
    _write(folder, PREFIX + name, harness / benchmark.wording, group)


def _parts(benchmark: Benchmark, harness: Path) -> dict[str, Path]:
    """Yamls of a group's tasks by part; names that begin with an underscore are no tasks."""
    files = sorted(harness.glob(benchmark.parts))
    before = Path(benchmark.parts).stem.removesuffix("*")
    return {file.stem.removeprefix(before): file for file in files if file.stem[0] != "_"}


def _write(folder: Path, task: str, wording: Path, settings: Mapping[str, Any]) -> None:
    """One task file. JSON is YAML, and quotes every path."""
    config = {"include": str(wording), "task": task, **settings}
    text = json.dumps(config, indent=1, ensure_ascii=False)
    write_text(folder / f"{task}.yaml", text + "\n")


def _dataset(splits: Mapping[str, list[rows.Values]], folder: Path) -> dict[str, Any]:
    """Write the rows of one task, and give the settings that make it read them."""
    folder.mkdir(parents=True)
    files = {}
    for split, values in splits.items():
        files[split] = str((folder / f"{split}.jsonl").absolute())
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in values)
        write_text(Path(files[split]), "".join(lines))
    train = "train" if "train" in splits else None
    return {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str((folder / "cache").absolute())},
        "process_docs": None,
        # Without training rows the examples shown come from the judged ones. The harness leaves
        # out the one that is asked only if that split is the validation split.
        "training_split": train,
        "fewshot_split": train,
        "validation_split": None if train else "judged",
        "test_split": "judged" if train else None,
    }


def _read(name: str, path: Path) -> dict[str, dict[str, list[rows.Values]]]:
    """Converted rows by part and split; the part is "" where there are none."""
    benchmark, found = BENCHMARKS[name], _local_files(name, path)
    if benchmark.row is None or not found:
        raise DataError(
            f"metric.lm_eval.tasks has {name}, for which metric.lm_eval.path={path} holds no rows. "
            f"It has rows for {', '.join(local_names(path)) or 'no task'}; use those, or "
            "metric.lm_eval.path=null for the hub's."
        )
    parts: dict[str, dict[str, list[rows.Values]]] = {}
    for split, file in found.items():
        for number, row in enumerate(read_json_lines(file), 1):
            try:
                part = str(row[benchmark.part]) if benchmark.part else ""
                values = benchmark.row(row)
            except SHAPE_FAULTS as error:
                raise DataError(
                    f"{file}: row {number} is no row of {name} ({error!r}). Give "
                    "metric.lm_eval.path a folder of rows in the documented shape."
                ) from error
            parts.setdefault(part, {}).setdefault(split, []).append(values)
    if not parts:
        raise DataError(f"metric.lm_eval.path: {path / FOLDERS.get(name, name)} holds no rows.")
    return parts


def _local_files(name: str, path: Path) -> dict[str, Path]:
    """Files of a benchmark: what is judged is test, or validation where there is none."""
    if BENCHMARKS[name].row is None:
        return {}
    folder = path / FOLDERS.get(name, name)
    judged = [
        file for file in (folder / "test.jsonl", folder / "validation.jsonl") if file.is_file()
    ]
    if not judged:
        return {}
    train = folder / "train.jsonl"
    return {"judged": judged[0], **({"train": train} if train.is_file() else {})}
