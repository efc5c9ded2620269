"""Teacher and student as the user names them: any causal language model of transformers."""

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from distillkit.core.bounds import (
    ABOVE_ZERO,
    BELOW_ONE,
    FROM_ZERO,
    LONGEST,
    POSITIVE,
    check_bound,
    check_range,
)
from distillkit.core.errors import ConfigError
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
    """Hub name, folder of a model or an adapter, or ``embedded:teacher``, ``embedded:student``."""
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


@spec("teacher/self")
class SelfTeacher(Readable):
    """The student's own base, its adapter left out: a teacher that takes no second model."""

    prompt: PromptStyle | None = None
    """How prompts are rendered for the teacher; as for the student if null."""
    template: dict[str, Any] | None = None
    """Extra variables of its chat template; the student's if null."""

    def alone(self, student: "Student") -> Teacher:
        """This teacher as a model of its own, for whoever loads one model after another."""
        return Teacher(
            name=student.name,
            revision=student.revision,
            # What is auto is fp32 in a student, and follows the precision in a teacher.
            dtype=DType.float32 if student.dtype is DType.auto else student.dtype,
            attention=student.attention,
            prompt=self.prompt or student.prompt,
            template=student.template if self.template is None else self.template,
            special_tokens_in_text=student.special_tokens_in_text,
            trust_remote_code=student.trust_remote_code,
        )


ALL_LINEAR = "all-linear"
"""Targets of an adapter: every linear layer but the head."""
LARGEST_RANK = 1 << 14
"""Above what any layer has columns, an adapter is no smaller than its layer."""


class AdapterExport(StrEnum):
    """What a run leaves of an adapter."""

    merged = "merged"
    adapter = "adapter"


@dataclass(kw_only=True, slots=True)
class Adapter:
    """Low-rank updates that learn in place of the weights (LoRA, arXiv:2106.09685)."""

    rank: int | None = None
    """Rows of each update's two factors; null or 0 lets all weights learn, without an adapter."""
    alpha: float = 16.0
    """Scale of the updates, which are multiplied with ``alpha / rank``."""
    targets: Any = ALL_LINEAR
    """Names of linear layers, such as ``[q_proj, v_proj]``, or ``all-linear`` for all but the
    head."""
    dropout: float = 0.0
    """Share of a layer's inputs that its update does not see."""
    dora: bool = False
    """Learn the length of each row apart from its direction (DoRA, arXiv:2402.09353)."""
    rslora: bool = False
    """Multiply with ``alpha / sqrt(rank)`` instead (rsLoRA, arXiv:2312.03732)."""
    export: AdapterExport = AdapterExport.merged
    """``merged`` leaves a whole model in ``student/``, ``adapter`` a folder of peft's."""

    def __post_init__(self) -> None:
        prefix = "student.adapter."
        check_range(self, prefix, FROM_ZERO, "rank")
        check_bound(f"{prefix}rank", self.rank, LARGEST_RANK)
        check_range(self, prefix, ABOVE_ZERO, "alpha")
        check_range(self, prefix, BELOW_ONE, "dropout")
        if not self.names:
            raise ConfigError(
                f"{prefix}targets={self.targets} must be all-linear or a list of names of linear "
                "layers, such as [q_proj,v_proj]."
            )
        if self.rank:
            return
        for each in fields(self):
            if each.name != "rank" and (value := getattr(self, each.name)) != each.default:
                raise ConfigError(
                    f"{prefix}{each.name}={value} has no effect without an adapter. Give it a "
                    f"rank with {prefix}rank=8, or remove {prefix}{each.name}."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The targets as names, or ``all-linear`` alone; empty where they are neither."""
        given = [self.targets] if isinstance(self.targets, str) else self.targets
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            return ()
        return () if "" in given or (len(given) > 1 and ALL_LINEAR in given) else tuple(given)


@spec("student/hf")
class Student(Pretrained):
    """The model that learns."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    adapter: Adapter = field(default_factory=Adapter)
    """What learns in place of the weights; all of them learn where it has no rank."""

    def earlier(self, values: dict[str, Any]) -> dict[str, Any]:
        kept = Pretrained.earlier(self, values)
        if not self.adapter.rank:
            del kept["adapter"]
        return kept


def start_of(student: Student) -> Student:
    """What a student begins with: an adapter changes nothing until it has learned."""
    return replace(student, adapter=Adapter())


def of_folder(student: Student, folder: Path) -> Student:
    """The same student with the weights that a run left, whose code is never run.

    A run directory may be a stranger's, and its run.yaml may trust whatever lies beside it. What an
    adapter learned is in those weights.
    """
    begun = start_of(student)
    return replace(begun, name=str(folder), revision=None, trust_remote_code=False)
