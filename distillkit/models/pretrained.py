"""Teacher and student as the user names them: any causal language model of transformers."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from distillkit.core.bounds import LONGEST, POSITIVE, check_bound, check_range
from distillkit.core.spec import spec


class DType(StrEnum):
    """Floating type of the weights in memory; ``auto`` follows ``precision``."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class PromptStyle(StrEnum):
    """How a prompt becomes text; ``auto`` is ``chat`` where the tokenizer has a template."""

    auto = "auto"
    chat = "chat"
    alpaca = "alpaca"
    plain = "plain"


@dataclass(kw_only=True, slots=True)
class Pretrained:
    """Where weights and tokenizer come from, and how this model is spoken to."""

    name: str = MISSING
    """Hub name, local folder, or ``embedded:teacher`` / ``embedded:student``."""
    revision: str | None = None
    """Branch, tag or commit on the hub; pin it for a result that can be repeated."""
    dtype: DType = DType.auto
    """Type of the weights. A student that is trained keeps fp32 weights unless asked."""
    attention: str | None = None
    """Attention implementation of transformers (sdpa, eager, flash_attention_2, ...)."""
    prompt: PromptStyle = PromptStyle.auto
    """How prompts are rendered for this model; teacher and student may differ."""
    template: dict[str, Any] | None = field(default_factory=dict)
    """Extra variables of the chat template, such as ``enable_thinking: false``; ``today`` is the
    date that it is told, 2025-01-01 if not given."""
    special_tokens_in_text: bool = False
    """Read control tokens such as ``<|im_end|>`` where data spell them; else they are text."""

    def earlier(self, values: dict[str, Any]) -> dict[str, Any]:
        """Its values as runs of earlier versions had them, so that they are known again."""
        kept = {**values, "template": values["template"] or None}
        if not kept["special_tokens_in_text"]:
            del kept["special_tokens_in_text"]
        return kept

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings. Off unless you trust it."""


@dataclass(kw_only=True, slots=True)
class AnyTeacher:
    """Whatever the group ``teacher`` holds: a model of this process, a served one, or a rule."""


@dataclass(kw_only=True, slots=True)
class Readable(AnyTeacher):
    """A teacher that has an opinion of any text: what a training can learn from."""


@spec("teacher/hf")
class Teacher(Pretrained, Readable):
    """The model that is imitated. Never updated."""

    draft: str | None = None
    """Hub name or folder of a smaller model that proposes what this one writes, which is then
    written by speculative decoding; null for nothing. The text stays the teacher's own."""
    proposals: int = 5
    """Tokens that the draft proposes in a round."""

    def __post_init__(self) -> None:
        check_range(self, "teacher.", POSITIVE, "proposals")
        check_bound("teacher.proposals", self.proposals, LONGEST)

    def earlier(self, values: dict[str, Any]) -> dict[str, Any]:
        kept = Pretrained.earlier(self, values)
        if self.draft is None:
            del kept["draft"], kept["proposals"]
        return kept


@spec("student/hf")
class Student(Pretrained):
    """The model that learns."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""


def of_folder(student: Student, folder: Path) -> Student:
    """The same student with the weights that a run left, whose code is never run.

    A run directory may be a stranger's, and its run.yaml may trust whatever lies beside it.
    """
    return replace(student, name=str(folder), revision=None, trust_remote_code=False)
