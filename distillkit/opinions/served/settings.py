"""``teacher=served``: a model that is served elsewhere, asked about token ids."""

from collections.abc import Sequence
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from distillkit.core.bounds import ABOVE_ZERO, POSITIVE, ZERO_OR_MORE, check_range
from distillkit.core.spec import spec
from distillkit.endpoints.server import TokenServer
from distillkit.endpoints.sglang import SGLang
from distillkit.endpoints.tokens import Engine
from distillkit.endpoints.vllm import VLLM
from distillkit.models.pretrained import PromptStyle
from distillkit.opinions.base import Asked, OnlyReads, Reader
from distillkit.supports.aligned import Aligned
from distillkit.supports.base import Support
from distillkit.supports.sampled import Sampled
from distillkit.supports.top_k import ANY, StudentTopK, TeacherTopK

if TYPE_CHECKING:  # it loads transformers, and this module is loaded for every composing
    from distillkit.models.language_model import LanguageModel


class EngineName(StrEnum):
    """What serves the teacher."""

    vllm = "vllm"
    sglang = "sglang"


ENGINES: dict[EngineName, Engine] = {EngineName.vllm: VLLM(), EngineName.sglang: SGLang()}


@spec("teacher/served")
class ServedTeacher(TokenServer, OnlyReads):
    """A served model that scores the ids it is sent, at temperature 1 and over its whole head."""

    FIELD: ClassVar = "teacher"
    NOT_IN_FINGERPRINT: ClassVar[tuple[str, ...]] = (
        *TokenServer.NOT_IN_FINGERPRINT,
        *("price", "reference", "tolerance"),
    )

    engine: EngineName = EngineName.vllm
    """What serves it. SGLang takes no entries of the student's and writes nothing."""
    tokenizer: str | None = None
    """Hub name or folder of the served model's tokenizer; the student's if null."""
    prompt: PromptStyle = PromptStyle.auto
    """How prompts are rendered for it, by that tokenizer; teacher and student may differ."""
    template: dict[str, Any] | None = field(default_factory=dict)
    """Extra variables of its chat template, such as ``enable_thinking: false``."""
    special_tokens_in_text: bool = False
    """Read control tokens such as ``<|im_end|>`` where data spell them; else they are text."""
    version: str | None = None
    """Version of the engine that must be found; null takes any, and says where it changes."""
    context: int | None = None
    """Most tokens of prompt and response; what the server says if null."""
    reference: str | None = None
    """Hub name or folder of a copy of the model that is asked the same 16 positions as the server
    when a run begins, and dropped; null compares with what the server said in earlier runs."""
    tolerance: float = 0.1
    """Nats by which the scores of those positions may differ in the mean before the server's model
    counts as another one: more than half precision makes."""
    price: float = 0.0
    """Of a million tokens that it reads."""

    def __post_init__(self) -> None:
        TokenServer.__post_init__(self)  # slots take the class that a bare super() would need
        check_range(self, "teacher.", POSITIVE, "context", hint="null takes the server's.")
        check_range(self, "teacher.", ABOVE_ZERO, "tolerance")
        check_range(self, "teacher.", ZERO_OR_MORE, "price")

    @property
    def spoken(self) -> Engine:
        """How the engine is asked."""
        return ENGINES[self.engine]

    def writes(self) -> bool:
        return self.spoken.WRITES

    def gives(self) -> Sequence[Support]:
        own = [StudentTopK(k=ANY)] if self.spoken.OWN else []
        return [TeacherTopK(k=ANY), *own, Sampled(), Aligned()]

    def tells_drawn(self) -> bool:
        return True

    def open(self, student: "LanguageModel", asked: Asked) -> Reader:
        from distillkit.opinions.served.opening import opened

        return opened(self, student, asked)
