"""A budget of labels: who learns from which examples, and what a run says that it used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError, DataError
from distillkit.core.types import Author, Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import Teacher
from distillkit.policies.fixed import OffPolicy, OnPolicy
from distillkit.policies.mixed import Draw, Mixed
from distillkit.programs.train.budget import budget_line
from distillkit.programs.train.fields import check_fields
from distillkit.rewards.correct import Correct
from distillkit.training.collection import asked, collect
from distillkit.training.sampler import Pool
from distillkit.training.settings import LoopSettings

from .conftest import SMOKE, CommandLine
from .test_bad_input import said
from .tiny import build, example
from .training.parts import parts

KNOWN = 3
EXAMPLES = [example(f"What is {number} plus 3?", f" {number + 3}") for number in range(20)]
PARTLY = [*EXAMPLES[:KNOWN], *(each.unlabelled() for each in EXAMPLES[KNOWN:])]


@pytest.fixture(scope="module")
def pair() -> tuple[LanguageModel, LanguageModel]:
    """A student and a teacher; no test of this file moves them."""
    return build("gpt2"), build("llama", side=Teacher, seed=3)


def test_the_first_examples_keep_what_tells_the_answer_and_no_other_does() -> None:
    whole = Arithmetic(train=30, validation=5).gather([Split.train, Split.validation]).examples
    some = replace(Arithmetic(train=30, validation=5), labelled=10)
    found = some.gather([Split.train, Split.validation]).examples
    assert list(found[Split.train][:10]) == list(whole[Split.train][:10])
    assert list(found[Split.validation]) == list(whole[Split.validation])
    for before, after in zip(whole[Split.train][10:], found[Split.train][10:], strict=True):
        assert (after.id, after.prompt) == (before.id, before.prompt)
        assert not after.teaches
        assert (after.reference, after.answer, after.alternatives) == ("", "", ())


def test_more_labels_than_examples_are_refused() -> None:
    with pytest.raises(DataError, match=r"dataset.labelled=31, but the training split has 30"):
        Arithmetic(train=30, labelled=31).gather([Split.train])
    found = Arithmetic(train=30, labelled=30).gather([Split.train]).examples
    assert len(Pool.of(found[Split.train]).labelled) == 30


@pytest.mark.parametrize("draw", list(Draw))
def test_the_dataset_writes_for_labelled_examples_and_the_student_for_every_prompt(
    draw: Draw, pair: tuple[LanguageModel, LanguageModel]
) -> None:
    made = parts(*pair, policy=Mixed(draw=draw), examples=PARTLY, batch_size=5, steps=40)
    seen: dict[Author, list[str]] = {Author.dataset: [], Author.student: []}
    for step in range(40):
        for rollout in collect(made, step, clock=Clock()).rollouts:
            seen[rollout.response.author].append(rollout.example.id)
            if rollout.response.author is Author.dataset:
                assert rollout.example.teaches
    known = {each.id for each in EXAMPLES[:KNOWN]}
    assert set(seen[Author.dataset]) == known
    assert set(seen[Author.student]) == {each.id for each in EXAMPLES}
    counts = [seen[Author.dataset].count(name) for name in known]
    assert max(counts) - min(counts) <= 0.5 * max(counts)


@pytest.mark.parametrize("policy", [OffPolicy(), OnPolicy(), Mixed(draw=Draw.sequence)])
def test_where_all_is_labelled_the_same_examples_are_drawn_as_without_a_budget(policy) -> None:
    loop = LoopSettings(batch_size=6, group=2)
    for number in range(5):
        authors = policy.authors(number, 6, steps=5, seed=1)
        every = asked(Pool(EXAMPLES, EXAMPLES), number, (), loop=loop, seed=1)
        assert asked(Pool.of(EXAMPLES), number, authors, loop=loop, seed=1) == every


def test_off_policy_text_of_a_budget_is_that_of_a_dataset_of_that_size() -> None:
    loop, authors = LoopSettings(batch_size=5), [Author.dataset] * 5
    few = Pool.of(EXAMPLES[:KNOWN])
    for number in range(6):
        drawn = asked(Pool.of(PARTLY), number, authors, loop=loop, seed=4)
        assert drawn == asked(few, number, authors, loop=loop, seed=4)


def test_a_budget_that_is_not_set_changes_no_fingerprint() -> None:
    old = compose("train", ["tracker=none"])
    assert old.config["dataset"]["labelled"] is None
    assert "labelled" not in Arithmetic().earlier({"seed": 0, "labelled": None})
    assert compose("train", ["tracker=none", "dataset.labelled=100"]).fingerprint != old.fingerprint


BESIDE = ["dataset@dataset_pt=journey", "objective=minillm", "policy=teacher_mixed"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["dataset.labelled=-1"], "dataset.labelled=-1 must be at least 0"),
        (["dataset.labelled=0"], "policy=mixed has it write"),
        ([*BESIDE, "dataset_pt.labelled=3"], "dataset_pt.labelled=3 has no effect"),
    ],
)
def test_budgets_that_mean_nothing_are_refused_while_composing(
    overrides: list[str], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_fields(compose("train", overrides).run, overrides)


def test_undo_refuses_a_budget_since_every_lesson_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"undo-iterate checks every lesson"):
        check_fields(compose("undo", ["dataset.labelled=9"]).run, ["dataset.labelled=9"])


def test_a_reward_that_needs_answers_names_the_budget_that_took_them() -> None:
    with pytest.raises(DataError, match=r"leave dataset.labelled=4 out, which takes the answers"):
        Correct().judge(Arithmetic(train=9, labelled=4), device=None)


REWARDED = ("objective=reward", "policy=on_policy", "loop.group=2", "objective.alpha=0.5")
BUDGETS = {
    (*REWARDED, "reward=length", "reward.target=9"): (0, False, True),
    ("objective=sft", "policy=off_policy"): (5, False, False),
    ("policy=off_policy",): (5, False, True),
    ("policy=mixed", "policy.draw=sequence"): (5, False, True),
    ("policy=on_policy",): (0, False, True),
    ("objective=sft", "policy=seq_kd"): (0, True, False),
    ("policy=teacher_mixed", "objective=minillm"): (0, True, True),
}
"""Gold labels, whether the teacher writes and whether it reads."""


@pytest.mark.parametrize("overrides", list(BUDGETS), ids=" ".join)
def test_a_run_says_what_it_was_given_and_what_the_teacher_did(
    overrides: tuple[str, ...], distillkit: CommandLine
) -> None:
    labels, writes, reads = BUDGETS[overrides]
    done = distillkit("train", *SMOKE, *overrides, "name=run", "dataset.labelled=5")
    run = Path("outputs/train/run")
    budget = json.loads((run / "summary.json").read_text())["budget"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tokens = sum(int(row["tokens"]) for row in rows if "tokens" in row)
    prompts = budget["prompts"]
    assert budget["gold_labels"] == labels
    assert (budget["teacher_wrote"] > 0, budget["teacher_read"]) == (writes, tokens if reads else 0)
    if "policy=teacher_mixed" in overrides:
        assert budget["teacher_wrote"] == tokens
    assert f"{labels} gold labels, {prompts:,} prompts" in " ".join(done.out.split())


def test_no_label_at_all_is_enough_for_the_student_on_its_own_text(distillkit: CommandLine) -> None:
    distillkit("train", *SMOKE, "policy=on_policy", "name=none", "dataset.labelled=0")
    summary = json.loads(Path("outputs/train/none/summary.json").read_text())
    assert summary["budget"]["gold_labels"] == 0


def test_doctor_and_estimate_know_the_budget(distillkit: CommandLine) -> None:
    few = (*SMOKE, "dataset.labelled=5", "policy=mixed")
    checked = distillkit("doctor", *few)
    assert checked.code == 0, checked.out
    assert distillkit("estimate", *few, "policy=off_policy", "--repeats", "2").code == 0


def test_a_budget_beyond_the_data_is_one_sentence(distillkit: CommandLine) -> None:
    refused = distillkit("train", *SMOKE, "dataset.labelled=100000")
    said(refused, "dataset.labelled=100000", "the training split has")


def test_a_reward_that_reads_answers_counts_them_as_labels(distillkit: CommandLine) -> None:
    Path("rows.jsonl").write_text(8 * '{"prompt": "What is 1 + 1?", "answer": "2"}\n')
    typed = (
        "dataset=jsonl",
        "dataset.path=rows.jsonl",
        "dataset.answer_field=answer",
        "dataset.response_field=null",
    )
    rest = ("dataset.validation_share=0", "evaluation.every=0", "evaluation.test=0", "name=run")
    done = distillkit("train", *SMOKE, *typed, *REWARDED, *rest)
    assert done.code == 0, done.err
    budget = json.loads(Path("outputs/train/run/summary.json").read_text())["budget"]
    assert budget["gold_labels"] == budget["prompts"] == 8


def test_the_budget_of_a_run_of_before_is_not_made_up() -> None:
    assert "not known" in budget_line({"name": "old", "training_seconds": 3.0})


def test_tokens_of_inner_epochs_are_read_once(distillkit: CommandLine) -> None:
    shared = ("loop.collect=2", "loop.inner_epochs=2", "steps=4", "policy=on_policy")
    assert distillkit("train", *SMOKE, *shared, "name=run").code == 0
    run = Path("outputs/train/run")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tokens = [int(row["tokens"]) for row in rows if "tokens" in row]
    read = json.loads((run / "summary.json").read_text())["budget"]["teacher_read"]
    assert len(tokens) == 4
    assert read == sum(tokens[:2]) == sum(tokens) / 2
