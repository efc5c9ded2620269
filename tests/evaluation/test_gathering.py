"""Evidence is made once, kept at once, never mixed between models, and the same in any shards."""

import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from distillkit.core.errors import Interrupted, ModelError
from distillkit.core.keeper import Keeper
from distillkit.core.store import Store
from distillkit.core.types import Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.datasets.commonsenseqa import CommonsenseQa
from distillkit.evaluation.gathering import ModelEvidence
from distillkit.evaluation.parts import Decoding, Judged, Measured
from distillkit.metrics.evidence import Whose
from distillkit.models.loading import load
from distillkit.models.pretrained import Student, Teacher

from ..tiny import CPU, build, example

DATASET = Arithmetic(test=14)
EXAMPLES = DATASET.examples(Split.test)
DECODING = Decoding(max_new_tokens=12, samples=2, seed=0, batch_size=8)


@pytest.fixture(scope="module")
def pair() -> dict[str, Measured]:
    return {
        side: Measured(load(source(name=f"embedded:{side}"), device=CPU, precision="fp32"), side)
        for side, source in (("teacher", Teacher), ("student", Student))
    }


def keeper_of(path: Path, **more) -> Keeper:
    told = {"poll": lambda: None, "progress": lambda *_: None, "say": print, **more}
    return Keeper(Store(path), batch_size=DECODING.batch_size, **told)


def evidence(pair, keeper: Keeper, examples=EXAMPLES, **changes) -> ModelEvidence:
    about = {
        "subject": pair["student"],
        "teacher": pair["teacher"],
        "judged": Judged(DATASET, examples),
        "decoding": DECODING,
        **changes,
    }
    return ModelEvidence("student", about.pop("subject"), keeper=keeper, **about)


@pytest.fixture(scope="module")
def whole(pair, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """A store of all evidence of the pair, to be copied, and that evidence."""
    store = tmp_path_factory.mktemp("whole") / "kept"
    return store, everything(evidence(pair, keeper_of(store)))


def everything(found: ModelEvidence) -> list:
    texts = [found.greedy(source) for source in (Whose.own, Whose.teacher)]
    drawn = [found.samples(source) for source in (Whose.own, Whose.teacher)]
    scores = [found.compared(source) for source in Whose]
    return [*texts, *drawn, *scores]


def test_what_was_made_once_is_reused_by_others_and_by_later_calls(pair, tmp_path: Path) -> None:
    first = keeper_of(tmp_path / "kept")
    before = everything(evidence(pair, first))
    assert first.made["texts"] == 14 * 3 * 2
    # A text that was drawn twice is compared once, whoever drew it.
    assert 14 < first.made["comparisons"] < 14 * 5
    assert not first.reused["texts"]
    later = keeper_of(tmp_path / "kept")
    after = everything(evidence(pair, later))
    assert not +later.made
    assert later.reused["texts"] == first.made["texts"]
    assert before[:4] == after[:4]
    for left, right in zip(chain(*chain(*before[4:])), chain(*chain(*after[4:])), strict=True):
        assert np.array_equal(left.forward_kl, right.forward_kl)


def test_within_one_evidence_nothing_is_asked_for_twice(pair, tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "kept")
    found = evidence(pair, keeper)
    assert found.greedy(Whose.own) is found.greedy(Whose.own)
    assert found.compared(Whose.own) is found.compared(Whose.own)
    assert not +keeper.reused


@pytest.mark.parametrize("shards", [2, 7])
def test_shards_have_the_texts_and_scores_of_the_whole(
    shards: int, pair, whole: tuple[Path, list], tmp_path: Path
) -> None:
    size = len(EXAMPLES) // shards
    parts = [
        everything(evidence(pair, keeper_of(tmp_path / str(start)), EXAMPLES[start : start + size]))
        for start in range(0, len(EXAMPLES), size)
    ]
    for place, expected in enumerate(whole[1]):
        joined = list(chain.from_iterable(part[place] for part in parts))
        if place < 4:
            assert joined == list(expected)
        else:
            for left, right in zip(chain(*joined), chain(*expected), strict=True):
                np.testing.assert_allclose(left.forward_kl, right.forward_kl, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"subject": Measured(build(), "other")},
        {"teacher": Measured(build(), "other")},
        {"decoding": replace(DECODING, max_new_tokens=9)},
        {"decoding": replace(DECODING, seed=1)},
    ],
    ids=["another student", "another teacher", "another length", "other draws"],
)
def test_evidence_of_something_else_is_not_taken(
    change: dict, pair, whole: tuple[Path, list], tmp_path: Path
) -> None:
    shared = keeper_of(shutil.copytree(whole[0].parent, tmp_path / "copy") / "kept")
    found = everything(evidence(pair, shared, **change))
    alone = everything(evidence(pair, keeper_of(tmp_path / "alone"), **change))
    assert shared.made["comparisons"]
    assert found[:4] == alone[:4]
    for left, right in zip(chain(*chain(*found[4:])), chain(*chain(*alone[4:])), strict=True):
        np.testing.assert_allclose(left.forward_kl, right.forward_kl, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(left.log_prob, right.log_prob, rtol=1e-3, atol=1e-5)


def test_every_example_and_every_sample_has_draws_of_its_own(pair, tmp_path: Path) -> None:
    first = EXAMPLES[0]
    judged = Judged(DATASET, [first, replace(first, id="the same again")])
    many = replace(DECODING, samples=24)
    found = evidence(pair, keeper_of(tmp_path / "kept"), judged=judged, decoding=many)
    one, other = ([text.tokens for text in texts] for texts in found.samples(Whose.own))
    assert one != other
    assert len(set(one)) > 1


def test_a_stop_keeps_the_batches_before_it(pair, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done >= 8:
            raise Interrupted(what, signal=2)

    with pytest.raises(Interrupted):
        evidence(pair, keeper_of(tmp_path / "kept", progress=stop)).greedy(Whose.own)
    later = keeper_of(tmp_path / "kept")
    resumed = evidence(pair, later).greedy(Whose.own)
    assert (later.reused["texts"], later.made["texts"]) == (8, 6)
    assert resumed == evidence(pair, keeper_of(tmp_path / "whole")).greedy(Whose.own)


def test_texts_are_judged_by_the_dataset(pair, tmp_path: Path) -> None:
    teacher = evidence(
        pair, keeper_of(tmp_path / "kept"), decoding=replace(DECODING, max_new_tokens=64)
    )
    for each, text in zip(EXAMPLES, teacher.greedy(Whose.teacher), strict=True):
        assert text.stated == DATASET.extract(text.text)
        assert text.correct == DATASET.is_correct(each, text.text)
    assert sum(text.correct for text in teacher.greedy(Whose.teacher)) > 10


def test_the_teacher_as_its_own_student_writes_nothing_twice(pair, tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "kept")
    found = evidence(pair, keeper, subject=pair["teacher"])
    assert found.samples(Whose.own) is found.samples(Whose.teacher)
    assert not found.compared(Whose.own)[0][0].forward_kl.any()


def test_a_reference_is_closed_and_an_example_without_one_has_no_comparison(
    pair, tmp_path: Path
) -> None:
    judged = Judged(DATASET, [example("2 + 2?", "4", name="a"), example("3 + 3?", name="b")])
    found = evidence(pair, keeper_of(tmp_path / "kept"), judged=judged)
    (known,), unknown = found.compared(Whose.dataset)
    prompts = pair["student"].model.prompts
    assert len(known.log_prob) == len(prompts.reference_ids(judged.examples[0])) + 1
    assert list(unknown) == []


def test_options_share_their_probability_and_know_the_right_one(pair, tmp_path: Path) -> None:
    choices = tuple(f"The answer is ({letter})." for letter in "ABC")
    asked = example("2 + 2?\n(A) 3\n(B) 4\n(C) 5", name="a")
    judged = Judged(CommonsenseQa(), [replace(asked, answer="B", options=choices), asked])
    found = evidence(pair, keeper_of(tmp_path / "kept"), judged=judged)
    options, none = found.options()
    assert none is None
    assert options.right == 1
    assert sum(options.probabilities) == pytest.approx(1)
    assert len(options.probabilities) == 3


def test_a_reference_model_of_its_own_judges_the_samples(pair, tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "kept")
    plain = evidence(pair, keeper)
    own = plain.compared(Whose.own)
    for judged, texts in zip(plain.reference_log_probs(), own, strict=True):
        for found, text in zip(judged, texts, strict=True):
            assert np.array_equal(found, text.teacher_log_prob)
    named = evidence(pair, keeper, reference=pair["student"])
    for judged, texts in zip(named.reference_log_probs(), own, strict=True):
        for found, text in zip(judged, texts, strict=True):
            np.testing.assert_allclose(found, text.log_prob, rtol=1e-4, atol=1e-6)


def test_texts_are_embedded_as_the_mean_of_their_states(pair, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    tokenizer = pair["student"].model.tokenizer
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    module = BertModel(BertConfig(vocab_size=len(tokenizer), intermediate_size=16, **shape)).eval()
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    keeper = keeper_of(tmp_path / "kept")
    texts = ["Tom has 12 apples.", "He buys 30 more apples.", "Tom has 12 apples."]
    vectors = evidence(pair, keeper).embeddings(str(folder), texts)
    for text, vector in zip(texts, vectors, strict=True):
        with torch.inference_mode():
            states = module(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.mean(0)
        np.testing.assert_allclose(vector, mean / mean.norm(), rtol=1e-3, atol=1e-5)
    assert keeper.made["embeddings"] == 2
    later = keeper_of(tmp_path / "kept")
    evidence(pair, later).embeddings(str(folder), texts)
    assert not later.made["embeddings"]
    with pytest.raises(ModelError, match="metric.similarity.encoder=.*nowhere"):
        evidence(pair, keeper).embeddings(str(tmp_path / "nowhere"), texts)
