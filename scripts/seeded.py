"""Finished and evaluated runs of one folder, named ``<configuration>-<seed>``, by configuration."""

import re
from pathlib import Path

from distillkit.report.groups import Group
from distillkit.report.runs import Run, read_run

NAME = re.compile(r"(?P<configuration>.+)-(?P<seed>\d+)")


def by_configuration(folder: Path) -> dict[str, Group]:
    """Every configuration with its runs, by seed, as they were evaluated on the test split.

    Raises:
        SystemExit: a run is not evaluated, has another seed than its name says, or none is there.
    """
    found: dict[str, list[Run]] = {}
    for path in sorted(folder.iterdir()):
        named = NAME.fullmatch(path.name)
        if named is None or not (path / "run.yaml").is_file():
            continue
        run = read_run(path, split="test")
        if run.evaluation is None or run.evaluation.source != "eval":
            raise SystemExit(f"{path} is not evaluated. Give distillkit eval run={path}.")
        if run.seed != int(named["seed"]):
            raise SystemExit(f"{path} has the seed {run.seed}. Its name must end in the seed.")
        found.setdefault(named["configuration"], []).append(run)
    if not found:
        raise SystemExit(f"{folder} has no run that is named <configuration>-<seed>.")
    return {
        name: Group(key=name, label=name, runs=tuple(sorted(runs, key=lambda run: run.seed or 0)))
        for name, runs in found.items()
    }
