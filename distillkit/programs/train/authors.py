"""Everyone whom a run's policy may name, ready to write."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from distillkit.core.errors import DataError
from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.models.identity import identity
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import Pretrained, SelfTeacher
from distillkit.opinions.base import OnlyReads
from distillkit.programs.train.assemble import Assembled
from distillkit.run import TrainRun
from distillkit.training.authors import AnyAuthor, KeptAuthor, authors_of
from distillkit.training.kept_text import kept_text
from distillkit.training.sampler import Pool
from distillkit.writers.local import LocalWriter


def ready_authors(
    run: TrainRun,
    parts: Assembled,
    examples: Sequence[Example],
    *,
    poll: Callable[[], None],
    say: Callable[[str], None],
) -> dict[Author, AnyAuthor]:
    """Whoever may write, ready to; where that is the teacher, its text is written here and kept.

    Args:
        run: whose policy, writer, lengths and seed are used.
        parts: the models, the writer of the student's text, and the processes.
        examples: what the teacher answers.
        poll: called between the teacher's batches; may raise to stop.
        say: told how far the teacher is.
    """
    authors = authors_of(
        run.policy, sides=parts.sides, writer=parts.writer, sampling=run.rollout, seed=run.seed
    )
    if Author.teacher in run.policy.may_write():
        authors[Author.teacher] = _kept(run, parts, examples, poll=poll, say=say)
    if (reader := parts.sides.reader) is not None and isinstance(run.teacher, OnlyReads):
        reader.foresee(_known(run, authors, examples))
    return authors


def _known(
    run: TrainRun, authors: Mapping[Author, AnyAuthor], examples: Sequence[Example]
) -> Iterator[Rollout]:
    """All text that is there before the first update, made as it is looked at: most do not look."""
    by = [each for each in (Author.dataset, Author.teacher) if each in run.policy.may_write()]
    asked = {Author.dataset: Pool.of(examples).labelled, Author.teacher: examples}
    for author in by:
        written = authors[author].write(asked[author], step=0)
        yield from map(Rollout, asked[author], written)


def _kept(
    run: TrainRun,
    parts: Assembled,
    examples: Sequence[Example],
    *,
    poll: Callable[[], None],
    say: Callable[[str], None],
) -> KeptAuthor:
    """The teacher's text, by whoever it is."""
    sides, placement, begun = parts.sides, parts.placement, monotonic()
    seed = child_seed(run.seed, "teacher")
    if isinstance(run.teacher, OnlyReads):
        reader = sides.reader
        assert reader is not None
        texts = placement.told(lambda: reader.texts(examples, run.teacher_rollout, seed=seed))
    else:
        source = run.student if isinstance(run.teacher, SelfTeacher) else run.teacher
        assert isinstance(source, Pretrained)
        assert sides.teacher is not None
        known_as = identity(source, sides.teacher)
        with placement.whole(sides.teacher.module):
            texts = kept_text(
                Path(run.output) / "kept",
                examples,
                teacher=sides.teacher,
                writer=LocalWriter(sides.teacher, Author.teacher),
                identity=known_as,
                sampling=run.teacher_rollout,
                seed=seed,
                poll=poll,
                say=say,
                placement=placement,
            )
        if not sides.same_ids:
            texts = reread(texts, examples, teacher=sides.teacher, student=sides.student)
    return KeptAuthor(texts, seconds=monotonic() - begun)


def reread(
    texts: Mapping[str, Response],
    examples: Sequence[Example],
    *,
    teacher: LanguageModel,
    student: LanguageModel,
) -> dict[str, Response]:
    """A teacher's responses in the ids of a student of another tokenizer, by example.

    Raises:
        DataError: one of them has no text, or needs a token that the student cannot learn to write.
    """
    found = {}
    for example in examples:
        response = texts[example.id]
        text = teacher.tokenizer.decode(
            response.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        end = () if response.truncated else (student.end_id,)
        whole = (*student.prompts.text_ids(text), *end)
        if not whole:
            raise DataError(
                f"the teacher's text for {example.id} is empty and cut, so nothing can be learned "
                "from it. Raise teacher_rollout.max_new_tokens, or leave the row out."
            )
        room = student.context - student.prompt_length(example)
        cut = response.truncated or len(whole) > room
        found[example.id] = replace(response, tokens=whole[:room], truncated=cut)
    return found
