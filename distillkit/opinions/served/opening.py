"""A served teacher made ready: met, compared with who was there, and put on the student's ids."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch

from distillkit.core.errors import ConfigError
from distillkit.core.store import Store, key_of
from distillkit.core.terminal import terminal
from distillkit.endpoints.server import converse
from distillkit.models.language_model import LanguageModel
from distillkit.models.likelihood import token_nlls
from distillkit.models.loading import load, locate
from distillkit.models.pair import agree_on_the_end
from distillkit.models.pretrained import Teacher
from distillkit.models.prompts import PromptFormat
from distillkit.models.shared_ids import share_with
from distillkit.models.tokenizer_files import load_tokenizer
from distillkit.opinions.base import Asked, Reader
from distillkit.opinions.served.foreign import own_tokenizer, translating
from distillkit.opinions.served.meeting import Meeting, Met, another
from distillkit.opinions.served.reader import ServedReader
from distillkit.opinions.served.settings import ServedTeacher
from distillkit.supports.top_k import StudentTopK, TopK

LAYOUT = 1
"""Part of every key; raised whenever the meaning of what is kept changes."""

NAME = "opinions.sqlite"


@dataclass
class Ending:
    """How a served model ends its text, as far as its tokenizer says."""

    tokenizer: Any
    end_id: int
    stop_ids: frozenset[int]


def opened(settings: ServedTeacher, student: LanguageModel, asked: Asked) -> Reader:
    """Meet the server.

    Raises:
        DistillkitError: it cannot be asked, or not about these ids.
    """
    if asked.support is not None and asked.support.FOREIGN:
        prompts = _format(settings, own_tokenizer(settings))
        return translating(student, _met(settings, student, asked, prompts, []), prompts)
    return _met(settings, student, asked, *_prompts(settings, student))


def _met(
    settings: ServedTeacher,
    student: LanguageModel,
    asked: Asked,
    prompts: PromptFormat,
    notes: Sequence[str],
) -> ServedReader:
    """Whoever answers there, as a reader."""
    support = asked.support
    own = isinstance(support, StudentTopK)
    if own and student.placement.IN_STEP:
        raise ConfigError(
            "support=student_top_k has the student read each text once more for teacher=served, "
            "which a student in parts cannot. Use support=teacher_top_k, or placement=replicas."
        )
    k = min(support.k, student.vocabulary) if isinstance(support, TopK) else 0
    meeting = Meeting(settings, prompts, k=k, own=own)
    engine = settings.spoken

    def explain(status: int, why: str) -> str | None:
        return engine.refusal(status, why, field="teacher", k=k)

    def say(words: str) -> None:
        terminal().print(words, soft_wrap=True)

    converse(settings, meeting.talk, questions=[meeting.largest], explain=explain, say=say)
    met, store = meeting.met, Store(asked.folder / NAME)
    assert met is not None
    _recognise(settings, met, store, prompts.tokenizer)
    if settings.reference is not None:
        _compare(settings, met, meeting, student, asked.precision)
    return ServedReader(
        settings,
        student,
        prompts,
        meeting=meeting,
        store=store,
        k=k,
        own=own,
        context=_context(settings, met, student),
        explain=explain,
        notes=notes,
    )


def _prompts(settings: ServedTeacher, student: LanguageModel) -> tuple[PromptFormat, list[str]]:
    """How prompts are rendered for the served model, and notes on how the two fit."""
    notes: list[str] = []
    tokenizer = student.tokenizer
    if settings.tokenizer is not None:
        name = settings.tokenizer
        tokenizer = load_tokenizer("teacher.tokenizer", name, locate(name))
        share_with(tokenizer, student, name="teacher.tokenizer")
        end = tokenizer.eos_token_id
        notes += agree_on_the_end(Ending(tokenizer, end, frozenset({end})), student)
    return _format(settings, tokenizer), notes


def _format(settings: ServedTeacher, tokenizer: Any) -> PromptFormat:
    return PromptFormat(
        tokenizer,
        settings.prompt,
        template=settings.template,
        side="teacher",
        special_tokens_in_text=settings.special_tokens_in_text,
    )


def _context(settings: ServedTeacher, met: Met, student: LanguageModel) -> int:
    """Tokens of prompt and response: the server writes one more, and wants room for that."""
    said = met.context
    if said is not None and settings.context is not None and settings.context > said:
        raise ConfigError(
            f"teacher.context={settings.context} is more than the {said} tokens that "
            f"{settings.url} reads. Lower it, or start the server with --max-model-len."
        )
    return (settings.context or said or student.context) - 1


def _recognise(settings: ServedTeacher, met: Met, store: Store, tokenizer: Any) -> None:
    """Refuse a model that is not the one that was there by this name; remember a new one."""
    words = json.dumps(sorted(tokenizer.get_vocab().items()))
    digest = sha256(words.encode()).hexdigest()
    key = key_of("served probe", LAYOUT, settings.model, digest)
    kept = store.get([key]).get(key)
    if kept is None:
        store.put({key: json.dumps(met.thinks).encode()})
    elif (apart := met.apart(tuple(json.loads(kept)))) > settings.tolerance:
        raise another(settings, apart, f"the one whose answers are kept in {store.path}")


def _compare(
    settings: ServedTeacher, met: Met, meeting: Meeting, student: LanguageModel, precision: str
) -> None:
    """Refuse a model that is not the one that lies here."""
    assert settings.reference is not None
    copy = load(Teacher(name=settings.reference), device=student.device, precision=precision)
    with torch.no_grad():
        batch = copy.batch([meeting.probe.prompt], [meeting.probe.response])
        nlls = token_nlls(copy.hidden(batch), batch.targets, copy.head, chunk_mb=64)
    apart = met.apart(tuple((-nlls).tolist()))
    if apart > settings.tolerance:
        raise another(settings, apart, f"teacher.reference={settings.reference}")
