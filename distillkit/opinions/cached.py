"""``teacher=cached``: a teacher that has read all there is to learn before the training begins."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from distillkit.core.errors import ConfigError
from distillkit.core.rundir import SUMMARY
from distillkit.core.spec import spec
from distillkit.core.store import key_of
from distillkit.core.types import Author
from distillkit.opinions.base import Asked, OnlyReads, Reader
from distillkit.opinions.cache_layout import manifest_of, told_by
from distillkit.supports.base import Support

if TYPE_CHECKING:  # it loads transformers, and this module is loaded for every composing
    from distillkit.models.language_model import LanguageModel


@spec("teacher/cached")
class Cached(OnlyReads):
    """What ``distillkit cache`` kept of a teacher: no model is loaded, no server asked."""

    NOT_IN_FINGERPRINT: ClassVar = ("path",)

    path: str = MISSING
    """The cache's folder."""

    def digest(self) -> str:
        """Of all that is inside, whether or not it is there."""
        path = Path(self.path)
        if not (path / SUMMARY).is_file():
            return ""
        manifest = manifest_of(path)
        return key_of("cache", manifest["fingerprint"], manifest.get("files"))[:16]

    def gives(self) -> Sequence[Support]:
        return told_by(Path(self.path))

    def tells_drawn(self) -> bool:
        return True

    def writes(self) -> bool:
        return True

    def check_authors(self, authors: frozenset[Author]) -> None:
        author = manifest_of(Path(self.path))["author"]
        foreign = sorted(authors - {author})
        if foreign:
            raise ConfigError(
                f"teacher.path={self.path} holds text by the {author}, and the policy trains on "
                f"text by the {foreign[0]} too, which no cache can know. Use "
                f"policy={'seq_kd' if author == Author.teacher else 'off_policy'}."
            )

    def open(self, student: "LanguageModel", asked: Asked) -> Reader:
        from distillkit.opinions.cache_reader import CacheReader

        path = Path(self.path)
        return CacheReader(path, manifest_of(path), student, asked.support)
