"""Settings of a cache that cannot be made, or that nothing could be learned from."""

from distillkit.core.errors import ConfigError
from distillkit.core.spec import name_of
from distillkit.core.types import Author
from distillkit.models.pretrained import SelfTeacher, Teacher
from distillkit.opinions.base import OnlyReads
from distillkit.opinions.cached import Cached
from distillkit.run import CacheRun
from distillkit.supports.top_k import StudentTopK


def check_cache(run: CacheRun) -> None:
    """Refuse what cannot be kept.

    Raises:
        ConfigError: a student's text or choice of entries, or a teacher that tells less.
    """
    authors, support = run.policy.may_write(), name_of(run.support)
    if authors not in ({Author.dataset}, {Author.teacher}):
        raise ConfigError(
            f"policy={name_of(run.policy)} has a student write, whose text is not known before it "
            "has learned. Use policy=off_policy for the dataset's text, or policy=seq_kd for the "
            "teacher's."
        )
    if isinstance(run.support, StudentTopK) or run.support.FOREIGN:
        raise ConfigError(
            f"support={support} depends on the student. Use support=teacher_top_k, draws, sampled "
            "or full."
        )
    if isinstance(run.teacher, SelfTeacher | Cached):
        raise ConfigError(
            f"teacher={name_of(run.teacher)} has nothing of its own to keep. Choose a model or a "
            "server as the teacher."
        )
    if isinstance(run.teacher, OnlyReads):
        _check_told(run.teacher, run)
    elif not isinstance(run.teacher, Teacher):
        raise ConfigError(f"teacher={name_of(run.teacher)} has no opinion of a text to keep.")


def _check_told(teacher: OnlyReads, run: CacheRun) -> None:
    name, authors = name_of(teacher), run.policy.may_write()
    teacher.check_authors(authors)
    if Author.teacher in authors and not teacher.writes():
        raise ConfigError(
            f"policy={name_of(run.policy)} has the teacher write, and teacher={name} only reads. "
            "Use policy=off_policy."
        )
    if not any(run.support.within(told) for told in teacher.gives()):
        raise ConfigError(
            f"support={name_of(run.support)} keeps more than teacher={name} tells. Use "
            "support=teacher_top_k or support=sampled."
        )
    if run.support.dense:
        raise ConfigError(
            f"support=full keeps hidden states, and teacher={name} is no model of this process. "
            "Use support=teacher_top_k."
        )
