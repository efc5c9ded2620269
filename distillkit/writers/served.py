"""``writer=served``: the student's text by a vLLM server, which reads its weights from a folder."""

from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from distillkit.core.bounds import ABOVE_ZERO, check_range
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.endpoints.server import TokenServer
from distillkit.writers.base import Writer, WriterSettings

if TYPE_CHECKING:  # it loads transformers, and this module is loaded for every composing
    from distillkit.models.language_model import LanguageModel


@spec("writer/served")
class Served(TokenServer, WriterSettings):
    """A vLLM server that was started with ``VLLM_SERVER_DEV_MODE=1`` and a model of the student's
    shape. After every update it reads the weights anew from a folder that it can see too."""

    FIELD: ClassVar = "writer"
    NOT_IN_FINGERPRINT: ClassVar[tuple[str, ...]] = (
        *TokenServer.NOT_IN_FINGERPRINT,
        *("folder", "tolerance"),
    )

    folder: str = MISSING
    """Folder of the student's weights, by a name that is the same here and for the server."""
    tolerance: float = 0.1
    """Nats by which the server's scores of 16 positions may differ from the student's own in the
    mean before its weights count as others: more than half precision makes."""

    def __post_init__(self) -> None:
        TokenServer.__post_init__(self)  # slots take the class that a bare super() would need
        check_range(self, "writer.", ABOVE_ZERO, "tolerance")

    def open(self, student: "LanguageModel") -> Writer:
        from distillkit.writers.server import ServedWriter

        if student.placement.size > 1:
            raise ConfigError(
                f"writer=served follows the student of one process, and this run has "
                f"{student.placement.size}. Use placement=alone, or writer=local."
            )
        return ServedWriter(self, student)
