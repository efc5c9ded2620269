"""What the teacher reads for a collection: scores where they are missing, states where kept."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from distillkit.core.clock import Clock
from distillkit.core.types import Rollout
from distillkit.distributed.placement import Placement
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import Teacher
from distillkit.objectives.minillm import MiniLLM
from distillkit.objectives.sampled_kl import SampledKL
from distillkit.opinions.states import StatesOpinion
from distillkit.training.appraisal import appraise
from distillkit.training.sides import UNREAD, Kept
from tests.tiny import build
from tests.training.parts import EXAMPLES, parts, rollout

ROLLOUTS = [rollout(each, [70 + row, 80, 90][: row + 1]) for row, each in enumerate(EXAMPLES[:3])]


@pytest.fixture(scope="module")
def pair() -> tuple[LanguageModel, LanguageModel]:
    """Student and teacher."""
    return build("llama"), build("gpt2", side=Teacher)


def read(
    pair: tuple[LanguageModel, LanguageModel],
    rollouts: Sequence[Rollout],
    objective: MiniLLM | SampledKL,
    epochs: int,
) -> tuple[list[Rollout], Kept]:
    made = parts(*pair, objective=objective, inner_epochs=epochs)
    return appraise(
        rollouts,
        sides=made.sides,
        objective=objective,
        loop=made.loop,
        placement=Placement(),
        clock=Clock(),
    )


def test_scores_are_the_teachers_log_probabilities_and_states_those_before_each_token(
    pair: tuple[LanguageModel, LanguageModel],
) -> None:
    teacher = pair[1]
    found, opinions = read(pair, ROLLOUTS, MiniLLM(), 1)
    for before, after, states in zip(ROLLOUTS, found, opinions.opinions, strict=True):
        prompt, tokens = teacher.prompts.prompt_ids(before.example), before.response.tokens
        with torch.no_grad():
            logits = teacher.module(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0]
            logits = logits[len(prompt) - 1 : -1, : teacher.head.vocabulary]
        wanted = logits.log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])[:, 0]
        assert after.response.of_teacher == pytest.approx(wanted.tolist(), abs=1e-4)
        assert states is not None
        said = states.opened(len(tokens))(slice(None))
        torch.testing.assert_close(said, logits, atol=1e-4, rtol=1e-4)


def test_states_are_kept_for_comparisons_alone(pair: tuple[LanguageModel, LanguageModel]) -> None:
    found, opinions = read(pair, ROLLOUTS, SampledKL(), 2)
    assert all(each.response.of_teacher for each in found)
    assert opinions == UNREAD


def test_text_whose_scores_are_known_is_read_for_its_states_where_they_serve_again(
    pair: tuple[LanguageModel, LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [
        replace(each, response=replace(each.response, of_teacher=(-1.0,) * (row + 1)))
        for row, each in enumerate(ROLLOUTS)
    ]
    monkeypatch.delattr(StatesOpinion, "drawn")
    assert read(pair, known, MiniLLM(), 1) == (known, UNREAD)
    found, opinions = read(pair, known, MiniLLM(), 2)
    assert found == known
    assert [len(states) for states in opinions.opinions if states is not None] == [1, 2, 3]
