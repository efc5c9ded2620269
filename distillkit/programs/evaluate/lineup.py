"""The models of a run side by side: each is loaded, measured beside the teacher, and let go."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from distillkit.core.errors import DataError, ModelError, RunError
from distillkit.core.keeper import Keeper
from distillkit.core.spec import SPECS
from distillkit.core.store import key_of
from distillkit.core.types import Answer
from distillkit.evaluation.gathering import ModelEvidence
from distillkit.evaluation.parts import Decoding, Judged, Measured
from distillkit.metrics.base import Metric, Tally
from distillkit.metrics.evidence import Whose
from distillkit.models.identity import digest_of_writer
from distillkit.models.loading import load, pick_device
from distillkit.models.pair import agree_on_the_end
from distillkit.models.pretrained import Pretrained, SelfTeacher, Teacher, of_folder, start_of
from distillkit.models.shared_ids import differ, share_ids
from distillkit.programs.train.assemble import check_evaluated
from distillkit.run import EvalRun, TrainRun


class Lineup:
    """Measures the student, its start and the teacher, if there is one, of one run.

    Args:
        asked: what is to be measured, and how texts are written.
        run: the training that is evaluated.
        student: folder of the trained student.

    Raises:
        DataError: the split is empty.
        RunError: a teacher is asked for, and the run has none.

    Attributes:
        everybody: whom to measure, by whose they are.
        judged: examples and their dataset.
        tallies: by whose they are, then by metric.
    """

    def __init__(self, asked: EvalRun, run: TrainRun, *, student: Path) -> None:
        source = run.teacher if isinstance(run.teacher, Teacher) else None
        if isinstance(run.teacher, SelfTeacher):
            source = run.teacher.alone(run.student)
        if source is None:
            _check_nobody_is_compared(asked)
        self._asked, self._precision = asked, run.precision
        examples = run.dataset.examples(asked.split)[: asked.limit]
        if not examples:
            raise DataError(f"split={asked.split} has no example. Choose another split.")
        self.judged = Judged(run.dataset, examples)
        length = asked.max_new_tokens or run.evaluation.max_new_tokens or run.rollout.max_new_tokens
        self._decoding = Decoding(length, asked.samples, asked.seed, asked.batch_size)
        self.everybody: dict[str, Pretrained] = {
            "student": of_folder(run.student, student),
            "start": start_of(run.student),
        }
        self._weights: dict[str, str] = {}
        self._teacher = self._reference = None
        if source is not None:
            self.everybody["teacher"] = source
            self._teacher = self._load("teacher", source)
        if source is not None and asked.reference:
            named = replace(source, name=asked.reference, revision=None)
            try:
                self._reference = self._load("reference", named)
            except ModelError as error:
                # Loaded as a teacher is, but named by another field.
                message = str(error).replace("teacher.name", "reference")
                raise ModelError(message) from error
        self._texts: dict[str, list[dict[str, Any]]] = {}
        self.tallies: dict[str, dict[str, Tally]] = {}

    @property
    def made_from(self) -> dict[str, Any]:
        """What two evaluations must share for their numbers to be paired."""
        examples = [(each.id, each.question, each.reference) for each in self.judged.examples]
        decoding = asdict(self._decoding)
        del decoding["batch_size"]
        named = self._asked.reference
        return {"examples": key_of(examples)[:16], **decoding, "reference": named}

    @property
    def fingerprint(self) -> str:
        """Of the examples, the decoding and the weights: what all records here share."""
        return key_of(self.made_from, self._weights)[:16]

    def measure(
        self, who: str, keeper: Keeper, *, bind: Callable[[Mapping[str, str]], None]
    ) -> None:
        """Every metric on one model.

        Args:
            who: one of :attr:`everybody`.
            keeper: of the evidence.
            bind: told the digests of the models before anything is made; may refuse.
        """
        teacher = self._teacher
        known = teacher if who == "teacher" else None
        subject = known or self._load(who, self.everybody[who])
        others = [other.model for other in (teacher, self._reference) if other is not None]
        apart = not self._compares and any(differ(other, subject.model) for other in others)
        for other in () if apart else others:
            share_ids(other, subject.model)
        check_evaluated(self.judged.examples, [subject.model, *others])
        digests = {who: subject.digest}
        if teacher is not None:
            digests["teacher"] = teacher.digest
        if teacher is not None and not apart:
            agree_on_the_end(teacher.model, subject.model)
        bind(digests)
        evidence = ModelEvidence(
            who,
            subject,
            teacher=teacher,
            judged=self.judged,
            decoding=self._decoding,
            keeper=keeper,
            reference=self._reference,
        )
        metrics = self._asked.metric.items()
        self.tallies[who] = {name: metric.measure(evidence) for name, metric in metrics}
        self._texts[who] = [_shown(text) for text in evidence.greedy(Whose.own)]

    def items(self) -> list[dict[str, Any]]:
        """The greedy texts of all models, example by example."""
        return [
            {
                "id": example.id,
                "prompt": example.question,
                "reference": example.reference,
                "answer": example.answer,
                "texts": {who: texts[row] for who, texts in self._texts.items()},
            }
            for row, example in enumerate(self.judged.examples)
        ]

    @property
    def _compares(self) -> bool:
        """Whether a metric sets a model beside another one, id by id."""
        return any(metric.COMPARES for metric in self._asked.metric.values())

    def _load(self, who: str, source: Pretrained) -> Measured:
        device = pick_device(self._asked.device)
        model = load(source, device=device, precision=self._precision)
        dtype = "autocast" if model.autocast else str(model.module.dtype).removeprefix("torch.")
        self._weights[who] = f"{digest_of_writer(model)}-{dtype}"
        return Measured(model, self._weights[who])


def _check_nobody_is_compared(asked: EvalRun) -> None:
    """Refuse metrics that take a teacher."""
    if asked.reference:
        raise RunError(
            f"reference={asked.reference} judges beside a teacher, and this run has none "
            "that is a model. Remove it."
        )
    names = [name for name, metric in asked.metric.items() if metric.COMPARES]
    if not names:
        return
    left = [name for name in asked.metric if name not in names] or [
        path.removeprefix("metric/")
        for path, metric in sorted(SPECS.items())
        if issubclass(metric, Metric) and not metric.COMPARES
    ]
    verb = "compare" if len(names) > 1 else "compares"
    raise RunError(
        f"{', '.join(f'metric.{name}' for name in names)} {verb} with a teacher, and this run has "
        f"none that is a model. Use metric=[{','.join(left)}]."
    )


def _shown(text: Answer) -> dict[str, Any]:
    return {
        "text": text.text,
        "answer": text.stated,
        "correct": text.correct,
        "truncated": text.truncated,
    }
