"""Metrics of distributions, on tables of eighths whose every response has its exact share."""

from fractions import Fraction

import numpy as np
import pytest

from distillkit.core.errors import ConfigError
from distillkit.metrics.base import Metric
from distillkit.metrics.divergence import TokenDivergence
from distillkit.metrics.evidence import Whose
from distillkit.metrics.exposure_bias import ExposureBias
from distillkit.metrics.precision_recall import PrecisionRecall
from distillkit.metrics.speculation import Speculation, speed_up, tokens_per_round
from tests.metrics.known import KnownEvidence, alive, compare, exact_draws, example, world

FIRST, LONGEST = 1, 3
TABLES = {
    Whose.dataset: np.array([[6, 1, 1], [1, 4, 3], [2, 5, 1]]) / 8,
    Whose.teacher: np.array([[6, 1, 1], [1, 2, 5], [3, 3, 2]]) / 8,
    Whose.own: np.array([[6, 1, 1], [2, 5, 1], [4, 2, 2]]) / 8,
}
"""Rows are the token before, columns the next; the first is the end."""
P, Q = TABLES[Whose.teacher], TABLES[Whose.own]

PUBLISHED = {  # alpha: speed-up at c = .02, .05, .1 for k = 3, 5 and 7
    0.3: [[1.34, 1.23, 1.09], [1.30, 1.14, 0.95], [1.25, 1.06, 0.84]],
    0.5: [[1.77, 1.63, 1.44], [1.79, 1.57, 1.31], [1.75, 1.48, 1.17]],
    0.6: [[2.05, 1.89, 1.67], [2.17, 1.91, 1.59], [2.16, 1.82, 1.45]],
    0.7: [[2.39, 2.20, 1.95], [2.67, 2.35, 1.96], [2.76, 2.33, 1.85]],
    0.76: [[2.62, 2.41, 2.14], [3.06, 2.69, 2.24], [3.25, 2.74, 2.18]],
    0.8: [[2.78, 2.57, 2.27], [3.35, 2.95, 2.46], [3.65, 3.08, 2.45]],
    0.9: [[3.24, 2.99, 2.65], [4.26, 3.75, 3.12], [5.00, 4.22, 3.35]],
}


def exact(tables: dict[Whose, np.ndarray] = TABLES) -> KnownEvidence:
    """512 examples, over which each side's responses have their exact shares."""
    teacher, own = tables[Whose.teacher], tables[Whose.own]
    both = {
        source: [
            [compare(teacher, own, FIRST, tokens)]
            for tokens in exact_draws(table, FIRST, longest=LONGEST)
        ]
        for source, table in tables.items()
    }
    return KnownEvidence([example(n) for n in range(8**LONGEST)], both=both)


def numbers(metric: Metric, evidence: KnownEvidence) -> dict[str, float]:
    return metric.compute(list(metric.measure(evidence).records.values()))


def mean(source: Whose, values: np.ndarray) -> float:
    """Expected mean over tokens on a side's text, of what depends on the token before [V]."""
    reached = alive(TABLES[source], FIRST, longest=LONGEST)
    return (reached @ values).sum() / reached.sum()


def kl(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left * np.log(left / right)).sum(-1)


def test_the_exact_draws_have_the_shares_of_the_recursion() -> None:
    for table in TABLES.values():
        draws = exact_draws(table, FIRST, longest=LONGEST)
        assert len(draws) == 8**LONGEST
        shares = [sum(len(tokens) > t for tokens in draws) / len(draws) for t in range(LONGEST)]
        assert shares == alive(table, FIRST, longest=LONGEST).sum(-1).tolist()


def test_divergences_are_means_over_the_tokens_of_each_sides_text() -> None:
    found = numbers(TokenDivergence(), exact())
    for source in Whose:
        overlap = np.minimum(P, Q).sum(-1)
        assert found[f"forward_kl_{source}"] == pytest.approx(mean(source, kl(P, Q)), rel=1e-12)
        assert found[f"reverse_kl_{source}"] == pytest.approx(mean(source, kl(Q, P)), rel=1e-12)
        assert found[f"overlap_{source}"] == pytest.approx(mean(source, overlap), rel=1e-12)
        # The likeliest tokens are 0 2 0 of the teacher and 0 1 0 of the model.
        top1 = mean(source, np.array([1.0, 0, 1]))
        assert found[f"top1_{source}"] == pytest.approx(top1, rel=1e-12)
        assert found[f"top5_{source}"] == 1
    assert found["forward_kl_own"] != pytest.approx(found["forward_kl_teacher"])
    assert found["forward_kl_own"] != pytest.approx(found["reverse_kl_own"])


def test_top5_counts_common_tokens_whatever_their_order() -> None:
    evidence = world(30)
    values = [text.top5 for texts in evidence.both[Whose.teacher] for text in texts]
    expected = float(np.concatenate(values).mean())
    found = numbers(TokenDivergence(), evidence)["top5_teacher"]
    assert 0.2 < found < 1
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_dataset_without_references_gives_no_divergence_on_its_text() -> None:
    evidence = exact()
    del evidence.both[Whose.dataset]
    found = numbers(TokenDivergence(), evidence)
    assert {name.rsplit("_", 1)[1] for name in found} == {"teacher", "own"}


def test_precision_and_recall_are_cross_entropies_of_the_exact_draws() -> None:
    found = numbers(PrecisionRecall(), exact())
    truth = TABLES[Whose.dataset]
    precision = mean(Whose.own, (Q * np.log(P)).sum(-1))
    recall = mean(Whose.dataset, (truth * np.log(Q)).sum(-1))
    assert found == pytest.approx(
        {
            "precision": precision,
            "recall": recall,
            "teacher_entropy": mean(Whose.own, -(P * np.log(P)).sum(-1)),
            "own_entropy": mean(Whose.own, -(Q * np.log(Q)).sum(-1)),
            "precision_perplexity": np.exp(-precision),
            "recall_perplexity": np.exp(-recall),
        },
        rel=1e-12,
    )


def test_precision_falls_short_of_the_models_own_entropy_by_the_reverse_divergence() -> None:
    """E[log p] = -H(q) - KL(q || p) at every prefix of the model's own."""
    found = numbers(PrecisionRecall(), exact())
    reverse = numbers(TokenDivergence(), exact())["reverse_kl_own"]
    assert found["precision"] == pytest.approx(-found["own_entropy"] - reverse, rel=1e-12)


def bias(lengths: list[int], *, least: int = 1) -> ExposureBias:
    return ExposureBias(lengths=lengths, least=least)


def by_definition() -> tuple[np.ndarray, np.ndarray]:
    """R(l) and l * epsilon(l) by recursion, of prefixes still alive."""
    costs = []
    for side in (Whose.own, Whose.teacher):
        reached = alive(TABLES[side], FIRST, longest=LONGEST)
        costs.append(np.cumsum(reached @ kl(P, Q) / reached.sum(-1)))
    return costs[0], costs[1]


def test_exposure_bias_is_that_of_the_definition_at_every_length() -> None:
    regret, baseline = by_definition()
    lengths = list(range(1, LONGEST + 1))
    found = numbers(bias(lengths), exact())
    for length, r, b in zip(lengths, regret, baseline, strict=True):
        assert found[f"regret_{length}"] == pytest.approx(r, rel=1e-12)
        assert found[f"epsilon_{length}"] == pytest.approx(b / length, rel=1e-12)
        assert found[f"ex_acc_err_{length}"] == pytest.approx(100 * (r - b) / b, abs=1e-9)
    assert found["ex_acc_err_3"] > 5


def test_the_first_token_of_the_response_is_position_one() -> None:
    """Both sides start from the prompt, so the error is nothing but not undefined."""
    found = numbers(bias([1]), exact())
    assert found["regret_1"] == pytest.approx(kl(P, Q)[FIRST], rel=1e-12)
    assert found["ex_acc_err_1"] == pytest.approx(0, abs=1e-9)


def test_the_curve_holds_every_length_and_the_numbers_lie_on_it() -> None:
    metric = bias([2])
    records = list(metric.measure(exact()).records.values())
    curve, found = metric.curves(records)["exposure_bias"], metric.compute(records)
    regret, baseline = by_definition()
    assert curve["length"] == [1, 2, 3]
    assert curve["R"] == pytest.approx(regret)
    assert curve["l_epsilon"] == pytest.approx(baseline)
    assert (curve["R"][1], curve["ex_acc_err"][1]) == (found["regret_2"], found["ex_acc_err_2"])


def test_positions_that_too_few_samples_of_either_side_reach_are_not_reported() -> None:
    reached = {
        side: 8**LONGEST * alive(TABLES[side], FIRST, longest=LONGEST).sum(-1)
        for side in (Whose.own, Whose.teacher)
    }
    fewer = np.minimum(reached[Whose.own], reached[Whose.teacher])
    assert reached[Whose.own][2] != reached[Whose.teacher][2]
    for least, last in ((int(fewer[2]), 3), (int(fewer[2]) + 1, 2)):
        metric = bias([1, 2, 3, 50], least=least)
        records = list(metric.measure(exact()).records.values())
        assert metric.curves(records)["exposure_bias"]["length"][-1] == last
        assert f"regret_{last}" in metric.compute(records)
        assert f"regret_{last + 1}" not in metric.compute(records)


def test_a_model_that_is_its_teacher_has_no_exposure_bias_to_speak_of() -> None:
    same = exact({**TABLES, Whose.own: P})
    assert numbers(bias([1, 3]), same) == {}


def test_alpha_is_the_overlap_on_the_teachers_text() -> None:
    found = numbers(Speculation(k=[3], c=[0.05]), exact())
    alpha = mean(Whose.teacher, np.minimum(P, Q).sum(-1))
    assert found["alpha"] == pytest.approx(alpha, rel=1e-12)
    assert found["tokens_per_round_k3"] == pytest.approx((1 - alpha**4) / (1 - alpha))
    assert found["speed_up_k3_c0.05"] == pytest.approx(found["tokens_per_round_k3"] / 1.15)


def test_a_round_writes_what_enumerating_its_acceptances_gives() -> None:
    alpha, k = Fraction(3, 7), 4
    accepted = [alpha**n * (1 - alpha) for n in range(k)] + [alpha**k]
    expected = sum((n + 1) * chance for n, chance in enumerate(accepted))
    assert tokens_per_round(float(alpha), k) == pytest.approx(float(expected))


@pytest.mark.parametrize("alpha", PUBLISHED)
def test_speed_ups_are_those_of_the_table(alpha: float) -> None:
    for k, row in zip((3, 5, 7), PUBLISHED[alpha], strict=True):
        for cost, expected in zip((0.02, 0.05, 0.1), row, strict=True):
            assert speed_up(alpha, k, cost=cost) == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize(("cost", "best"), [(0.01, 7), (0.02, 6), (0.05, 4), (0.1, 3)])
def test_the_best_k_at_alpha_0_6_is_that_of_the_authors_cost_model(cost: float, best: int) -> None:
    assert max(range(1, 40), key=lambda k: speed_up(0.6, k, cost=cost)) == best


def test_a_draft_that_is_never_refused_writes_k_plus_one_tokens() -> None:
    assert tokens_per_round(1.0, 5) == 6
    assert tokens_per_round(1 - 1e-12, 5) == pytest.approx(6)
    assert numbers(Speculation(k=[5]), exact({**TABLES, Whose.own: P}))["alpha"] == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Speculation(k=[0]), r"metric\.speculation\.k"),
        (lambda: Speculation(c=[-0.1]), r"metric\.speculation\.c"),
        (lambda: ExposureBias(lengths=[]), r"metric\.exposure_bias\.lengths"),
        (lambda: ExposureBias(least=0), r"metric\.exposure_bias\.least"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
