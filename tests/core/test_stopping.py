"""Signals that ask to stop are noted, handed on, or end at once what has nothing to save."""

import os
import signal
import threading

import pytest

from distillkit.core.errors import Interrupted
from distillkit.core.stopping import STOPS, stoppable, stopping


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOPS, ids=lambda number: signal.Signals(number).name)
def test_each_is_noted_where_work_can_be_saved(number: int) -> None:
    before = signal.getsignal(number)
    with stopping() as stop:
        stop.poll()
        send(number)
        assert stop.signal == number
        with pytest.raises(Interrupted) as interrupted:
            stop.poll()
    assert interrupted.value.signal == number
    assert signal.getsignal(number) is before


def test_schedulers_and_lost_terminals_are_among_them() -> None:
    assert {signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM, signal.SIGINT} <= set(STOPS)


def test_further_ones_do_not_end_what_is_being_saved() -> None:
    with stopping() as stop:
        for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP):
            send(number)
    assert stop.signal == signal.SIGUSR1


def test_a_second_ctrl_c_is_impatience() -> None:
    with stopping():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_what_is_ignored_from_the_start_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(), stopping() as stop:
            send(signal.SIGHUP)
        assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_request_that_came_too_late_inside_reaches_the_work_around() -> None:
    with stopping() as outer:
        with stopping() as inner:
            send(signal.SIGUSR1)
        assert inner.signal == outer.signal == signal.SIGUSR1


def test_a_request_that_came_too_late_for_all_is_let_go() -> None:
    with stoppable(), stopping():
        send(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_what_has_nothing_to_save_ends_at_once(number: int) -> None:
    with pytest.raises(Interrupted) as interrupted, stoppable():
        send(number)
    assert interrupted.value.signal == number
    # No handler of errors, such as one around a stranger's code, swallows it.
    assert not issubclass(Interrupted, Exception)


def test_one_hears_of_it_at_once() -> None:
    heard = []
    with stopping(lambda: heard.append(1)):
        send(signal.SIGUSR2)
        send(signal.SIGUSR2)
        assert heard == [1]


def test_threads_that_may_set_no_handler_work_without() -> None:
    failed = []

    def work() -> None:
        try:
            with stoppable(), stopping():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
