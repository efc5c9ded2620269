"""Calibration, on cases made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillkit.core.errors import ConfigError
from distillkit.metrics.calibration import Calibration, calibration_error, equal_mass, equal_width
from distillkit.metrics.evidence import Options, Whose
from tests.metrics.known import KnownEvidence, example, world


def tokens(*texts: tuple[list[float], list[float]]) -> list[dict]:
    return [{"token": [confidence, hits]} for confidence, hits in texts]


def test_bins_of_equal_width_are_closed_above() -> None:
    """0.5 lies in the lower half: gaps |0.75 - 1| and |1.75 - 2| over four tokens."""
    found = Calibration(bins=2).compute(tokens(([0.25, 0.5], [0, 1]), ([0.75, 1.0], [1, 1])))
    assert found["token_ece"] == 0.125


def test_the_bins_are_those_of_the_definition() -> None:
    edges = np.array([0.0, 0.2, 0.20001, 0.4, 0.999, 1.0])
    assert equal_width(edges, 5).tolist() == [0, 0, 1, 1, 4, 4]
    assert equal_width(edges, 1).tolist() == [0] * 6


def test_signs_do_not_cancel_between_bins_but_do_within_one() -> None:
    records = tokens(([0.2, 0.2, 0.9, 0.9], [1, 0, 1, 0]))
    # Under-confident by 0.6 below, over-confident by 0.8 above.
    assert Calibration(bins=2).compute(records)["token_ece"] == pytest.approx(1.4 / 4)
    assert Calibration(bins=1).compute(records)["token_ece"] == pytest.approx(0.2 / 4)


def test_a_calibrated_model_has_no_error() -> None:
    found = Calibration().compute(tokens(([0.75] * 4, [1, 1, 1, 0]), ([0.5] * 2, [1, 0])))
    assert found == {"token_ece": 0, "token_ece_equal_mass": 0}


@given(st.integers(1, 60), st.integers(1, 20))
def test_bins_of_equal_mass_differ_by_one_member_at_most(count: int, bins: int) -> None:
    places = equal_mass(np.linspace(0.1, 0.9, count)[::-1], bins)
    sizes = np.bincount(places, minlength=bins)
    assert len(sizes) == bins
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(places) <= 0).all()


def test_ties_share_a_bin_whatever_their_hits() -> None:
    confidence = np.array([0.5] * 4 + [0.9] * 2)
    assert equal_mass(confidence, 3).tolist() == [1] * 4 + [2] * 2
    assert equal_mass(np.array([0.9] + [0.5] * 5), 2).tolist() == [1] + [0] * 5
    hits = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    error = calibration_error(np.array([confidence, hits]), equal_mass(confidence, 3))
    assert error == pytest.approx(0.2 / 6)


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.3001, 0.7]), st.booleans()), min_size=1),
    st.randoms(),
)
def test_the_order_of_tied_tokens_changes_nothing(pairs, random) -> None:
    metric = Calibration(bins=4)
    shuffled = random.sample(pairs, len(pairs))
    found = [
        metric.compute([{"token": [[c], [float(h)]]} for c, h in each])
        for each in (pairs, shuffled)
    ]
    assert found[0] == found[1]


def test_options_are_judged_by_the_likeliest_one() -> None:
    choices = [Options((0.5, 0.3, 0.2), 0), Options((0.1, 0.8, 0.1), 2), None]
    evidence = KnownEvidence([example(n) for n in range(3)], choices=choices)
    metric = Calibration(bins=2)
    records = list(metric.measure(evidence).records.values())
    assert len(records) == 2
    # 0.5 in the lower half is right, 0.8 in the upper one is wrong.
    assert metric.compute(records) == {
        "option_ece": pytest.approx((0.5 + 0.8) / 2),
        "option_ece_equal_mass": pytest.approx((0.5 + 0.8) / 2),
        "option_accuracy": 0.5,
    }
    assert metric.curves(records) == {
        "options": {"confidence": [0.5, 0.8], "accuracy": [1, 0], "count": [1, 1]}
    }


def test_the_reliability_diagram_holds_the_bins_with_members() -> None:
    records = tokens(([0.05, 0.95, 0.85], [0, 1, 0]), ([0.99], [1]))
    (picture,) = Calibration(bins=5).curves(records).values()
    assert picture["confidence"] == pytest.approx([0.05, (0.95 + 0.85 + 0.99) / 3])
    assert picture["accuracy"] == pytest.approx([0, 2 / 3])
    assert picture["count"] == [1, 3]


def test_tokens_are_those_of_the_datasets_text() -> None:
    evidence = world(6)
    metric = Calibration(bins=1)
    found = metric.compute(list(metric.measure(evidence).records.values()))["token_ece"]
    texts = [text for texts in evidence.both[Whose.dataset] for text in texts]
    gap = np.concatenate([text.hit - text.confidence.astype(float) for text in texts]).mean()
    assert found == pytest.approx(abs(gap))


def test_bins_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"metric\.calibration\.bins must be at least 1, got 0"):
        Calibration(bins=0)
