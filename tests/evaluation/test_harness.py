"""lm-evaluation-harness on a loaded model: its own command line's numbers, kept and resumed."""

import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import lm_eval.evaluator
import lm_eval.tasks
import numpy as np
import pytest
import torch

from distillkit.core.errors import ConfigError, DataError, ModelError
from distillkit.core.store import Store
from distillkit.core.types import Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.evaluation.harness.benchmark import benchmark
from distillkit.evaluation.harness.conversations import conversations
from distillkit.evaluation.harness.files import BENCHMARKS, PREFIX, local_names, write_task
from distillkit.metrics.evidence import BenchmarkSettings
from distillkit.metrics.lm_eval import Harness
from distillkit.models import chat_template
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import EMBEDDED, load
from distillkit.models.pretrained import Student
from tests import tiny

DATA = Path(__file__).parents[3] / "shared" / "data"
LONGEST = 48
FOLDER = EMBEDDED / "teacher"
HARNESS = Path(lm_eval.tasks.__file__).parent
LOCAL = [
    "gsm8k",
    "gsm8k_zeroshot",
    "svamp",
    "hellaswag",
    "boolq",
    "piqa",
    "arc_easy",
    "winogrande",
    "commonsenseqa",
    "strategyqa",
    "mmlu",
    "bbh",
]
QUESTIONS = [each.question for each in Arithmetic(max_steps=1, test=6).examples(Split.test)]


def settings(*tasks: str, path: Path | None, **changes: Any) -> BenchmarkSettings:
    usual = {"limit": None, "fewshot": None, "longest": LONGEST, "chat": False, "batch_size": 4}
    return BenchmarkSettings(
        tasks=list(tasks), path=None if path is None else str(path), **{**usual, **changes}
    )


def run(
    model: LanguageModel,
    asked: BenchmarkSettings,
    store: Path,
    *,
    poll: Callable[[], None] = lambda: None,
) -> Mapping[str, Mapping[str, Sequence[float]]]:
    return benchmark(model, asked, store=Store(store), fingerprint="tiny", poll=poll)


def published() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"no published data at {DATA}")
    return DATA


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load(Student(name=str(FOLDER)), device=tiny.CPU, precision="fp32")


def said(model: LanguageModel, question: str) -> str | None:
    """The last number of transformers' own greedy answer of so many tokens."""
    prompt = model.tokenizer(f"Question: {question}\nAnswer:", return_tensors="pt")
    length = prompt["input_ids"].shape[1]
    with torch.no_grad():
        tokens = model.module.generate(**prompt, max_new_tokens=LONGEST, do_sample=False)[
            0, length:
        ]
    found = re.findall(r"-?\d+\.?\d*", model.tokenizer.decode(tokens, skip_special_tokens=True))
    return found[-1] if found else None


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, model: LanguageModel) -> Path:
    """Three small datasets; every other sum is one that the model gets right."""
    root = tmp_path_factory.mktemp("rows")
    numbers = [said(model, question) for question in QUESTIONS]
    assert any(numbers[::2]), "the model says no number at all"
    answers = [
        number if number is not None and place % 2 == 0 else "123456"
        for place, number in enumerate(numbers)
    ]
    sums = [
        {"id": f"s{place}", "question": question, "answer": answer}
        for place, (question, answer) in enumerate(zip(QUESTIONS, answers, strict=True))
    ]
    worked = [{**row, "rationale": f"So it is #### {row['answer']}"} for row in sums]
    choices = [
        {
            "id": f"c{place}",
            "subject": ("anatomy", "astronomy")[place % 3 == 0],
            "question": f"Which is {place}?",
            "choices": ["a cat", "the dog that barks", "blue", "12"],
            "label": place % 4,
        }
        for place in range(12)
    ]
    write(root / "svamp" / "test.jsonl", sums)
    write(root / "gsm8k" / "test.jsonl", worked)
    write(root / "gsm8k" / "train.jsonl", worked[::-1])
    write(root / "arc_easy" / "test.jsonl", choices)
    write(root / "mmlu" / "test.jsonl", choices)
    return root


def write(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def command_line(place: Path, tasks: Sequence[str], *arguments: str) -> dict[str, dict[str, Any]]:
    """Every number of ``lm_eval run`` in a process of its own without a network."""
    environment = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    # Ours name by path what they include; the 13,000 tasks of its own take it ten seconds to list.
    alone = "from functools import partial; from lm_eval import tasks, __main__ as main; "
    alone += "tasks.TaskManager = partial(tasks.TaskManager, include_defaults=False); "
    alone += "main.cli_evaluate()"
    done = subprocess.run(
        [
            *(sys.executable, "-c", alone, "run", "--model", "hf", "--device", "cpu"),
            *("--model_args", f"pretrained={FOLDER},dtype=float32", "--batch_size", "3"),
            *("--include_path", str(place / "tasks"), "--output_path", str(place / "out")),
            *("--tasks", ",".join(PREFIX + task for task in tasks), "--log_samples"),
            *("--gen_kwargs", f"max_gen_toks={LONGEST}", *arguments),
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (results,) = (place / "out").rglob("results_*.json")
    return json.loads(results.read_text())["results"]


def numbers_of(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The command line's numbers under our names."""
    return {
        named(task, metric, reading): value
        for task, numbers in results.items()
        for name, value in numbers.items()
        for metric, comma, reading in [name.partition(",")]
        if comma and not metric.endswith("_stderr")
    }


def named(task: str, metric: str, reading: str) -> str:
    """Our name of a number."""
    return f"{task.removeprefix(PREFIX)}/{metric}" + ("" if reading == "none" else f"/{reading}")


def logged(place: Path) -> dict[str, list[dict[str, Any]]]:
    """The command line's samples by task."""
    return {
        file.name.removeprefix("samples_").rpartition("_")[0]: [
            json.loads(line) for line in file.read_text().splitlines()
        ]
        for file in (place / "out").rglob("samples_*.jsonl")
    }


def by_document(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    """Each document's values under our names."""
    found: dict[str, dict[str, float]] = {}
    for task, rows in samples.items():
        for row in rows:
            document = found.setdefault(f"{task.removeprefix(PREFIX)}/{row['doc_id']}", {})
            for metric in row["metrics"]:
                document[named(task, metric, row["filter"])] = row[metric]
    return found


def prompts(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[tuple[str, int], str]:
    """What was asked about each document, hashed by the harness."""
    return {(task, row["doc_id"]): row["prompt_hash"] for task in samples for row in samples[task]}


Compare = Callable[..., dict[str, float]]


@pytest.fixture
def compared(model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Our numbers, once they are found to be the command line's, prompt by prompt."""
    asked: dict[tuple[str, int], str] = {}
    evaluate = lm_eval.evaluator.evaluate

    def listening(**arguments: Any) -> Any:
        results = evaluate(**arguments)
        asked.update(prompts(results["samples"]))
        return results

    def compare(tasks: Sequence[str], path: Path, *, fewshot: int | None) -> dict[str, float]:
        for task in tasks:
            write_task(task, tmp_path / "tasks", harness=HARNESS, path=path)
        monkeypatch.setattr(lm_eval.evaluator, "evaluate", listening)
        wanted = settings(*tasks, path=path, limit=4, fewshot=fewshot)
        ours = run(model, wanted, tmp_path / "store.sqlite")
        shown = [] if fewshot is None else ["--num_fewshot", str(fewshot)]
        results = command_line(tmp_path, tasks, "--limit", "4", *shown)
        numbers = Harness(tasks=list(tasks)).compute(list(ours.values()))
        assert numbers == pytest.approx(numbers_of(results), abs=1e-12)
        samples = logged(tmp_path)
        assert asked == prompts(samples)
        theirs = by_document(samples)
        assert ours.keys() == theirs.keys()
        for document, values in theirs.items():
            assert values == {name: ours[document][name][0] for name in values}
        return numbers

    return compare


def test_numbers_are_those_of_the_harnesss_own_command_line(compared: Compare, rows: Path) -> None:
    numbers = compared(["svamp", "arc_easy", "gsm8k", "mmlu"], rows, fewshot=2)
    assert list(numbers) == [
        "svamp/acc",
        "arc_easy/acc",
        "arc_easy/acc_norm",
        "gsm8k/exact_match/strict-match",
        "gsm8k/exact_match/flexible-extract",
        "mmlu/acc",
        "mmlu_anatomy/acc",
        "mmlu_astronomy/acc",
    ]
    assert 0 < numbers["svamp/acc"] < 1
    assert 0 < numbers["mmlu/acc"] < 1


@pytest.mark.slow
def test_numbers_of_every_local_task_are_the_command_lines(
    compared: Compare,
) -> None:
    compared(LOCAL, published(), fewshot=None)


def test_the_last_number_within_the_tolerance_is_right(
    model: LanguageModel, rows: Path, tmp_path: Path
) -> None:
    found = run(model, settings("svamp", path=rows), tmp_path / "store.sqlite")
    lines = (rows / "svamp" / "test.jsonl").read_text().splitlines()
    for place, line in enumerate(lines):
        number = said(model, QUESTIONS[place])
        right = number is not None and abs(float(number) - float(json.loads(line)["answer"])) < 1e-3
        assert found[f"svamp/{place}"] == {"svamp/acc": [float(right), 1.0]}


def test_every_local_task_runs_without_a_network_and_only_once(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(*LOCAL, path=published(), limit=1, longest=8)
    assert local_names(DATA) == [name for name in BENCHMARKS if name in LOCAL]

    def refuse(*arguments: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    first = run(model, asked, tmp_path / "store.sqlite")
    assert len(first) == 10 + 57 + 27

    def stop() -> None:
        raise AssertionError("the model was run again")

    assert run(model, asked, tmp_path / "store.sqlite", poll=stop) == first


def test_a_stopped_evaluation_goes_on_after_its_last_finished_task(
    model: LanguageModel, rows: Path, tmp_path: Path
) -> None:
    asked = settings("arc_easy", "mmlu", path=rows)
    calls = Counter()
    whole = run(model, asked, tmp_path / "whole.sqlite", poll=calls)
    first = Counter()
    run(model, settings("arc_easy", path=rows), tmp_path / "first.sqlite", poll=first)
    with pytest.raises(KeyboardInterrupt):
        run(model, asked, tmp_path / "stopped.sqlite", poll=Counter(limit=first.calls))
    again = Counter()
    assert run(model, asked, tmp_path / "stopped.sqlite", poll=again) == whole
    assert again.calls == calls.calls - first.calls


class Counter:
    """Counts its calls, and interrupts the one after ``limit``."""

    def __init__(self, limit: int | None = None) -> None:
        self.calls, self.limit = 0, limit

    def __call__(self) -> None:
        if self.calls == self.limit:
            raise KeyboardInterrupt
        self.calls += 1


def test_what_changes_the_numbers_is_asked_anew(
    model: LanguageModel, rows: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store.sqlite"
    data = tmp_path / "rows"
    lines = (rows / "arc_easy" / "test.jsonl").read_text().splitlines()
    write(data / "arc_easy" / "test.jsonl", [json.loads(line) for line in lines])
    first = run(model, settings("arc_easy", path=data), store)
    for changes in ({"limit": 3}, {"fewshot": 1}, {"chat": True}):
        counter = Counter()
        run(model, settings("arc_easy", path=data, **changes), store, poll=counter)
        assert counter.calls > 0, changes
    moved = data.rename(tmp_path / "moved")
    counter = Counter()
    assert run(model, settings("arc_easy", path=moved, batch_size=1), store, poll=counter) == first
    assert counter.calls == 0
    changed = [{**json.loads(line), "label": 0} for line in lines]
    write(moved / "arc_easy" / "test.jsonl", changed)
    assert run(model, settings("arc_easy", path=moved), store) != first


def test_the_model_and_every_stream_of_numbers_are_left_as_they_were(
    rows: Path, tmp_path: Path
) -> None:
    model = load(Student(name=str(FOLDER)), device=tiny.CPU, precision="fp32")
    model.tokenizer.pad_token = None
    before = [id(parameter) for parameter in model.module.parameters()]
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    run(model, settings("svamp", "arc_easy", path=rows), tmp_path / "store.sqlite")
    assert (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    ) == states
    assert [id(parameter) for parameter in model.module.parameters()] == before
    assert model.module.training
    assert model.tokenizer.pad_token is None
    model.module(torch.tensor([[3, 4, 5]])).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.module.parameters())


@pytest.mark.parametrize(
    ("tasks", "path", "changes", "kind", "sentence"),
    [
        pytest.param(
            *(["gsm9k"], None, {}, ConfigError, "has gsm9k, .* Did you mean gsm8k"),
            marks=pytest.mark.slow,  # reads lm_eval's 14,000 task files
        ),
        (["gsm9k"], "rows", {}, ConfigError, "has gsm9k, .* from a folder. Use gsm8k"),
        (["openbookqa"], "rows", {}, DataError, "openbookqa.*has rows for gsm8k, .*svamp"),
        (["gsm8k"], "nowhere", {}, ConfigError, r"path=.*nowhere is no folder"),
        (["svamp"], "broken", {}, DataError, r"test.jsonl: row 1 is no row of svamp \(KeyError"),
        (["svamp"], "rows", {"longest": 5000}, ModelError, "svamp, .* 5000 tokens, .* reads 512"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    model: LanguageModel,
    rows: Path,
    tmp_path: Path,
    tasks: list[str],
    path: str | None,
    changes: dict[str, Any],
    kind: type[Exception],
    sentence: str,
) -> None:
    write(tmp_path / "broken" / "svamp" / "test.jsonl", [{"id": "a", "prompt": "?"}])
    place = {None: None, "rows": rows}.get(path, tmp_path / str(path))
    with pytest.raises(kind, match=sentence) as caught:
        run(model, settings(*tasks, path=place, **changes), tmp_path / "store.sqlite")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("trims", ["", " | trim"])
@pytest.mark.parametrize("begun", [None, "It is", "It is ", " What is 1 + 1?", ""])
def test_a_conversation_reads_as_transformers_renders_it(
    begun: str | None, trims: str, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "{% for each in messages %}<{{ each.role }}>{{ each.content"
        f"{trims}"
        " }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    monkeypatch.setattr(model.tokenizer, "chat_template", source)
    asked = begun is None
    turns = [{"role": "user", "content": "What is 1 + 1?"}]
    turns += [] if asked else [{"role": "assistant", "content": begun}]
    expected = model.tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=asked, continue_final_message=not asked
    )
    assert conversations(model)(turns, add_generation_prompt=asked) == expected


def test_a_conversation_has_the_clock_of_training_and_its_limits(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "{{ strftime_now('%d %b %Y') }}{{ messages[0]['content'] }}"
    monkeypatch.setattr(model.tokenizer, "chat_template", told)
    turns = [{"role": "user", "content": "?"}]
    assert conversations(model)(turns) == "01 Jan 2025?"
    endless = "{% for n in range(99999999) if messages[0]['content'] == '!' %}{{ n }}{% endfor %}"
    monkeypatch.setattr(model.tokenizer, "chat_template", endless)
    with pytest.raises(ModelError, match="chat=true, but the chat template cannot render"):
        conversations(model)([{"role": "user", "content": "!"}])


def test_the_harness_reads_such_conversations_and_keeps_numbers_by_their_day(
    model: LanguageModel, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = (
        "{% if strftime_now('%Y') not in ['2025', '2031'] %}{{ raise_exception('late') }}"
        "{% endif %}{{ messages[0]['content'] }}"
    )
    monkeypatch.setattr(model.tokenizer, "chat_template", pinned)
    asked = settings("svamp", path=rows, chat=True, limit=1)
    run(model, asked, tmp_path / "store.sqlite")
    again = Counter()
    run(model, asked, tmp_path / "store.sqlite", poll=again)
    monkeypatch.setattr(chat_template, "TODAY", datetime(2031, 1, 1))
    later = Counter()
    run(model, asked, tmp_path / "store.sqlite", poll=later)
    assert (again.calls, later.calls > 0) == (0, True)


def test_a_template_that_leaves_out_what_is_begun_is_refused(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.tokenizer, "chat_template", "{{ messages[0]['content'] }}")
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "It is"}]
    with pytest.raises(ModelError, match="leaves out the answer that the harness begins"):
        conversations(model)(turns, add_generation_prompt=False)


def test_a_system_message_that_a_template_refuses_is_left_out(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ messages[0]['content'] }}"
    )
    monkeypatch.setattr(model.tokenizer, "chat_template", strict)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]
    assert conversations(model)(turns) == "?"


def test_a_chat_is_refused_without_a_template(model: LanguageModel, rows: Path) -> None:
    template, model.tokenizer.chat_template = model.tokenizer.chat_template, None
    try:
        with pytest.raises(ModelError, match="chat=true"):
            run(model, settings("svamp", path=rows, chat=True), rows / "store.sqlite")
    finally:
        model.tokenizer.chat_template = template


def test_a_missing_harness_is_named_with_its_remedy(
    model: LanguageModel, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ConfigError, match=r"pip install 'distillkit\[harness\]'"):
        run(model, settings("svamp", path=rows), tmp_path / "store.sqlite")


@pytest.mark.parametrize(
    "changes", [{"tasks": []}, {"limit": 0}, {"fewshot": -1}, {"longest": 0}, {"batch_size": 0}]
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"metric.lm_eval.{next(iter(changes))}"):
        Harness(**changes)


def test_what_runs_is_told_and_what_did_not_fit(model: LanguageModel, tmp_path: Path) -> None:
    folder = tmp_path / "rows" / "svamp"
    folder.mkdir(parents=True)
    row = {"id": "long", "question": "Tom has 3 apples. " * 120, "answer": "3"}
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    told: list[str] = []
    asked = settings("svamp", path=tmp_path / "rows", longest=4)
    store = Store(tmp_path / "kept")
    for _ in range(2):
        benchmark(model, asked, store=store, fingerprint="tiny", say=told.append)
    # The second call finds everything, so that nothing runs.
    assert told[0] == "lm_eval  svamp, task 1 of 1"
    assert "prompts lost their beginnings 1 times" in told[1]
    assert len(told) == 2
