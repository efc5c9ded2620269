"""Who is asked for a cache, and about which texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from distillkit.core.errors import DataError
from distillkit.core.seeds import child_seed
from distillkit.core.spec import name_of
from distillkit.core.types import Author, Example, Response, Rollout, Split
from distillkit.models.identity import digest_of_template, identity
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import pick_device
from distillkit.models.pair import load_pair
from distillkit.models.pretrained import Teacher
from distillkit.opinions.base import Asked, OnlyReads, Reader
from distillkit.opinions.states import ModelReader
from distillkit.programs.train.assemble import fitting
from distillkit.run import CacheRun
from distillkit.training.authors import DatasetAuthor
from distillkit.training.kept_text import kept_text
from distillkit.training.sampler import Pool
from distillkit.writers.local import LocalWriter


@dataclass(frozen=True, slots=True)
class Subject:
    """A teacher as a reader, and the student whose ids it is asked about."""

    student: LanguageModel
    reader: Reader
    teacher: LanguageModel | None
    """The same where it is a model of this process."""
    notes: tuple[str, ...]

    @classmethod
    def of(cls, run: CacheRun) -> Self:
        """Load whoever has to be loaded.

        Raises:
            DistillkitError: one of them cannot be, or they do not fit.
        """
        device = pick_device(run.device)
        source = run.teacher if isinstance(run.teacher, Teacher) else None
        student, teacher, notes = load_pair(
            run.student, source, device=device, precision=run.precision
        )
        if teacher is not None:
            return cls(student, ModelReader(teacher), teacher, tuple(notes))
        assert isinstance(run.teacher, OnlyReads)
        asked = Asked(
            support=run.support,
            drawn=True,
            precision=run.precision,
            folder=Path(run.output) / "kept",
        )
        return cls(student, run.teacher.open(student, asked), None, tuple(notes))

    def provenance(self, run: CacheRun) -> dict[str, Any]:
        """Who was asked, and how, as a manifest has it."""
        if self.teacher is None:
            told = dict(self.reader.identity)
            return {
                "teacher": {"kind": name_of(run.teacher), **told},
                "engine": str(told.pop("engine", "")),
                "precision": "",
                "template": "",
            }
        assert isinstance(run.teacher, Teacher)
        return {
            "teacher": {"kind": "hf", **identity(run.teacher, self.teacher)},
            "engine": f"transformers {version('transformers')}",
            "precision": str(run.precision),
            "template": digest_of_template(self.teacher.prompts),
        }


def texts_of(
    run: CacheRun,
    subject: Subject,
    *,
    poll: Callable[[], None],
    say: Callable[[str], None],
) -> list[Rollout]:
    """All texts that are to be read, in the order of the dataset.

    Raises:
        DistillkitError: an example cannot be read, or leaves no room.
    """
    examples = run.dataset.gather([Split.train]).examples[Split.train]
    own = Author.teacher in run.policy.may_write()
    reader = subject.reader
    readers: list[LanguageModel | Reader] = [subject.student, reader]
    reader.know(examples)
    kept, dropped = fitting(
        examples,
        readers,
        limit=run.max_prompt_tokens,
        needed=run.teacher_rollout.max_new_tokens if own else 1,
        field="max_prompt_tokens",
    )
    if dropped:
        say(f"note: dropped {dropped} prompts over max_prompt_tokens")
    if not own:
        known = Pool.of(kept).labelled
        if not known:
            raise DataError(
                f"no training example of dataset={name_of(run.dataset)} has a reference, which is "
                "the text that policy=off_policy reads. Use policy=seq_kd for the teacher's own."
            )
        if len(known) < len(kept):
            say(f"note: {len(kept) - len(known)} examples have no reference, which is what is read")
        written = DatasetAuthor(subject.student, readers).write(known, step=0)
        return [Rollout(*pair) for pair in zip(known, written, strict=True)]
    texts = _written(run, subject, kept, poll=poll, say=say)
    return [Rollout(each, texts[each.id]) for each in kept]


def _written(
    run: CacheRun,
    subject: Subject,
    examples: Sequence[Example],
    *,
    poll: Callable[[], None],
    say: Callable[[str], None],
) -> dict[str, Response]:
    """The teacher's own text for each example, by id."""
    seed = child_seed(run.seed, "teacher")
    if subject.teacher is None:
        return subject.reader.texts(examples, run.teacher_rollout, seed=seed)
    assert isinstance(run.teacher, Teacher)
    return kept_text(
        Path(run.output) / "kept",
        examples,
        teacher=subject.teacher,
        writer=LocalWriter(subject.teacher, Author.teacher),
        identity=identity(run.teacher, subject.teacher),
        sampling=run.teacher_rollout,
        seed=seed,
        poll=poll,
        say=say,
    )
