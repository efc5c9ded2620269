"""Replies of servers as arrays, the rest of them, and their gradient beside a local teacher's."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from distillkit.core.costs import Costs
from distillkit.core.types import Author, Response, Rollout
from distillkit.divergences.apart import FLOOR
from distillkit.divergences.base import Divergence
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.endpoints.questions import Answer
from distillkit.endpoints.sglang import SGLang
from distillkit.endpoints.tokens import Misfit, Scores, Scoring
from distillkit.endpoints.vllm import VLLM
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Student, Teacher
from distillkit.objectives.base import Scored
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.opinions.base import Asked, Reader
from distillkit.opinions.served.entries import UNSEEN, rest_of
from distillkit.opinions.served.settings import ServedTeacher
from distillkit.opinions.states import ModelReader
from distillkit.supports.base import Support
from distillkit.supports.top_k import StudentTopK, TeacherTopK
from tests.served.stub import NAME, Stub
from tests.tiny import CPU, example

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
"""Replies of vLLM 0.32.0 that served the embedded teacher in fp32 on a CPU, less their ids."""
TEXTS = ["3 + 4 = 7 #### 7", "12", "5 - 5 = 0, so it is 0 #### 0"]


@pytest.fixture(scope="module")
def sides() -> tuple[LanguageModel, LanguageModel]:
    plain = PromptStyle.plain
    return (
        load(Teacher(name="embedded:teacher", prompt=plain), device=CPU, precision="fp32"),
        load(Student(name="embedded:student", prompt=plain), device=CPU, precision="fp32"),
    )


def rollouts(student: LanguageModel) -> list[Rollout]:
    questions = ["What is 3 and 4?", "Add 5 to 7.", "What is left of 5 less 5?"]
    return [
        Rollout(
            example(question),
            Response((*student.prompts.text_ids(text), student.end_id), False, Author.dataset),
        )
        for question, text in zip(questions, TEXTS, strict=True)
    ]


def opened(
    stub: Stub, student: LanguageModel, support: Support | None, folder: Path, **fields: object
) -> Reader:
    values = {"url": stub.url, "model": NAME, "prompt": PromptStyle.plain, **fields}
    settings = ServedTeacher(**values)
    asked = Asked(support=support, drawn=True, precision="fp32", folder=folder)
    return settings.open(student, asked)


def learnt(
    reader: Reader, student: LanguageModel, support: Support, divergence: Divergence
) -> tuple[float, torch.Tensor]:
    """Loss and gradient of one micro-batch."""
    said = rollouts(student)
    student.module.zero_grad()
    with torch.no_grad():
        reader.expect(said)
        opinion = reader.read(said)
    prompts = student.prompts.of([each.example for each in said])
    batch = student.batch(prompts, [each.response.tokens for each in said])
    weights = torch.full((len(batch.targets),), 1 / len(batch.targets))
    objective = DivergenceObjective(divergence=divergence, support=support)
    loss = objective.backward(Scored(batch, weights, opinion=opinion), student=student)["loss"]
    return loss, torch.cat([each.grad.flatten() for each in student.parameters()])


@pytest.mark.parametrize(
    ("divergence", "near"),
    [
        (ForwardKL(), 1e-6),
        (JensenShannon(beta=0.3), 1e-6),
        # It reads the logarithm of the rest, of which one minus a sum near 1 knows some 1e-7.
        (ReverseKL(), 5e-4),
    ],
)
@pytest.mark.parametrize("support", [TeacherTopK(k=8), StudentTopK(k=8)])
def test_the_gradient_is_that_of_a_local_teacher(
    support: Support,
    divergence: Divergence,
    near: float,
    sides: tuple[LanguageModel, LanguageModel],
    tmp_path: Path,
) -> None:
    """Trap 25: a server teacher that is misaligned with the trainer's tokens."""
    teacher, student = sides
    with Stub(scale_out=True, v2=True).serving() as stub:
        reader = opened(stub, student, support, tmp_path)
        loss, gradient = learnt(reader, student, support, divergence)
        positions = stub.positions
        again, same = learnt(reader, student, support, divergence)
    expected, local = learnt(ModelReader(teacher), student, support, divergence)
    assert loss == pytest.approx(expected, rel=10 * near)
    assert float((gradient - local).norm()) < near * max(1.0, float(local.norm()))
    assert again == loss
    assert torch.equal(same, gradient)
    assert stub.positions == positions
    assert reader.costs.tokens == positions
    assert reader.costs.bytes > 0


def test_a_student_that_learnt_is_told_of_other_ids_of_the_same_text(
    sides: tuple[LanguageModel, LanguageModel], tmp_path: Path
) -> None:
    teacher, student = sides[0], deepcopy(sides[1])
    support = StudentTopK(k=8)
    with Stub(scale_out=True, v2=True).serving() as stub:
        reader = opened(stub, student, support, tmp_path)
        learnt(reader, student, support, ForwardKL())
        positions, head = stub.positions, student.module.get_output_embeddings().weight
        with torch.no_grad():
            head.copy_(head.roll(1, dims=0))
        loss, gradient = learnt(reader, student, support, ForwardKL())
    expected, local = learnt(ModelReader(teacher), student, support, ForwardKL())
    assert stub.positions == 2 * positions
    assert loss == pytest.approx(expected, rel=1e-5)
    assert float((gradient - local).norm()) < 1e-6 * float(local.norm())


def test_what_was_drawn_is_told_to_the_last_bits(
    sides: tuple[LanguageModel, LanguageModel], tmp_path: Path
) -> None:
    teacher, student = sides
    said = rollouts(student)
    with Stub().serving() as stub, torch.no_grad():
        reader = opened(stub, student, None, tmp_path, price=2.0)
        told = reader.read(said).drawn(chunk_mb=1)
        known = ModelReader(teacher).read(said).drawn(chunk_mb=1)
        costs = reader.costs
        kept = opened(stub, student, None, tmp_path)
        torch.testing.assert_close(kept.read(said).drawn(chunk_mb=1), told, rtol=0, atol=0)
    torch.testing.assert_close(told, known, rtol=1e-5, atol=1e-6)
    assert costs.price == pytest.approx(costs.tokens * 2e-6)
    assert kept.costs == Costs()


def test_mass_that_leaves_the_entries_is_seen() -> None:
    """Trap 15: reverse KL over a teacher's k likeliest is minimised by leaving them."""
    told = np.log(np.array([[0.6, 0.3]], np.float32))
    rest = torch.from_numpy(rest_of(told, others=6, ranked=True))
    teacher = torch.cat([torch.from_numpy(told), rest[:, None]], -1)
    shares = ([0.6, 0.3, 0.1], [0.06, 0.03, 0.91])
    near, far = (ReverseKL()(teacher, torch.tensor([share]).log()) for share in shares)
    assert float(far) > 1 > 1e-6 > float(near)


@pytest.mark.parametrize(
    ("told", "others", "ranked", "rest"),
    [
        ([0.5, 0.25], 8, True, 0.25),
        # Rounding has them add up to more than a whole: what it may hide is left, not nothing.
        ([0.9999, 0.00010001], 8, True, UNSEEN),
        # Each of the others is less likely than the last one.
        ([1 - 2e-9, 1e-9], 8, True, 8e-9),
        ([1 - 2e-9, 1e-9], 8, False, UNSEEN),
    ],
)
def test_the_rest_is_what_is_left(
    told: list[float], others: int, ranked: bool, rest: float
) -> None:
    entries = np.log(np.array([told])).astype(np.float32)
    assert np.exp(rest_of(entries, others=others, ranked=ranked)) == pytest.approx(rest, rel=1e-3)


def test_where_all_is_told_nothing_is_left() -> None:
    assert rest_of(np.log([[0.5, 0.5]]).astype(np.float32), others=0, ranked=True) == FLOOR


@pytest.mark.parametrize("name", ["scores of 2", "scores of the token alone"])
def test_the_stub_answers_as_the_recorded_server_did(name: str) -> None:
    """Names, order and numbers: what else is in a reply nobody reads."""
    asked, reply = RECORDED[name]["asked"], RECORDED[name]["reply"]
    theirs, ours = reply["choices"][0], Stub().complete(asked)["choices"][0]
    assert theirs.keys() - {"text"} == ours.keys() - {"text"}
    for there, here in zip(theirs["prompt_logprobs"], ours["prompt_logprobs"], strict=True):
        assert (there is None) == (here is None)
        if there is None:
            continue
        assert list(there) == list(here)
        for entry, made in zip(there.values(), here.values(), strict=True):
            assert made.keys() == entry.keys()
            assert made["rank"] == entry["rank"]
            assert made["logprob"] == pytest.approx(entry["logprob"], abs=2e-4)


def test_a_recorded_reply_is_read() -> None:
    ids, k = (5, 6, 7, 8), 2
    body = json.dumps(RECORDED["scores of 2"]["reply"]).encode()
    found = VLLM().scores(Answer(200, body), Scoring(ids[:2], ids[2:], k))
    assert found.ids.tolist() == [[190, 11], [190, 11]]
    assert found.drawn.tolist() == pytest.approx([-5.387013, -5.379148])
    kept = Scores.unpacked(found.packed())
    assert all(np.array_equal(one, other) for one, other in zip(kept, found, strict=True))
    with pytest.raises(Misfit, match="read the id 6 at position 1, where 9 was sent"):
        VLLM().scores(Answer(200, body), Scoring((5, 9), (7, 8), k))


def test_a_refusal_in_recorded_words_says_how_to_start_the_server() -> None:
    why = RECORDED["too many entries"]["reply"]["error"]["message"]
    said = VLLM().refusal(400, why, field="teacher", k=200)
    assert said is not None
    assert "which is 128. Start it again with --max-logprobs 201" in said
    why = RECORDED["own entries"]["reply"]["error"]["message"]
    assert "--enable-scale-out" in str(VLLM().refusal(403, why, field="teacher", k=8))


def test_sglangs_entries_are_read_by_its_documentation() -> None:
    def entry(place: int) -> list[object]:
        return [-1.0 - place, place, None]

    meta = {
        "input_token_logprobs": [[None, 5, None], [-2.0, 6, None], [-3.0, 7, None]],
        "input_top_logprobs": [None, [entry(0), entry(6)], [entry(1), entry(2)]],
    }
    asked = Scoring((5,), (6, 7), 2)
    body = json.dumps({"text": "", "meta_info": meta}).encode()
    found = SGLang().scores(Answer(200, body), asked)
    assert found.ids.tolist() == [[0, 6], [1, 2]]
    assert found.drawn.tolist() == [-2, -3]
    with pytest.raises(Misfit, match="read 3 tokens where 2 were sent"):
        SGLang().scores(Answer(200, body), Scoring((5,), (6,), 2))
    with pytest.raises(Misfit, match="not 3 at each of 2 positions"):
        SGLang().scores(Answer(200, body), Scoring((5,), (6, 7), 3))
