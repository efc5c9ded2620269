"""Runs lm-evaluation-harness on a loaded model, task by task, each of them only once.

https://github.com/EleutherAI/lm-evaluation-harness: its prompts, its reading of the model, its
scoring. Numbers are those of ``lm_eval run --model hf`` with the same task files.
"""

import json
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from distillkit.core.errors import ConfigError, ModelError
from distillkit.core.store import Store, key_of
from distillkit.evaluation.harness import scores
from distillkit.evaluation.harness.conversations import conversations
from distillkit.evaluation.harness.files import BENCHMARKS, OWN, local_names, write_task
from distillkit.evaluation.harness.records import Records
from distillkit.evaluation.harness.run import run
from distillkit.metrics.evidence import BenchmarkSettings
from distillkit.models.chat_template import QUESTION, ChatTemplate
from distillkit.models.language_model import LanguageModel


def benchmark(
    model: LanguageModel,
    settings: BenchmarkSettings,
    *,
    store: Store,
    fingerprint: str,
    poll: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda _: None,
) -> Records:
    """Scores of single documents; a task that the store holds is not run again.

    Args:
        model: read in its own floating type, with greedy generation by transformers.
        settings: what is asked for.
        store: keeps the records of each task as soon as it is finished.
        fingerprint: tells the model's weights and tokenizer from all others.
        poll: called before each forward pass; raises to stop.
        say: told what runs, and where prompts did not fit.

    Returns:
        ``<task>/<document>`` to ``<task>/<metric>`` to [sum, weight].

    Raises:
        ConfigError: lm_eval is not installed, or cannot run what is named.
        DataError: there are no rows to be had for a task.
        ModelError: the model is too short for a task, or has no chat template to apply.
    """
    harness = _harness()
    _check(model, settings)
    with TemporaryDirectory() as place:
        folder, keys = Path(place), {}
        path = None if settings.path is None else Path(settings.path).expanduser()
        for name in dict.fromkeys(settings.tasks):
            if name in BENCHMARKS:
                write_task(name, folder / name, harness=harness, path=path)
            texts = _texts(folder / name, harness)
            keys[name] = key_of("lm_eval", name, texts, fingerprint, _manner(model, settings))
        found = store.get(keys.values())
        store.tell("tasks", keys.values(), say)
        missing = [name for name, key in keys.items() if key not in found]
        if missing:
            for name, made in run(model, settings, missing, folder=folder, poll=poll, say=say):
                found[keys[name]] = json.dumps(made).encode()
                store.put({keys[name]: found[keys[name]]})
    joined: Records = {}
    for key in keys.values():
        for document, numbers in json.loads(found[key]).items():
            joined.setdefault(document, {}).update(numbers)
    return joined


def _harness() -> Path:
    """lm_eval's folder of tasks."""
    found = find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "metric=lm_eval needs lm-evaluation-harness, which is not installed here; run "
            "pip install 'distillkit[harness]'."
        )
    return Path(found.submodule_search_locations[0]) / "tasks"


def _check(model: LanguageModel, settings: BenchmarkSettings) -> None:
    """What can be refused before anything is read."""
    if settings.chat and not model.tokenizer.chat_template:
        raise ModelError(
            "metric.lm_eval.chat=true, but the model's tokenizer has no chat template. Use "
            "metric.lm_eval.chat=false."
        )
    if settings.chat:
        conversations(model)([{"role": "user", "content": QUESTION}])
    if settings.path is None:
        return
    path = Path(settings.path).expanduser()
    if not path.is_dir():
        raise ConfigError(
            f"metric.lm_eval.path={settings.path} is no folder. Give one that holds a folder for "
            "each dataset, or null for the hub."
        )
    local = local_names(path)
    for name in settings.tasks:
        if name not in BENCHMARKS:
            choice = " or ".join(get_close_matches(name, local) or local)
            raise ConfigError(
                f"metric.lm_eval.tasks has {name}, which cannot be read from a folder. Use "
                f"{choice}, or metric.lm_eval.path=null for the hub."
            )


def _texts(folder: Path, harness: Path) -> dict[str, str]:
    """Everything that words and scores a benchmark, apart from where it lies on this machine."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    written = {
        str(file.relative_to(folder)): file.read_text(encoding="utf-8")
        .replace(str(folder), "")
        .replace(str(harness), "")
        .replace(str(OWN), "")
        for file in files
    }
    ours = [*sorted(OWN.glob("*.yaml")), Path(scores.__file__)]
    own = {file.name: file.read_text(encoding="utf-8") for file in ours}
    return {**written, **own, "lm_eval": version("lm_eval")}


def _manner(model: LanguageModel, settings: BenchmarkSettings) -> dict[str, object]:
    """How the model is read, apart from its weights."""
    return {
        "type": str(model.module.dtype),
        "autocast": model.autocast,
        "generation": model.module.generation_config.to_json_string(),
        "template": _template(model) if settings.chat else None,
        "chat": settings.chat,
        "limit": settings.limit,
        "fewshot": settings.fewshot,
        "longest": settings.longest,
    }


def _template(model: LanguageModel) -> dict[str, object]:
    """What the chat template is told, the date too where it asks for one."""
    prompts = model.prompts
    template = ChatTemplate(model.tokenizer, prompts.template, side=prompts.side)
    return {**prompts.template, "today": template.tells_time}
