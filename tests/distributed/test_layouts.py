"""Two and four processes take the step that one takes, whoever holds what: the real command line.

A gradient is read from the first moment that an update leaves in its checkpoint.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Start
from tests.distributed.ranks import MUTATIONS, USUAL, gradient, run_ranks
from tests.tiny import distance, save

FAMILIES = {
    "llama-tied": ("llama", {"tied": True}),
    "llama-untied": ("llama", {"tied": False}),
    "qwen3": ("qwen3", {"tied": True}),
    "gpt2": ("gpt2", {}),
}
OBJECTIVES = {
    "jsd": ("divergence=jsd", "policy=mixed", "lmbda=0.5", "policy.draw=sequence"),
    "top_k": ("divergence=reverse_kl", "support=teacher_top_k", "policy=on_policy"),
    "sequence_mean": ("policy=seq_kd", "loop.reduction=sequence_mean"),
    "kd": ("objective=kd", "policy=off_policy"),
    "sft": ("objective=sft", "policy=off_policy"),
    "minillm": (
        "objective=minillm",
        "policy=on_policy",
        "dataset@dataset_pt=text",
        "dataset_pt.path=../passages.jsonl",
        "dataset_pt.validation_share=1",
    ),
    "sampled_kl": ("objective=sampled_kl", "policy=on_policy", "objective.gamma=0.5"),
    "reward": ("objective=reward", "policy=on_policy", "loop.group=2", "loop.batch_size=6"),
    "noise": ("objective.teacher_noise=1", "policy=off_policy"),
    "collected": ("divergence=jsd", "policy=on_policy", "loop.collect=2", "loop.inner_epochs=2"),
    "checkpointed": ("policy=off_policy", "student.gradient_checkpointing=true"),
    "lora": ("policy=on_policy", "student.adapter.rank=4"),
    "dora_self": (
        *("policy=on_policy", "objective.teacher_temperature=2", "teacher=self"),
        *("student.adapter.rank=4", "student.adapter.dora=true"),
    ),
    "one_row": ("policy=off_policy", "loop.batch_size=1"),
}
"""What is learnt; the last leaves all processes but one without a row."""
alike = partial(run_ranks, rounded_alike=True)

LAYOUTS = {
    "replicas-2": (2, ("placement=replicas",), 2e-6),
    "sharded-2": (2, ("placement=sharded",), 3e-6),
    "hsdp-4": (4, ("placement=sharded", "placement.replicas=2"), 3e-6),
}
"""Processes, what is typed, and how far the gradient may be from that of one process."""

DIAGONAL = [
    *(("llama-untied", objective) for objective in OBJECTIVES),
    *((family, "jsd") for family in FAMILIES if family != "llama-untied"),
]
EVERY = [(family, objective) for family in FAMILIES for objective in OBJECTIVES]


def commands(folder: Path, pairs: list[tuple[str, str]], *typed: str) -> list[list[str]]:
    """A training for each family and objective, in small micro-batches."""
    teacher = ["teacher=hf", f"teacher.name={folder.parent / 'teacher'}"]
    return [
        [
            *("train", *USUAL, f"output={folder}", f"name={family}-{objective}"),
            *(f"student.name={folder.parent / family}", "student=hf"),
            *OBJECTIVES[objective],
            *([] if "teacher=self" in OBJECTIVES[objective] else teacher),
            *("loop.micro_batch_tokens=200", *typed),
        ]
        for family, objective in pairs
    ]


def prepare(root: Path) -> None:
    for seed, (name, (family, shape)) in enumerate(FAMILIES.items()):
        save(root / name, family, context=256, seed=seed, **shape)
    save(root / "teacher", "llama", context=256, seed=9)
    texts = [f"In the end {number} apples were left." for number in range(4)]
    rows = [{"text": text} for text in texts]
    (root / "passages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def alone(started: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every training by one process."""
    root = tmp_path_factory.mktemp("layouts")
    prepare(root)
    (results,) = alike(started, 1, root / "alone", commands(root / "alone", DIAGONAL))
    assert [each["error"] for each in results] == [None] * len(results)
    return root / "alone"


@pytest.fixture(scope="module", params=LAYOUTS)
def laid_out(request: pytest.FixtureRequest, alone: Path, started: Start):
    size, typed, limit = LAYOUTS[request.param]
    folder = alone.parent / request.param
    results = alike(
        started, size, folder, commands(folder, DIAGONAL, *typed, "placement.timeout=15")
    )
    return folder, results, limit


def test_every_training_ends_and_all_processes_ask_for_the_same_collectives(laid_out) -> None:
    """One that asked for others would wait for ever on a GPU."""
    _, results, _ = laid_out
    for number, (family, objective) in enumerate(DIAGONAL):
        said = [rank[number] for rank in results]
        assert [each["error"] for each in said] == [None] * len(said), (family, objective)
        assert all(each["calls"] == said[0]["calls"] for each in said), (family, objective)
        assert said[0]["calls"]


def test_the_gradient_is_that_of_one_process(laid_out, alone: Path) -> None:
    """Traps 2 and 3, for every objective and for heads that are tied, untied and without a plan."""
    folder, _, limit = laid_out
    far = {}
    for family, objective in DIAGONAL:
        name = f"train/{family}-{objective}"
        far[name] = distance(gradient(folder / name), gradient(alone / name))
    assert max(far.values()) <= limit, far
    assert any(far.values())


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_family_learns_every_objective_as_one_process_does(
    layout: str, started: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The tests above take one objective for all families, and one family for all objectives."""
    root = tmp_path_factory.mktemp("every")
    prepare(root)
    without_error(alike(started, 1, root / "alone", commands(root / "alone", EVERY)))
    size, typed, limit = LAYOUTS[layout]
    given = commands(root / layout, EVERY, *typed, "placement.timeout=60")
    results = alike(started, size, root / layout, given, patience=1500)
    far = {}
    for number, (family, objective) in enumerate(EVERY):
        said = [rank[number] for rank in results]
        assert [each["error"] for each in said] == [None] * size, (family, objective)
        assert all(each["calls"] == said[0]["calls"] for each in said), (family, objective)
        name = f"train/{family}-{objective}"
        far[name] = distance(gradient(root / layout / name), gradient(root / "alone" / name))
    print(layout, {name: f"{each:.1e}" for name, each in far.items()})
    assert max(far.values()) <= limit, far


def without_error(results: list[list[dict[str, Any]]]) -> None:
    assert [rank[0]["error"] for rank in results] == [None] * len(results)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mean_for_a_sum_and_a_pass_that_is_left_out_are_seen(
    mutation: str, alone: Path, started: Start
) -> None:
    """Three rows on two processes: what the tests above would say of broken code."""
    folder, pair = alone.parent / mutation, [("llama-untied", "kd")]
    typed = ("placement=sharded", "placement.timeout=8", "loop.micro_batch_tokens=1")
    given = commands(folder, pair, *typed)
    if mutation == "no_idle_pass":
        # By gloo, which ends a process, or by the time-out.
        with pytest.raises(AssertionError):
            without_error(alike(started, 2, folder, given, mutation=mutation))
        return
    name = "train/llama-untied-kd"
    without_error(alike(started, 2, folder, given, mutation=mutation))
    assert distance(gradient(folder / name), gradient(alone / name)) == pytest.approx(0.5, abs=0.01)


def test_the_text_and_its_numbers_are_those_of_one_process(laid_out, alone: Path) -> None:
    folder, *_ = laid_out
    for family, objective in DIAGONAL:
        name = f"train/{family}-{objective}/metrics.jsonl"
        found, wanted = (
            [json.loads(line) for line in (each / name).read_text().splitlines()]
            for each in (folder, alone)
        )
        assert found == [pytest.approx(row, rel=1e-4, abs=1e-6) for row in wanted], name
        assert [row["tokens"] for row in found] == [row["tokens"] for row in wanted], name
