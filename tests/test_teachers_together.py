"""Teachers of several kinds together: a server that is cached, caches that are routed or mixed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CommandLine
from tests.served.stub import NAME, Stub

TOP = ("support=teacher_top_k", "support.k=6")
RUN = (
    *("train", "tracker=none", "steps=5", "loop.batch_size=8", "evaluation.every=0"),
    *("evaluation.test=0", "policy=off_policy"),
)
ONE = ("dataset.train=24",)
BOTH = (
    *("dataset=mixed", "+dataset@dataset.parts.market=arithmetic", "dataset.parts.market.train=16"),
    *("+dataset@dataset.parts.journey=journey", "dataset.parts.journey.train=16"),
)
ROUTE = ("teacher=several", "teacher.route.field=part")


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub().serving() as running:
        yield running


def losses(distillkit: CommandLine, name: str, *typed: str) -> list[float]:
    """Of a training's updates."""
    result = distillkit(*RUN, *typed, f"name={name}")
    assert result.code == 0, result.err
    lines = Path(f"outputs/train/{name}/metrics.jsonl").read_text().splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def test_a_server_is_asked_once_for_a_cache(stub: Stub, distillkit: CommandLine) -> None:
    served = (
        *("teacher=served", f"teacher.url={stub.url}", f"teacher.model={NAME}"),
        *("teacher.prompt=plain", "teacher.price=2"),
    )
    made = distillkit("cache", *ONE, *TOP, *served, "name=kept")
    assert made.code == 0, made.err
    manifest = json.loads(Path("outputs/cache/kept/summary.json").read_text())
    assert manifest["teacher"]["model"] == NAME
    assert manifest["engine"] == "vLLM 0.32.0"
    assert manifest["costs"]["price"] == pytest.approx(2e-6 * manifest["costs"]["tokens"])
    asked = len(stub.scored)
    assert asked == 24
    cached = ("teacher=cached", "teacher.path=outputs/cache/kept")
    found = losses(distillkit, "cached", *ONE, *TOP, *cached)
    live = losses(distillkit, "live", *ONE, *TOP)
    assert found == pytest.approx(live, rel=1e-5)
    assert len(stub.scored) == asked
    # What was paid for the cache is in the store of all runs, too.
    direct = losses(distillkit, "served", *ONE, *TOP, *served)
    assert direct == pytest.approx(live, rel=1e-5)
    assert len(stub.scored) == asked
    costs = json.loads(Path("outputs/train/served/summary.json").read_text())["teacher_costs"]
    assert costs["price"] == 0


def test_what_a_run_paid_for_is_in_its_summary(stub: Stub, distillkit: CommandLine) -> None:
    served = (
        *("teacher=served", f"teacher.url={stub.url}", f"teacher.model={NAME}"),
        *("teacher.prompt=plain", "teacher.price=3"),
    )
    losses(distillkit, "paid", *ONE, *TOP, *served)
    costs = json.loads(Path("outputs/train/paid/summary.json").read_text())["teacher_costs"]
    assert costs["tokens"] >= stub.positions > 0
    assert costs["price"] == pytest.approx(3e-6 * costs["tokens"])
    assert costs["bytes"] > 0


@pytest.mark.parametrize("kept", [TOP, ("support=full",)], ids=["top_k", "states"])
def test_caches_are_routed_as_their_teachers_are(
    kept: tuple[str, ...], distillkit: CommandLine
) -> None:
    """One member live, the other one cached: each reads its part, as both live ones do."""
    made = distillkit("cache", *BOTH, *kept, "name=kept")
    assert made.code == 0, made.err
    live = (
        *("+teacher@teacher.members.market=embedded", "+teacher@teacher.members.journey=embedded"),
    )
    cached = (
        *("+teacher@teacher.members.market=embedded", "+teacher@teacher.members.journey=cached"),
        "teacher.members.journey.path=outputs/cache/kept",
    )
    one = losses(distillkit, "live", *BOTH, *TOP, *ROUTE, *live)
    other = losses(distillkit, "cached", *BOTH, *TOP, *ROUTE, *cached)
    assert other == pytest.approx(one, rel=1e-5)
    wrong = (*cached[:-1], "teacher.members.journey.path=nowhere")
    refused = distillkit(*RUN, *BOTH, *TOP, *ROUTE, *wrong)
    assert refused.code == 2
    assert "nowhere is no folder" in refused.err


def test_cached_states_are_mixed_as_their_teachers_are(distillkit: CommandLine) -> None:
    made = distillkit("cache", *ONE, "support=full", "name=kept")
    assert made.code == 0, made.err
    weights = ("teacher=several", "+teacher.weights.one=1", "+teacher.weights.other=3")
    live = (
        *("+teacher@teacher.members.one=embedded", "+teacher@teacher.members.other=hf"),
        *("teacher.members.other.name=embedded:student", "teacher.members.other.prompt=plain"),
    )
    cached = (
        *("+teacher@teacher.members.one=cached", "teacher.members.one.path=outputs/cache/kept"),
        *live[1:],
    )
    one = losses(distillkit, "live", *ONE, *weights, *live)
    other = losses(distillkit, "cached", *ONE, *weights, *cached)
    assert other == pytest.approx(one, rel=1e-5)
