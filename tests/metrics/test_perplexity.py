"""Perplexity per token and per byte, against sums by hand in float64."""

from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from distillkit.core.errors import ConfigError, RunError
from distillkit.core.keeper import Keeper
from distillkit.core.store import Store
from distillkit.core.types import Example, Message
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.evaluation.gathering import ModelEvidence
from distillkit.evaluation.parts import Decoding, Judged, Measured
from distillkit.metrics.base import Record
from distillkit.metrics.evidence import Foretold, Whose
from distillkit.metrics.perplexity import Perplexity
from distillkit.models.loading import load
from distillkit.models.pretrained import Student

from ..tiny import CPU, save
from .known import KnownEvidence, example

ASKED = (Message("user", "How much is 2 and 3?"),)
EXAMPLES = [
    Example("answer", ASKED, "2 + 3 = 5, of course."),
    Example("passage", (), "Tom has 12 apples and buys 30 more. He pays 4 for each."),
    Example("open", (), "A passage that goes on elsewhere", closed=False),
    Example("long", (), "One of many words. " * 40),
    Example("nothing known", ASKED, ""),
]
CONTEXT = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    return save(place / "model", seed=3, context=CONTEXT)


@pytest.fixture
def evidence(folder: Path, tmp_path: Path) -> ModelEvidence:
    subject = Measured(load(Student(name=str(folder)), device=CPU, precision="fp32"), "one")
    keeper = Keeper(
        Store(tmp_path / "kept"),
        batch_size=2,
        poll=lambda: None,
        progress=lambda *_: None,
        say=print,
    )
    return ModelEvidence(
        "student",
        subject,
        teacher=None,
        judged=Judged(Arithmetic(test=1), EXAMPLES),
        decoding=Decoding(max_new_tokens=8, samples=2, seed=0, batch_size=4),
        keeper=keeper,
    )


def by_hand(folder: Path, prompt: tuple[int, ...], text: tuple[int, ...]) -> float:
    """Nats of a text, token by token, from transformers alone in float64."""
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    with torch.inference_mode():
        likely = module(input_ids=torch.tensor([[*prompt, *text]])).logits[0].log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(text) - 1)
    return -sum(float(likely[place, token]) for place, token in zip(places, text, strict=True))


def counted(evidence: ModelEvidence, folder: Path, source: Whose) -> tuple[float, int, int]:
    """Nats, tokens and bytes of all texts of a source, from their definitions."""
    model = evidence._subject.model
    nats, tokens, size = 0.0, 0, 0
    for place, one in enumerate(EXAMPLES):
        prompt = model.prompts.prompt_ids(one)
        if source is Whose.dataset:
            texts = [model.reference_ids(one)[: CONTEXT - len(prompt)]] if one.reference else []
        else:
            texts = [text.tokens for text in evidence.samples(source)[place]]
        for text in texts:
            nats, tokens = nats + by_hand(folder, prompt, text), tokens + len(text)
            size += len(model.tokenizer.decode(text, skip_special_tokens=True).encode())
    return nats, tokens, size


def test_it_is_exp_of_nats_a_token_and_a_byte_on_references_passages_and_own_text(
    evidence: ModelEvidence, folder: Path
) -> None:
    metric = Perplexity()
    found = metric.compute([*metric.measure(evidence).records.values()])
    for source in (Whose.dataset, Whose.own):
        nats, tokens, size = counted(evidence, folder, source)
        assert found[f"token_perplexity_{source}"] == pytest.approx(exp(nats / tokens), rel=1e-5)
        assert found[f"byte_perplexity_{source}"] == pytest.approx(exp(nats / size), rel=1e-5)
        assert found[f"bits_per_byte_{source}"] == pytest.approx(nats / size / log(2), rel=1e-5)
    assert len(found) == 6


def test_every_token_counts_and_the_end_has_no_byte(evidence: ModelEvidence) -> None:
    records = Perplexity(texts=[Whose.dataset]).measure(evidence).records
    model = evidence._subject.model
    assert records["nothing known"] == {"dataset": [0, 0, 0]}
    for one in EXAMPLES[:3]:
        _, tokens, size = records[one.id]["dataset"]
        assert tokens == len(model.prompts.reference_ids(one)) + one.closed
        assert size == len(one.reference.encode())
    # The context cuts this one, and what is cut away is counted nowhere.
    _, tokens, size = records["long"]["dataset"]
    assert tokens == CONTEXT - 1
    assert size < len(EXAMPLES[3].reference.encode())


def test_a_text_is_read_once_and_found_again(evidence: ModelEvidence) -> None:
    keeper = evidence._keeper
    before = evidence.foretold(Whose.dataset)
    assert keeper.made["likelihoods"] == 4
    evidence._known.clear()
    for left, right in zip(before, evidence.foretold(Whose.dataset), strict=True):
        assert [text.size for text in left] == [text.size for text in right]
        assert all(map(np.array_equal, *[[t.log_prob for t in side] for side in (left, right)]))
    assert (keeper.made["likelihoods"], keeper.reused["likelihoods"]) == (4, 4)


def test_it_averages_no_averages_and_does_not_depend_on_the_split() -> None:
    # exp((1 + 2 + 3 + 6) / 4) a token, exp(12 / 8) a byte.
    records = _known([([-1.0], 2)], [([-2.0, -3.0], 3), ([-6.0], 3)])
    found = Perplexity(texts=[Whose.dataset]).compute(records)
    assert found == Perplexity(texts=[Whose.dataset]).compute(records[::-1])
    assert found["token_perplexity_dataset"] == pytest.approx(exp(3), rel=1e-15)
    assert found["byte_perplexity_dataset"] == pytest.approx(exp(1.5), rel=1e-15)


def _known(*texts: list[tuple[list[float], int]]) -> list[Record]:
    class Given(KnownEvidence):
        def foretold(self, source: Whose) -> list[tuple[Foretold, ...]]:
            return [tuple(Foretold(np.array(p), size) for p, size in each) for each in texts]

    evidence = Given([example(place) for place in range(len(texts))])
    return [*Perplexity(texts=[Whose.dataset]).measure(evidence).records.values()]


def test_what_is_impossible_has_no_finite_perplexity() -> None:
    found = Perplexity().compute([{"own": [1e6, 10, 10]}])
    assert found["token_perplexity_own"] == float("inf")
    assert found["bits_per_byte_own"] == pytest.approx(1e5 / log(2))
    assert "token_perplexity_dataset" not in found


def test_no_text_and_no_teacher_are_refused(evidence: ModelEvidence) -> None:
    with pytest.raises(ConfigError, match=r"metric.perplexity.texts=\[\] names no text"):
        Perplexity(texts=[])
    with pytest.raises(RunError, match="this run has none"):
        Perplexity(texts=[Whose.teacher]).measure(evidence)
