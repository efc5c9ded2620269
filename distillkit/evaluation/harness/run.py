"""The calls into lm-evaluation-harness, set as its own command line sets them.

lm_eval is imported inside: it is an extra, and takes seconds.
"""

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.core.errors import ConfigError, DataError, ModelError
from distillkit.evaluation.harness.conversations import conversations
from distillkit.evaluation.harness.files import BENCHMARKS, PREFIX
from distillkit.evaluation.harness.records import Records, records
from distillkit.metrics.evidence import BenchmarkSettings
from distillkit.models.language_model import LanguageModel, evaluating

SEED = 1234
"""lm_eval's default for arrays, tensors and the choice of examples; Python's own is 0."""


def run(
    model: LanguageModel,
    settings: BenchmarkSettings,
    names: Iterable[str],
    *,
    folder: Path,
    poll: Callable[[], None],
    say: Callable[[str], None],
) -> Iterator[tuple[str, Records]]:
    """Run task after task, each one's records as soon as they are there.

    Args:
        model: what is measured.
        settings: how.
        names: benchmarks with files in ``folder/<name>``, and other names of lm_eval's.
        folder: of the task files.
        poll: called before each forward pass.
        say: told what runs, and where prompts did not fit.

    Raises:
        ConfigError: lm_eval does not know a name, or must not run it here.
        DataError: a dataset cannot be had.
        ModelError: the model is too short.
    """
    managers = _managers(names, folder)
    for place, (name, manager) in enumerate(managers.items(), 1):
        say(f"lm_eval  {name}, task {place} of {len(managers)}")
        with _quiet() as cuts, _polled(model, poll), evaluating(model), _seeded():
            reader = _reader(model, settings)
            task = PREFIX + name if name in BENCHMARKS else name
            scores = _run(reader, manager, task, settings)
        if cuts.count:
            say(
                f"lm_eval  {name}: prompts lost their beginnings {cuts.count} times, because they "
                f"did not fit into the {reader.max_length} tokens that the model reads"
            )
        yield name, scores


def _near(name: str, known: Iterable[str]) -> str:
    """A sentence of names that are near, or of our own where none is."""
    close = get_close_matches(name, list(dict.fromkeys(known)), n=5)
    if close:
        return f"Did you mean {', '.join(close)}?"
    return f"Use one of {', '.join(BENCHMARKS)}, or a name of lm_eval ls tasks."


def _managers(names: Iterable[str], folder: Path) -> dict[str, Any]:
    """What finds each task: its own folder, or the slow index of all that lm_eval ships."""
    from lm_eval.tasks import TaskManager

    names = list(names)
    others = TaskManager() if set(names) - set(BENCHMARKS) else None
    managers = {}
    for name in names:
        if name in BENCHMARKS:
            managers[name] = TaskManager(include_path=folder / name, include_defaults=False)
            continue
        managers[name] = others
        if others is not None and name not in others.task_index:
            raise ConfigError(
                f"metric.lm_eval.tasks has {name}, which neither distillkit nor lm_eval has. "
                f"{_near(name, [*BENCHMARKS, *others.all_tasks])}"
            )
    return managers


def _reader(model: LanguageModel, settings: BenchmarkSettings) -> Any:
    """lm_eval's view of the model. It may give the tokenizer a padding token, so it has a copy."""
    from lm_eval.models.huggingface import HFLM

    reader = HFLM(
        pretrained=model.module,
        tokenizer=deepcopy(model.tokenizer),
        batch_size=settings.batch_size,
        mixed_precision_dtype=torch.bfloat16 if model.autocast else None,
    )
    if settings.chat:
        reader.apply_chat_template = conversations(model)
    return reader


def _run(reader: Any, manager: Any, name: str, settings: BenchmarkSettings) -> Records:
    """Load one task or group, set it as the command line would, run it."""
    from datasets.exceptions import DatasetsError
    from lm_eval.evaluator import evaluate

    asked = f"metric.lm_eval.tasks has {name.removeprefix(PREFIX)}"
    try:
        loaded = manager.load([name])
    except (OSError, ValueError, ImportError, DatasetsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{asked}, whose dataset could not be read ({reason}); check the connection, or give "
            "a local folder as metric.lm_eval.path."
        ) from error
    for task in loaded["tasks"].values():
        _set(task, settings, asked=asked, context=reader.max_length)
    results = evaluate(
        lm=reader,
        task_dict=loaded,
        limit=settings.limit,
        bootstrap_iters=0,
        apply_chat_template=settings.chat,
        fewshot_as_multiturn=settings.chat,
    )
    return records(results, loaded.get("groups", {}))


def _set(task: Any, settings: BenchmarkSettings, *, asked: str, context: int) -> None:
    """What ``lm_eval.simple_evaluate`` does to a task, which itself lists every installed package.

    A task that says zero examples stays at zero, as there.
    """
    if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
        raise ConfigError(
            f"{asked}, which runs code that a model wrote or shows it pictures; distillkit does "
            "neither. Run it with lm_eval's own command line."
        )
    shown = task.get_config("num_fewshot")
    if shown is None or (settings.fewshot is not None and shown != 0):
        task.set_config(key="num_fewshot", value=settings.fewshot or 0)
    task.set_fewshot_seed(seed=SEED)
    if task.get_config("output_type") != "generate_until":
        return
    if settings.longest is not None:
        task.set_config(
            key="generation_kwargs", value={"max_gen_toks": settings.longest}, update=True
        )
    longest = task.get_config("generation_kwargs").get("max_gen_toks", 256)
    if longest >= context:
        raise ModelError(
            f"{asked}, which generates up to {longest} tokens, and the model reads {context} in "
            "all. Set metric.lm_eval.longest well below that."
        )


@contextmanager
def _seeded() -> Iterator[None]:
    """lm_eval's seeds inside, for tasks that shuffle; the streams of before afterwards."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            random.seed(0)
            np.random.seed(SEED)
            torch.manual_seed(SEED)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


@contextmanager
def _polled(model: LanguageModel, poll: Callable[[], None]) -> Iterator[None]:
    """Call ``poll`` before each forward pass."""
    hook = model.module.register_forward_pre_hook(lambda *_: poll())
    try:
        yield
    finally:
        hook.remove()


class _Cuts(logging.Handler):
    """Counts lm_eval's warnings of prompts that it cut."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "truncat" in record.getMessage().lower()


@contextmanager
def _quiet() -> Iterator[_Cuts]:
    """No bars and notes of lm_eval and datasets; what it cuts is counted."""
    logger, cuts = logging.getLogger("lm_eval"), _Cuts()
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(cuts)
    try:
        with redirect_stderr(StringIO()):
            yield cuts
    finally:
        logger.removeHandler(cuts)
        logger.setLevel(level)
        logger.propagate = propagate
