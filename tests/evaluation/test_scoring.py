"""Two models on given texts, against transformers alone in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from distillkit.evaluation import scoring
from distillkit.evaluation.scoring import COLUMNS, as_compared, likelihoods, side_by_side
from distillkit.models.loading import load
from distillkit.models.pretrained import Student, Teacher

from ..tiny import CPU, save

PROMPTS = [((5, 6, 7), (5, 6, 7)), ((9, 10, 11, 12), (9, 10)), ((4,), (4,))]
RESPONSES = [(20, 21, 22, 1), (30, 31), (40, 41, 42, 43, 44, 45, 1)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("pair")
    return (
        save(place / "teacher", seed=1, vocab_size=400),
        save(place / "student", "gpt2", seed=2, vocab_size=384),
    )


@pytest.fixture(scope="module")
def pair(folders: tuple[Path, Path]):
    return (
        load(Teacher(name=str(folders[0])), device=CPU, precision="fp32"),
        load(Student(name=str(folders[1])), device=CPU, precision="fp32"),
    )


def predictions(folder: Path, prompt: tuple[int, ...], response: tuple[int, ...], entries: int):
    """Log-probabilities [T, V] of what follows each prefix, one prefix after the other."""
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    rows = []
    for length in range(len(response)):
        ids = torch.tensor([[*prompt, *response[:length]]])
        with torch.inference_mode():
            rows.append(module(input_ids=ids).logits[0, -1, :entries].log_softmax(-1))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("chunk_mb", [64, 0], ids=["one chunk", "a position a chunk"])
def test_every_column_is_what_its_definition_gives(
    chunk_mb: int, folders, pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK_MB", chunk_mb)
    entries = pair[1].head.vocabulary
    tables = side_by_side(*pair, PROMPTS, RESPONSES)
    for (left, right), response, table in zip(PROMPTS, RESPONSES, tables, strict=True):
        assert table.shape == (len(COLUMNS), len(response))
        teacher = predictions(folders[0], left, response, entries)
        student = predictions(folders[1], right, response, entries)
        p, q, at = np.exp(teacher), np.exp(student), range(len(response))
        fives = [
            len({*np.argsort(-a)[:5].tolist()} & {*np.argsort(-b)[:5].tolist()}) / 5
            for a, b in zip(p, q, strict=True)
        ]
        expected = {
            "teacher_log_prob": teacher[at, response],
            "log_prob": student[at, response],
            "teacher_entropy": -(p * teacher).sum(-1),
            "entropy": -(q * student).sum(-1),
            "forward_kl": (p * (teacher - student)).sum(-1),
            "reverse_kl": (q * (student - teacher)).sum(-1),
            "overlap": 1 - abs(p - q).sum(-1) / 2,
            "top1": p.argmax(-1) == q.argmax(-1),
            "top5": fives,
            "confidence": q.max(-1),
            "hit": q.argmax(-1) == np.array(response),
        }
        found = as_compared(table)
        for name, values in expected.items():
            np.testing.assert_allclose(getattr(found, name), values, rtol=2e-4, atol=2e-5)


def test_a_model_beside_itself_agrees_in_everything(pair) -> None:
    for table in side_by_side(pair[0], pair[0], PROMPTS, RESPONSES):
        found = as_compared(table)
        assert not found.forward_kl.any()
        assert not found.reverse_kl.any()
        assert found.top1.all()
        assert found.top5.min() == 1
        assert found.overlap == pytest.approx(1, abs=1e-6)
        assert found.overlap.max() <= 1
        assert (found.log_prob == found.teacher_log_prob).all()


def test_a_response_is_as_likely_as_its_tokens_together(pair) -> None:
    prompts = [right for _, right in PROMPTS]
    tables = side_by_side(*pair, PROMPTS, RESPONSES)
    expected = [as_compared(table).log_prob.sum() for table in tables]
    assert likelihoods(pair[1], prompts, RESPONSES) == pytest.approx(expected, rel=1e-5)


def test_models_are_left_in_their_mode_and_without_gradients(pair) -> None:
    assert pair[1].module.training
    side_by_side(*pair, PROMPTS, RESPONSES)
    assert pair[1].module.training
    assert all(parameter.grad is None for parameter in pair[1].parameters())
