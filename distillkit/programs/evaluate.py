"""``distillkit eval``: measure a finished run's student, its start and its teacher again."""

from pathlib import Path

from rich.console import Console

from distillkit.compose import Composed, reopen
from distillkit.core.errors import RunError
from distillkit.core.files import write_json
from distillkit.core.rundir import RunDirectory
from distillkit.core.stopping import stopping
from distillkit.evaluation.quality import measure
from distillkit.models.loading import load, pick_device
from distillkit.models.pretrained import Pretrained
from distillkit.models.sampling import Sampling
from distillkit.programs.table import closing_table, numbers
from distillkit.run import EvalRun, TrainRun


def evaluate(composed: Composed, *, console: Console | None = None) -> Path:
    """Measure, print the table, and write ``eval-<split>.json`` into the run directory.

    Raises:
        RunError: the run is not finished.
    """
    console = console or Console()
    asked: EvalRun = composed.run
    directory = RunDirectory(Path(asked.run))
    run: TrainRun = reopen(directory.path).run
    if directory.summary is None:
        raise RunError(
            f"run={directory.path} is not finished. Run its distillkit train command to the end."
        )
    device = pick_device(asked.device)
    examples = run.dataset.examples(asked.split)[: asked.limit]
    sampling = Sampling(
        max_new_tokens=asked.max_new_tokens
        or run.evaluation.max_new_tokens
        or run.rollout.max_new_tokens,
        batch_size=asked.batch_size,
    )
    sources: dict[str, Pretrained] = {
        "student_before": run.student,
        "student_after": type(run.student)(name=str(directory.student), prompt=run.student.prompt),
        "teacher": run.teacher,
    }
    result = {
        "name": directory.path.name,
        "split": str(asked.split),
        "selection": directory.summary["selection"],
    }
    with stopping() as stop:
        for who, source in sources.items():
            console.print(f"measuring {who.replace('_', ' ')} on {len(examples)} examples")
            model = load(source, device=device, precision=run.precision)
            result[who] = numbers(
                measure(model, run.dataset, examples, sampling=sampling, poll=stop.poll)
            )
    file = directory.path / f"eval-{asked.split}.json"
    write_json(file, result)
    console.print(closing_table(result))
    console.print(f"numbers  {file}", highlight=False)
    return file
