"""Trainers of TRL and of transformers, one real training step at a time.

Each trainer's ``train()`` waits at the beginning of every step until it is called, so that steps of
several trainers can take turns. It runs in the main thread of a process of its own where it can
(``in_main_thread``): a second thread with its own OpenMP team would slow it down. The seconds are
those between their own ``on_step_begin`` and ``on_step_end``: rollout, both models, loss, clipping
and optimiser, without the loading of rows. Settings that cost time and change no result (gradient
checkpointing, logging, saving) are off.
"""

import threading
import time
from collections.abc import Callable, Sequence
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Self

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from scripts.bench.measure import THREADS
from scripts.bench.ours import BATCHES, LEARNING_RATE
from scripts.bench.pair import Ends, Shape, generating_with, models_of, questions

BETAS = {"jsd": 0.5, "reverse_kl": 1.0}
IGNORED = -100
"""The label of a token that is not learnt."""


def _arguments(shape: Shape) -> dict[str, Any]:
    return {
        "output_dir": mkdtemp(prefix="distillkit-bench-"),
        "per_device_train_batch_size": len(shape.lengths),
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "max_steps": 1_000_000,
        "use_cpu": True,
        "bf16": shape.precision == "bf16",
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def _objective(shape: Shape) -> dict[str, Any]:
    return {"beta": BETAS[shape.divergence], "temperature": 1.0}


def _models(shape: Shape) -> tuple[Any, Any, Any]:
    paths = models_of(shape)
    student, teacher = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in paths
    )
    tokenizer = AutoTokenizer.from_pretrained(paths[0])
    ends = Ends(shape, tokenizer.eos_token_id)
    student.generate = generating_with(ends, student.generate)
    return student, teacher, tokenizer


def distillation_trainer(shape: Shape) -> Any:
    """TRL's DistillationTrainer."""
    from trl import DistillationConfig, DistillationTrainer

    student, teacher, tokenizer = _models(shape)
    rows = [{"prompt": f"{text}\n"} for text in questions(shape, BATCHES)]
    return DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=DistillationConfig(
            max_completion_length=shape.limit, **_objective(shape), **_arguments(shape)
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def gkd_trainer(shape: Shape) -> Any:
    """TRL's experimental GKDTrainer, always on the student's own text."""
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    student, teacher, tokenizer = _models(shape)
    rows = [{"text": f"{text}\n"} for text in questions(shape, BATCHES)]

    def collate(picked: list[dict[str, str]]) -> dict[str, Any]:
        ids = tokenizer([row["text"] for row in picked], return_tensors="pt")
        prompts, mask = ids["input_ids"], ids["attention_mask"]
        return {
            "prompts": prompts,
            "prompt_attention_mask": mask,
            "input_ids": prompts,
            "attention_mask": mask,
            "labels": prompts,
        }

    return GKDTrainer(
        model=student,
        teacher_model=teacher,
        args=GKDConfig(
            max_new_tokens=shape.limit, lmbda=1.0, **_objective(shape), **_arguments(shape)
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        data_collator=collate,
    )


class PlainKD(Trainer):
    """transformers' Trainer with what one writes first: forward KL over all logits of the text."""

    def __init__(self, *, teacher: Any, **rest: Any) -> None:
        super().__init__(**rest)
        self.teacher = teacher.eval()

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **rest: Any) -> Tensor:
        """The mean over the tokens of the text."""
        labels = inputs.pop("labels")
        learnt = labels[:, 1:] != IGNORED
        with torch.no_grad():
            theirs = self.teacher(**inputs).logits[:, :-1][learnt].log_softmax(-1)
        ours = model(**inputs).logits[:, :-1][learnt].log_softmax(-1)
        return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def plain_trainer(shape: Shape, texts: Sequence[str]) -> Any:
    """The same documents in every step, each between two end tokens."""
    student, teacher, tokenizer = _models(shape)
    end = tokenizer.eos_token_id
    rows = [[end, *tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in texts]
    return PlainKD(
        teacher=teacher,
        model=student,
        args=TrainingArguments(**_arguments(shape)),
        train_dataset=Dataset.from_list([{"input_ids": row} for row in rows]),
        data_collator=_padded(end),
    )


def _padded(end: int) -> Callable[[list[dict[str, Any]]], dict[str, Tensor]]:
    def collate(picked: list[dict[str, Any]]) -> dict[str, Tensor]:
        rows = [torch.tensor(row["input_ids"]) for row in picked]
        seen = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        return {
            "input_ids": pad_sequence(rows, batch_first=True, padding_value=end),
            "attention_mask": seen,
            "labels": pad_sequence(rows, batch_first=True, padding_value=IGNORED),
        }

    return collate


class PeerSteps:
    """Steps of a trainer; each call takes one and says its seconds."""

    def __init__(self, trainer: Any) -> None:
        self.attention = trainer.model.config._attn_implementation
        self.tokens: list[int] = []
        self.seconds = 0.0
        self.closing = False
        self.may_begin, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._count_tokens(trainer)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Turns(self))
        self._trainer = trainer
        self._thread: threading.Thread | None = None
        self._in_main = False

    def in_main_thread(self) -> None:
        """Train here until closed; calls come from another thread."""
        self._in_main = True
        self._train()

    def __call__(self) -> float:
        if not self._in_main and self._thread is None:
            self._thread = threading.Thread(target=self._train, daemon=True)
            self._thread.start()
        self.may_begin.release()
        self.ended.acquire()
        if self._error:
            raise self._error
        return self.seconds

    def _count_tokens(self, trainer: Any) -> None:
        """Keep the number of positions that each step's loss is computed on."""
        compute_loss = trainer.compute_loss

        def counted(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            labels = inputs.get("labels")
            valid = inputs["completion_mask"] if labels is None else labels[:, 1:] != IGNORED
            self.tokens.append(int(valid.sum()))
            return compute_loss(model, inputs, *args, **kwargs)

        trainer.compute_loss = counted

    def _train(self) -> None:
        torch.set_num_threads(THREADS)
        try:
            self._trainer.train()
        except BaseException as error:  # raised again by the caller's thread
            self._error = error
        self.ended.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.closing = True
        self.may_begin.release()
        if self._thread:
            self._thread.join()


class _Turns(TrainerCallback):
    def __init__(self, steps: PeerSteps) -> None:
        self._steps, self._start = steps, 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._steps.may_begin.acquire()
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._steps.seconds = time.perf_counter() - self._start
        control.should_training_stop = self._steps.closing
        self._steps.ended.release()
