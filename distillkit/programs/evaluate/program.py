"""``distillkit eval``: measure a finished run's student, its start and its teacher."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from distillkit.compose import Composed, reopen
from distillkit.core.cells import cells_of
from distillkit.core.errors import RunError
from distillkit.core.files import writable
from distillkit.core.keeper import Keeper
from distillkit.core.rundir import RunDirectory
from distillkit.core.stopping import Stop, stopping
from distillkit.core.store import Store
from distillkit.core.terminal import WIDE, terminal
from distillkit.evaluation.folder import EvaluationFolder
from distillkit.evaluation.results import summarise
from distillkit.programs.evaluate.lineup import Lineup
from distillkit.programs.evaluate.table import evaluation_table
from distillkit.programs.watch import Watch
from distillkit.run import EvalRun, TrainRun


def evaluate(composed: Composed, *, console: Console | None = None) -> None:
    """Measure, print the table, and write ``evaluation/<split>/`` into the run directory.

    A sweep's folder stands for all of its runs that are done.

    Raises:
        RunError: the run is not finished, or its evidence is from another checkpoint.
        Interrupted: a stop was asked for; all evidence made until then is kept.
    """
    console = console or terminal(columns=WIDE)
    asked: EvalRun = composed.run
    with stopping() as stop:
        for run in runs_of(Path(asked.run)):
            stop.poll()
            with writable("See to it that it can be, or choose another run=..."):
                _evaluate(asked, RunDirectory(run), stop, console)


def runs_of(path: Path) -> list[Path]:
    """The run directory itself, or those of a sweep's cells that are done.

    Raises:
        RunError: no cell of the sweep is done.
    """
    if not (path / "table.json").is_file():
        return [path]
    done = [run for cell, run in cells_of(path) if run is not None and cell.get("summary")]
    if not done:
        raise RunError(f"run={path} is a sweep of which no cell is done. Run it again.")
    return done


def _evaluate(asked: EvalRun, directory: RunDirectory, stop: Stop, console: Console) -> None:
    run: TrainRun = reopen(directory.path, trusted=asked.trust_remote_code).run
    directory.check_made()
    summary = directory.summary
    if summary is None:
        raise RunError(
            f"run={directory.path} is not finished. Run its distillkit train command to the end."
        )
    directory.check_left(directory.student.name)
    folder = EvaluationFolder(directory.path, asked.split)
    folder.check()
    lineup = Lineup(asked, run, student=directory.student)
    folder.path.mkdir(parents=True, exist_ok=True)
    watch = Watch(console, log=folder.path / "log.txt")
    for note in directory.notes:
        watch.say(f"note: {note}")
    store = Store(Path(asked.evidence or directory.path.resolve().parents[1] / "evidence.sqlite"))
    with watch.running():
        keeper = watch.keeper(store, batch_size=asked.batch_size, poll=stop.poll)
        for who in lineup.everybody:
            before = keeper.made.copy(), keeper.reused.copy()
            lineup.measure(who, keeper, bind=folder.bind)
            watch.say(f"evidence  {who}: {_counted(keeper, before)}")
    metrics, tallies = folder.earlier(lineup.fingerprint)
    metrics |= asked.metric
    for who, of in lineup.tallies.items():
        tallies[who] = {**tallies.get(who, {}), **of}
    results = {
        "name": directory.path.name,
        "split": str(asked.split),
        "n": len(lineup.judged.examples),
        "selection": summary["selection"],
        **lineup.made_from,
        "fingerprint": lineup.fingerprint,
        "metrics": {name: asdict(metric) for name, metric in metrics.items()},
        **summarise(metrics, tallies, selection=summary["selection"], seed=asked.seed),
    }
    folder.write(results, tallies=tallies, items=lineup.items())
    console.print(evaluation_table(results, only=asked.metric))
    console.print(f"numbers  {folder.path / 'results.json'}", soft_wrap=True)


def _counted(keeper: Keeper, before: tuple[Counter[str], Counter[str]]) -> str:
    made, reused = keeper.made - before[0], keeper.reused - before[1]
    return ", ".join(
        f"{kind} {made[kind]} made, {reused[kind]} reused"
        for kind in sorted(made.keys() | reused.keys())
    )
