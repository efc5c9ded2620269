"""Metrics of texts, against their libraries and against enumeration."""

from itertools import combinations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from distillkit.core.errors import ConfigError
from distillkit.core.types import Answer
from distillkit.evaluation.results import summarise
from distillkit.metrics.accuracy import Accuracy
from distillkit.metrics.agreement import Agreement
from distillkit.metrics.base import Metric
from distillkit.metrics.bleu import Bleu, bleu_counts, chrf_counts
from distillkit.metrics.diversity import Diversity
from distillkit.metrics.evidence import Whose
from distillkit.metrics.length import Length
from distillkit.metrics.pass_at_k import PassAtK, pass_at
from distillkit.metrics.rouge import Rouge, rouge_l
from distillkit.metrics.similarity import Similarity
from tests.metrics.known import KnownEvidence, example, said, world

SENTENCES = (
    "The cats were running quickly through the old garden, and then they slept.",
    "A cat ran quickly through the garden; it slept there.",
    "So 3 + 4 = 7, and 7 * 2 = 14.\n#### 14",
    "Nothing alike at all",
    "cats",
    "",
)


def numbers(metric: Metric, evidence: KnownEvidence) -> dict[str, float]:
    return metric.compute(list(metric.measure(evidence).records.values()))


def writing(own: list[Answer], teacher: list[Answer] = (), *, reference: str = "") -> KnownEvidence:
    examples = [example(place, reference) for place in range(len(own))]
    return KnownEvidence(
        examples,
        {Whose.own: own, Whose.teacher: list(teacher)},
        {Whose.own: [[text] for text in own]},
    )


def test_accuracy_is_over_known_answers_and_parsing_over_all() -> None:
    texts = [
        said("", answer="1", correct=True),
        said("", answer="2", correct=False),
        said("", answer=None, correct=False),
        said("", answer="4"),
        said(""),
    ]
    found = numbers(Accuracy(), writing(texts))
    assert found == {"accuracy": 1 / 3, "parse_rate": 3 / 5}


def test_no_known_answer_means_no_accuracy() -> None:
    assert numbers(Accuracy(), writing([said("x")])) == {"parse_rate": 0}


def test_the_end_token_counts_in_the_length_and_a_cut_text_has_none() -> None:
    texts = [Answer(example(0), "", (5, 6, 0), False), Answer(example(1), "", (5, 6), True)]
    found = numbers(Length(), writing(texts))
    assert found == {"response_tokens": 2.5, "truncated_share": 0.5}


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
def test_pass_at_k_is_the_share_of_choices_with_a_right_sample(
    verdicts: list[bool], k: int
) -> None:
    k = min(k, len(verdicts))
    choices = [any(chosen) for chosen in combinations(verdicts, k)]
    assert pass_at(k, len(verdicts), right=sum(verdicts)) == sum(choices) / len(choices)


def test_pass_at_k_is_a_mean_over_judged_examples_and_leaves_out_a_k_above_the_samples() -> None:
    samples = [
        [said("", correct=verdict) for verdict in verdicts]
        for verdicts in ([True, False, False], [False] * 3, [None] * 3)
    ]
    evidence = KnownEvidence([example(n) for n in range(3)], sampled={Whose.own: samples})
    found = numbers(PassAtK(k=[1, 2, 4]), evidence)
    assert found == {"pass_at_1": pytest.approx(1 / 6), "pass_at_2": pytest.approx(1 / 3)}


@pytest.mark.parametrize("k", [[], [0, 1]])
def test_a_k_that_makes_no_sense_is_refused(k: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"metric\.pass_at_k\.k must list"):
        PassAtK(k=k)


def test_rouge_is_the_librarys_stemmed_f1_of_samples_and_of_greedy_texts() -> None:
    reference = SENTENCES[0]
    library = RougeScorer(["rougeL"], use_stemmer=True)
    scores = [100 * library.score(reference, text)["rougeL"].fmeasure for text in SENTENCES]
    assert 0 < scores[1] < 100  # the cases differ from the trivial ones
    evidence = KnownEvidence(
        [example("a", reference), example("none known")],
        {Whose.own: [said(SENTENCES[1]), said("x")]},
        {Whose.own: [[said(text) for text in SENTENCES], [said("x")]]},
    )
    assert numbers(Rouge(), evidence) == {
        "rouge_l": pytest.approx(sum(scores) / len(scores)),
        "rouge_l_greedy": pytest.approx(scores[1]),
    }


def test_the_best_of_several_references_counts() -> None:
    score = rouge_l()
    several = [score([reference], SENTENCES[1]) for reference in SENTENCES[:4]]
    assert score(SENTENCES[:4], SENTENCES[1]) == max(several)


@pytest.mark.parametrize("texts", [SENTENCES, SENTENCES[1:2], ("slept there",), SENTENCES[3:]])
def test_bleu_and_chrf_are_the_librarys_on_the_whole_corpus(texts: tuple[str, ...]) -> None:
    """Short corpora without a 4-gram in common need the smoothing."""
    references = ["The cat ran through the garden, and slept there. 14"] * len(texts)
    evidence = writing(list(map(said, texts)), reference=references[0])
    assert numbers(Bleu(), evidence) == {
        "bleu": sacrebleu.corpus_bleu(texts, [references]).score,
        "chrf": sacrebleu.corpus_chrf(texts, [references]).score,
    }


def test_counts_of_bleu_and_chrf_take_several_references() -> None:
    known = SENTENCES[1:4]
    metric, text = Bleu(), SENTENCES[0]
    found = metric.compute([{"bleu": bleu_counts(text, known), "chrf": chrf_counts(text, known)}])
    streams = [[one] for one in known]
    assert found == {
        "bleu": sacrebleu.corpus_bleu([text], streams).score,
        "chrf": sacrebleu.corpus_chrf([text], streams).score,
    }


def test_without_references_there_is_no_bleu_or_rouge() -> None:
    evidence = writing([said("x y z")])
    assert numbers(Bleu(), evidence) == numbers(Rouge(), evidence) == {}


def test_agreement_is_split_by_whether_the_teacher_is_right() -> None:
    answers = [  # the example's is 1: own, teacher
        ("1", "1"),
        ("2", "1"),
        (None, "1"),
        ("2", "2"),
        ("1", "2"),
        (None, None),
        ("3", None),
    ]
    own, teacher = (
        [said("", answer=pair[side], correct=pair[side] == "1") for pair in answers]
        for side in (0, 1)
    )
    unjudged = said("", answer="5")
    found = numbers(Agreement(), writing([*own, unjudged], [*teacher, unjudged]))
    assert found == {
        "agreement": 2 / 7,
        "agreement_teacher_right": 1 / 3,
        "agreement_teacher_wrong": 1 / 4,
    }


def test_similarity_is_the_mean_of_the_librarys_sentence_scores_with_the_teacher_as_reference() -> (
    None
):
    own, teacher = SENTENCES, SENTENCES[1:] + SENTENCES[:1]
    found = numbers(Similarity(), writing(list(map(said, own)), list(map(said, teacher))))
    pairs = list(zip(own, teacher, strict=True))
    bleu = [sacrebleu.sentence_bleu(mine, [theirs]).score for mine, theirs in pairs]
    library = RougeScorer(["rougeL"], use_stemmer=True)
    rouge = [100 * library.score(theirs, mine)["rougeL"].fmeasure for mine, theirs in pairs]
    assert found["bleu_to_teacher"] == pytest.approx(sum(bleu) / len(bleu))
    assert found["rouge_l_to_teacher"] == pytest.approx(sum(rouge) / len(rouge))
    backwards = [sacrebleu.sentence_bleu(theirs, [mine]).score for mine, theirs in pairs]
    assert sum(bleu) != pytest.approx(sum(backwards))


def test_a_model_that_writes_as_its_teacher_is_wholly_similar() -> None:
    texts = [said(text) for text in SENTENCES if text]
    found = numbers(Similarity(), writing(texts, texts))
    assert list(found.values()) == pytest.approx([100, 100])


def sampling(*prompts: list[str]) -> KnownEvidence:
    samples = [[said(text) for text in texts] for texts in prompts]
    return KnownEvidence([example(n) for n in range(len(prompts))], sampled={Whose.own: samples})


def test_distinct_n_is_over_all_samples_together() -> None:
    found = numbers(Diversity(), sampling(["a b a b", "a b"], ["c"]))
    # 7 words of 3 kinds; 4 bigrams ab ba ab | ab; trigrams aba bab; one 4-gram.
    expected = {"distinct_1": 3 / 7, "distinct_2": 2 / 4, "distinct_3": 1, "distinct_4": 1}
    assert {name: found[name] for name in expected} == expected


def test_self_bleu_is_each_sample_against_the_others_of_its_prompt() -> None:
    first, second = list(SENTENCES[:3]), list(SENTENCES[2:4])
    scores = [
        sacrebleu.sentence_bleu(texts[place], texts[:place] + texts[place + 1 :]).score
        for texts in (first, second)
        for place in range(len(texts))
    ]
    found = numbers(Diversity(), sampling(first, second))
    assert 0 < found["self_bleu"] < 100
    assert found["self_bleu"] == pytest.approx(sum(scores) / len(scores))


def test_self_bleu_is_100_for_a_deterministic_model_even_a_silent_one() -> None:
    found = numbers(Diversity(), sampling(["a b c d e"] * 3, ["x"] * 3, [""] * 3))
    assert found["self_bleu"] == 100


def test_a_draw_changes_diversity_by_what_the_absence_of_each_example_would() -> None:
    evidence = sampling(list(SENTENCES[:3]), list(SENTENCES[2:5]), list(SENTENCES[:2]))
    metric = Diversity()
    records = list(metric.measure(evidence).records.values())
    same, changed = metric.redrawn(records, np.array([[1, 1, 1], [2, 0, 1]]))
    whole = metric.compute(records)
    assert same == pytest.approx(whole)
    without = [metric.compute([*records[:n], *records[n + 1 :]]) for n in range(3)]
    for name, value in whole.items():
        expected = value + 2 / 3 * (without[1][name] - without[0][name])
        assert changed[name] == pytest.approx(expected)


def test_the_intervals_of_diversity_hold_the_numbers() -> None:
    metrics = {"diversity": Diversity()}
    tallies = {
        who: {"diversity": Diversity().measure(world(12, seed=seed))}
        for seed, who in enumerate(("student", "start"))
    }
    found = summarise(metrics, tallies, selection="last", seed=0)
    for number in found["numbers"]["student"]["diversity"].values():
        assert number["low"] < number["value"] < number["high"]


def test_one_sample_of_a_prompt_has_no_self_bleu() -> None:
    metric, evidence = Diversity(), sampling(["a b"], ["c d"])
    records = list(metric.measure(evidence).records.values())
    assert "self_bleu" not in metric.compute(records)
    (drawn,) = metric.redrawn(records, np.array([[1, 1]]))
    assert "self_bleu" not in drawn


def test_more_samples_alike_mean_less_diversity() -> None:
    evidence = world(20)
    alike = world(20)
    alike.sampled[Whose.own] = [[texts[0]] * 4 for texts in alike.sampled[Whose.own]]
    less, more = numbers(Diversity(), alike), numbers(Diversity(), evidence)
    assert less["distinct_4"] < more["distinct_4"]
    assert less["self_bleu"] > more["self_bleu"]
