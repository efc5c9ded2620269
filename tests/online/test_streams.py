"""Streams: the order of domains, the prompts of each, and who proposes for them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from distillkit.core.errors import ConfigError, DistillkitError
from distillkit.core.types import Split
from distillkit.datasets.arithmetic import Arithmetic, Domain
from distillkit.datasets.maze import Maze
from distillkit.online.requests import requests_of
from distillkit.online.routing import ALL, Nearest, route_of
from distillkit.online.settings import Routing
from distillkit.online.streams import FromFile, Mixed, SharpShift, Single, SmoothShift
from distillkit.online.tallies import ends, quantiles, rolling, tally

KNOWN = ["a", "b", "c"]


def test_a_sharp_shift_asks_one_domain_after_another() -> None:
    assert SharpShift(requests=2).domains(KNOWN, seed=0) == ["a", "a", "b", "b", "c", "c"]


def test_a_smooth_shift_fades_from_each_domain_into_the_next() -> None:
    order = SmoothShift(requests=6000).domains(KNOWN, seed=0)
    assert order == SmoothShift(requests=6000).domains(KNOWN, seed=0)
    assert order != SmoothShift(requests=6000).domains(KNOWN, seed=1)
    shares = [
        [order[start : start + 500].count(domain) / 500 for domain in KNOWN]
        for start in (0, 1250, 2750, 4250, 5500)
    ]
    expected = [[0.92, 0.08, 0], [0.5, 0.5, 0], [0.04, 0.92, 0.04], [0, 0.5, 0.5], [0, 0.08, 0.92]]
    assert np.array(shares) == pytest.approx(np.array(expected), abs=0.06)
    assert (order[0], order[-1]) == ("a", "c")


def test_a_mixture_keeps_its_shares() -> None:
    order = Mixed(requests=4000, shares=[1, 3, 0]).domains(KNOWN, seed=0)
    assert Counter(order)["b"] == pytest.approx(3000, abs=120)
    assert Counter(order)["c"] == 0
    assert len(set(Mixed(requests=100).domains(KNOWN, seed=0))) == 3


def test_a_file_gives_the_order_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "order.jsonl"
    file.write_text("".join(json.dumps({"domain": each}) + "\n" for each in "abba"))
    assert FromFile(path=str(file)).domains(KNOWN, seed=0) == ["a", "b", "b", "a"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"domain": "z"}\n', r"stream\.path=.*asks about 'z'.*\+dataset@domain\.z="),
        ("", "holds no request"),
        ("not json\n", "line 1 of"),
        ('{"kind": "a"}\n', "line 1 of"),
    ],
)
def test_a_file_that_is_no_stream_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "order.jsonl"
    file.write_text(content)
    with pytest.raises(DistillkitError, match=said):
        FromFile(path=str(file)).domains(KNOWN, seed=0)


def test_a_stream_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stream=single.*there are 3 \(a, b, c\)"):
        Single(requests=3).domains(KNOWN, seed=0)
    with pytest.raises(ConfigError, match=r"stream\.requests must be at least 1, got 0"):
        SharpShift(requests=0)
    with pytest.raises(ConfigError, match=r"stream\.requests must be at most"):
        SharpShift(requests=1 << 40)
    for shares in ([1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]):
        with pytest.raises(ConfigError, match=r"stream\.shares=.*3 domains \(a, b, c\)"):
            Mixed(requests=3, shares=shares).domains(KNOWN, seed=0)


def held() -> dict[str, list]:
    """Prompts of three domains of the embedded world."""
    datasets = {
        "market": Arithmetic(validation=40),
        "journey": Arithmetic(domain=Domain.journey, validation=40),
        "maze": Maze(validation=40),
    }
    return {name: [*each.examples(Split.validation)] for name, each in datasets.items()}


def test_every_request_asks_its_domains_next_prompt_and_tells_no_answer() -> None:
    prompts = {name: each[:2] for name, each in held().items()}
    requests = requests_of(["market", "maze", "market", "market"], prompts)
    asked = [request.example.id for request in requests]
    market = [example.id for example in prompts["market"]]
    assert asked == [market[0], prompts["maze"][0].id, market[1], market[0]]
    assert all(not request.example.reference for request in requests)


def test_words_tell_the_domain_of_a_prompt() -> None:
    prompts = held()
    nearest = Nearest({name: each[:20] for name, each in prompts.items()})
    found = [nearest(example) == name for name, each in prompts.items() for example in each[20:]]
    assert np.mean(found) > 0.95


def test_routes_name_a_draft() -> None:
    prompts = held()
    request = requests_of(["maze"], prompts)[0]
    for routing, names, chosen in (
        (Routing.none, [ALL], ALL),
        (Routing.domain, ["market", "journey", "maze"], "maze"),
        (Routing.classifier, ["market", "journey", "maze"], "maze"),
    ):
        found, route = route_of(routing, prompts)
        assert (found, route(request)) == (names, chosen)


def test_tallies_are_over_proposals_and_not_over_requests() -> None:
    rows = [
        {"overlap": 1.0, "accepted": 1, "verified": 2, "tokens": 3, "rounds": 2},
        {"overlap": 6.0, "accepted": 5, "verified": 8, "tokens": 9, "rounds": 4},
        {"overlap": 0.0, "accepted": 0, "verified": 0, "tokens": 1, "rounds": 1},
    ]
    assert tally(rows) == {"alpha": 0.7, "accepted": 0.6, "tokens_per_round": 13 / 7}
    assert tally(rows[2:]) == {}
    assert rolling(rows, 2) == pytest.approx([0.5, 0.7, 0.75])
    assert ends(rows) == (rows[:1], rows[2:])
    assert quantiles([]) == {}
    assert quantiles([1.0, 2.0, 3.0])["p50"] == 2.0
