"""The part of a run between its first and last update: log, validate, save, stop."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distillkit.core.errors import Interrupted, RunError
from distillkit.core.journal import Journal
from distillkit.core.rundir import RunDirectory
from distillkit.core.stopping import Stop
from distillkit.core.types import Author, Example, Update
from distillkit.evaluation.passages import PassageQuality
from distillkit.evaluation.quality import Quality, measure
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.programs.train.assemble import Assembled
from distillkit.programs.train.authors import ready_authors
from distillkit.programs.train.spending import Spending
from distillkit.programs.train.standing import JOURNALS, Standing
from distillkit.run import TrainRun
from distillkit.training.authors import KeptAuthor
from distillkit.training.checkpoint import (
    BEST,
    keep_newest,
    load_checkpoint,
    restore_best,
    save_checkpoint,
)
from distillkit.training.display import Display
from distillkit.training.guard import Guard
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts
from distillkit.training.sampler import Pool
from distillkit.training.tracker import Sample, Tracked
from distillkit.training.weights import save_weights
from distillkit.writers.base import Waits


@dataclass(frozen=True, slots=True)
class Job:
    """A training that has claimed its run directory."""

    run: TrainRun
    parts: Assembled
    directory: RunDirectory
    stop: Stop

    def measured(
        self, model: LanguageModel | None, who: str, say: Callable[[str], None]
    ) -> Quality | PassageQuality | None:
        """Of a model on the test split; None where there is no such model, or no test."""
        if model is None or not self.parts.test:
            return None
        # Minutes for a real model, of which nothing else tells.
        say(f"measuring the {who} on {len(self.parts.test):,} test examples")
        return evaluate(self.run, model, self.parts, self.parts.test, poll=self.stop.poll)


class Session:
    """Updates of one run, from where it stands to the end.

    Attributes:
        progress: where the run stands.
        seconds: spent in the loop, by this process and those before it.
        spending: what the teacher takes.
    """

    def __init__(self, job: Job, *, standing: Standing, display: Display, tracked: Tracked) -> None:
        run, parts, directory = job.run, job.parts, job.directory
        self._run, self._directory, self._display, self._stop = run, directory, display, job.stop
        self._tracked = tracked
        self.spending = Spending(parts.sides.reader, standing.progress.costs, parts.placement)
        if (reader := parts.sides.reader) is not None:
            reader.attend(poll=job.stop.poll, say=display.say)
        if isinstance(parts.writer, Waits):
            parts.writer.attend(poll=job.stop.poll, say=display.say)
        self._assembled, self._student = parts, parts.sides.student
        self._placement = parts.placement
        self._parts = Parts(
            sides=parts.sides,
            pool=Pool.of(parts.train),
            policy=run.policy,
            authors=ready_authors(run, parts, parts.train, poll=job.stop.poll, say=display.say),
            objective=run.objective,
            loop=run.loop,
            optimizer=run.optimizer,
            seed=run.seed,
            steps=run.steps,
            judge=parts.judge,
            other=parts.other,
            placement=parts.placement,
        )
        for model in parts.sides.models:
            self._placement.reshard(model.module)
        self._optimizer = build_optimizer(self._parts)
        self.progress, self._kept = standing.progress, standing.kept
        self.seconds = self._earlier = standing.progress.seconds
        if standing.checkpoint is not None:
            self._go_on(standing.checkpoint)
        # What a stopped process wrote after its last checkpoint is written again, so cut it.
        self._journals = {
            name: Journal(directory.path / name, keep=self.progress.journals.get(name, 0))
            for name in (JOURNALS if self._placement.chief else ())
        }
        self._guard = Guard(run.guard)
        for row in standing.rows:
            self._guard.look(int(row["step"]), row)
        tracked.again(standing.rows, standing.samples)
        for warning in self._guard.broken.values():
            display.say(f"warning: {warning}")

    def _go_on(self, checkpoint: Path) -> None:
        """From the state of a checkpoint, whatever layout it was written by."""
        placement, best = self._placement, self._directory.path / BEST
        load_checkpoint(
            checkpoint, student=self._student, optimizer=self._optimizer, placement=placement
        )
        placement.told(lambda: restore_best(checkpoint, best))
        said = f"resumed at step {self.progress.step}"
        before, now = (self.progress.layouts or ["alone"])[-1], placement.layout
        if before.partition(" from step ")[0] != now:
            said += f" ({before} wrote it, {now} now: what follows is the same but for rounding)"
            self.progress.layouts = [
                *(self.progress.layouts or [before]),
                f"{now} from step {self.progress.step}",
            ]
        self._display.say(said)

    @property
    def kept_text(self) -> KeptAuthor:
        """What the teacher wrote before the first update."""
        author = self._parts.authors.get(Author.teacher)
        return author if isinstance(author, KeptAuthor) else KeptAuthor({})

    def train(self) -> None:
        """Run all remaining updates.

        Raises:
            Interrupted: a stop was asked for; a checkpoint was saved.
            RunError: the guard ended the run, now or before it was resumed; the same.
        """
        run, start = self._run, self.progress.step
        self._heed()
        with self._display.running(done=start):
            for update in distil(self._parts, self._optimizer, start=start, kept=self._kept):
                self.progress.step, self._kept = update.step, update.collection
                timing = self._display.update(update)
                self._log(update, timing)
                last = update.step == run.steps
                if run.evaluation.every and (update.step % run.evaluation.every == 0 or last):
                    self._validate(update.step)
                stopped = self._placement.agreed(self._stop.signal)
                if update.step % run.checkpoint.every == 0 or last or stopped or self._guard.stops:
                    self._save()
                self._heed()
                if stopped and not last:
                    self._leave(update.step, stopped)
        self.seconds = self._spent()

    def close(self) -> None:
        """Let go of the journals."""
        for journal in self._journals.values():
            journal.close()

    def _log(self, update: Update, timing: Mapping[str, float]) -> None:
        told = {**timing, **self.spending.heard(update)}
        self._note({"step": update.step, **update.metrics}, told)
        for warning in self._guard.look(update.step, update.metrics):
            self._display.say(f"warning: {warning}")

    def _note(self, row: dict[str, float], timing: Mapping[str, float] | None = None) -> None:
        """A row of numbers for journal and tracker, by the process that keeps them."""
        if self._placement.chief:
            self._journals["metrics.jsonl"].write(row)
            numbers = {name: value for name, value in row.items() if name != "step"}
            self._tracked.log({**numbers, **(timing or {})}, step=int(row["step"]))

    def _validate(self, step: int) -> None:
        run = self._run
        quality = evaluate(run, self._student, self._assembled, self._assembled.validation)
        self._display.validated(quality.numbers())
        numbers = {f"validation/{name}": value for name, value in quality.numbers().items()}
        self._note({"step": step, **numbers})
        rows: list[Sample] = [
            {
                "step": step,
                "id": item.example.id,
                "prompt": item.example.question,
                "completion": item.text,
                "correct": str(item.correct),
            }
            for item in quality.answers[: run.evaluation.samples]
        ]
        if rows and self._placement.chief:
            for row in rows:
                self._journals["samples.jsonl"].write(row)
            self._tracked.samples(rows, step=step)
        best = self.progress.best_score
        if best is None or quality.score > best:
            self.progress.best_score, self.progress.best_step = quality.score, step
            best_file = self._directory.path / BEST
            save_weights(self._student, best_file, placement=self._placement)

    def _spent(self) -> float:
        return self._earlier + self._display.seconds()

    def _save(self) -> None:
        journals = self._journals.items()
        self.progress.journals = {name: journal.tell() for name, journal in journals}
        self.progress.seconds = round(self._spent(), 1)
        self.progress.digests = {name: journal.digest() for name, journal in journals}
        self.progress.layouts = self.progress.layouts or [self._placement.layout]
        self.progress.costs = self.spending.total()
        folder, best = self._directory.checkpoints, self._directory.path / BEST
        save_checkpoint(
            folder,
            student=self._student,
            optimizer=self._optimizer,
            progress=self.progress,
            rollouts=self._kept,
            best=None if self.progress.best_step is None else best,
            placement=self._placement,
        )
        self._placement.told(lambda: keep_newest(folder, self._run.checkpoint.keep_last))

    def _heed(self) -> None:
        if self._guard.stops:
            raise RunError(self._guard.verdict())

    def _leave(self, step: int, signal: int) -> None:
        raise Interrupted(
            f"stopped after step {step} of {self._run.steps}, saved in {self._directory.path}; "
            "the same command goes on from there",
            signal=signal,
        )


def evaluate(
    run: TrainRun,
    model: LanguageModel,
    parts: Assembled,
    examples: Sequence[Example],
    *,
    poll: Callable[[], None] = lambda: None,
) -> Quality | PassageQuality:
    """Greedy answers at the run's lengths, judged by its dataset; of running text its likelihood.

    A teacher is compared with on running text, unless it is the model itself or has other ids.
    """
    settings, teacher = run.evaluation, parts.sides.teacher
    length = settings.max_new_tokens or run.rollout.max_new_tokens
    sampling = Sampling(max_new_tokens=length, batch_size=settings.batch_size)
    # Nobody else asks it, and to gather a large one for nothing takes room that there may not be.
    asked = parts.sides.same_ids and not any(example.prompt for example in examples)
    other = teacher if asked and teacher is not model else None
    placement = parts.placement
    with placement.whole(*(each.module for each in (model, other) if each is not None)):
        return measure(
            model,
            run.dataset,
            examples,
            sampling=sampling,
            teacher=other,
            poll=poll,
            placement=placement,
        )
