"""Running text: its perplexity and the distance to the teacher, and samples that go on from it."""

import json
import math
from pathlib import Path

import pytest
import torch

from distillkit.core.types import Example
from distillkit.datasets.text import Text
from distillkit.evaluation.passages import PassageQuality
from distillkit.evaluation.quality import Quality, measure
from distillkit.models.pretrained import Teacher
from distillkit.models.sampling import Sampling
from tests.conftest import SMOKE, CommandLine
from tests.tiny import build, example

PASSAGES = [
    Example(id=str(row), prompt=(), reference=text, closed=False)
    for row, text in enumerate(
        ["Tom has 12 apples.", "He buys 30 more, and then he has 42.", "12 + 30 = 42"]
    )
]
SHORT = Sampling(max_new_tokens=4, batch_size=2)


def found(teacher: object = None) -> PassageQuality:
    quality = measure(build(seed=1), Text(path="none"), PASSAGES, sampling=SHORT, teacher=teacher)
    assert isinstance(quality, PassageQuality)
    return quality


def test_numbers_are_those_of_dense_distributions_one_passage_at_a_time() -> None:
    student, teacher = build(seed=1), build("gpt2", side=Teacher, seed=2)
    nats, apart, count = 0.0, 0.0, 0
    for passage in PASSAGES:
        text = [1, *student.reference_ids(passage)]
        with torch.no_grad():
            own, right = (
                side.module.eval()(input_ids=torch.tensor([text])).logits[0, :-1, :382].double()
                for side in (student, teacher)
            )
        own, right = own.log_softmax(-1), right.log_softmax(-1)
        nats -= own[range(len(text) - 1), text[1:]].sum().item()
        apart += (right.exp() * (right - own)).sum().item()
        count += len(text) - 1
    numbers = found(teacher).numbers()
    size = sum(len(passage.reference.encode()) for passage in PASSAGES)
    assert numbers == {
        "bits_per_byte": pytest.approx(nats / size / math.log(2), rel=1e-5),
        "nll": pytest.approx(nats / count, rel=1e-5),
        "perplexity": pytest.approx(math.exp(nats / count), rel=1e-5),
        "kl_to_teacher": pytest.approx(apart / count, rel=1e-5),
    }


def test_the_better_of_two_is_the_likelier_one() -> None:
    quality = found()
    assert quality.score == -quality.nll
    assert set(quality.numbers()) == {"nll", "perplexity", "bits_per_byte"}


def test_samples_go_on_from_the_beginnings_of_passages() -> None:
    for passage, sample in zip(PASSAGES, found().answers, strict=True):
        assert sample.example.question
        assert passage.reference.startswith(sample.example.question)
        assert sample.example.question != passage.reference


def test_examples_that_ask_are_answered_as_before() -> None:
    asked = [example("What is 1?", "1"), *PASSAGES]
    quality = measure(build(), Text(path="none"), asked, sampling=SHORT, teacher=build(seed=2))
    assert isinstance(quality, Quality)
    assert set(quality.numbers()) == {"nll", "truncated_share"}


@pytest.mark.usefixtures("wide")
def test_a_run_on_text_tells_perplexity_and_distance_to_the_teacher(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    lines = [{"text": f"Tom has {n} apples and {n + 1} pears."} for n in range(24)]
    (tmp_path / "rows").mkdir()
    for split, part in (("train", lines), ("validation", lines[:4]), ("test", lines[4:8])):
        content = "".join(json.dumps(line) + "\n" for line in part)
        (tmp_path / "rows" / f"{split}.jsonl").write_text(content)
    done = distillkit(
        "train",
        *SMOKE,
        "policy=off_policy",
        "dataset=text",
        "dataset.path=rows",
        "evaluation.every=1",
        "name=run",
    )
    assert done.code == 0, done.err
    assert "perplexity" in done.out
    assert "KL to the teacher" in done.out
    assert "bits / byte" in done.out
    assert "truncated" not in done.out
    folder = tmp_path / "outputs/train/run"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    validated = [row for row in rows if "validation/nll" in row]
    assert all("validation/kl_to_teacher" in row for row in validated)
    assert not any("validation/truncated_share" in row for row in validated)
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert all(sample["prompt"].startswith("Tom has") for sample in samples)


def test_bits_per_byte_are_those_of_the_text_that_was_read() -> None:
    """A context cuts what is scored, and an end token has bits and no byte."""
    model = build(context=16)
    passages = [
        Example(id=str(row), prompt=(), reference=text, closed=row == 0)
        for row, text in enumerate(
            ["12", "Tom has 12 apples and buys 30 more pens, and so on, twice."]
        )
    ]
    quality = measure(model, Text(path="none"), passages, sampling=SHORT)
    assert isinstance(quality, PassageQuality)
    prompt = len(model.prompts.prompt_ids(passages[0]))
    read = [model.reference_ids(each)[: model.context - prompt] for each in passages]
    assert read[0][-1] == model.end_id
    size = sum(len(model.tokenizer.decode(ids, skip_special_tokens=True)) for ids in read)
    tokens = sum(map(len, read))
    expected = quality.nll * tokens / size / math.log(2)
    assert quality.bits_per_byte == pytest.approx(expected, rel=1e-9)
