"""Stopping: what counts as a gain, patience, and which student is returned."""

from math import sqrt

import pytest

from distillkit.evaluation.convergence import decide, gain_needed

ENDLESS = {"items": 400, "iterations": 100, "patience": 1}


def test_a_gain_is_more_than_one_binomial_standard_error_of_the_best():
    one_error = sqrt(0.5 * 0.5 / 400)
    assert gain_needed(0.5, 400) == one_error == 0.025
    assert decide([0.5, 0.525], **ENDLESS).stop is not None
    assert decide([0.5, 0.5251], **ENDLESS).stop is None


def test_half_a_point_is_the_least_gain_however_many_items_there_are():
    assert gain_needed(0.5, 10**9) == 0.005
    assert decide([0.5, 0.505], **{**ENDLESS, "items": 10**9}).stop is not None


@pytest.mark.parametrize(("gained", "stops"), [(0.05, False), (0.04, True)])
def test_a_gain_asked_for_takes_the_place_of_the_error(gained, stops):
    found = decide([0.5, 0.5 + gained], **ENDLESS, min_gain=0.045)
    assert (found.stop is not None) == stops


def test_patience_counts_iterations_without_a_gain_in_a_row():
    patient = {**ENDLESS, "patience": 2}
    assert decide([0.5, 0.4], **patient).stop is None
    assert decide([0.5, 0.4, 0.6], **patient).stop is None
    assert decide([0.5, 0.4, 0.6, 0.6], **patient).stop is None
    assert "2 iterations" in str(decide([0.5, 0.4, 0.6, 0.6, 0.5], **patient).stop)


def test_the_best_is_returned_even_where_its_gain_was_too_small_to_go_on():
    found = decide([0.5, 0.51], **ENDLESS)
    assert (found.best, found.stop is not None) == (1, True)


def test_of_equals_the_earliest_is_returned():
    assert decide([0.5, 0.7, 0.7], **ENDLESS).best == 1


def test_it_ends_after_so_many_rewritings():
    few = {**ENDLESS, "iterations": 2}
    assert decide([0.1, 0.5], **few).stop is None
    assert "iterations=2" in str(decide([0.1, 0.5, 0.9], **few).stop)


def test_a_student_without_errors_leaves_nothing_to_write_for():
    assert "no error" in str(decide([1.0], **ENDLESS).stop)
