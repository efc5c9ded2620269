"""Answers to be judged, and a dataset of the user's own rows to judge them by."""

import json
from pathlib import Path

import torch

from distillkit.core.types import Answer, Example, Message
from distillkit.datasets.jsonl import AnswerKind, JsonLines
from distillkit.rewards.base import Reward

CPU = torch.device("cpu")


def rows(folder: Path, *given: dict[str, object]) -> JsonLines:
    """A dataset whose training split is these rows, with numbers as answers where there are any."""
    for split, split_rows in {"train": given, "test": ({**given[0], "id": "held out"},)}.items():
        text = "".join(f"{json.dumps({'prompt': '?', **row})}\n" for row in split_rows)
        (folder / f"{split}.jsonl").write_text(text)
    return JsonLines(
        path=str(folder),
        validation_share=0,
        response_field="response" if any("response" in row for row in given) else None,
        references_field="others" if any("others" in row for row in given) else None,
        answer_field="answer" if any("answer" in row for row in given) else None,
        answer_kind=AnswerKind.number,
    )


def answer(
    text: str,
    *,
    tokens: int = 0,
    truncated: bool = False,
    question: str = "?",
    system: str = "",
    reference: str = "",
    final: str = "",
    others: tuple[str, ...] = (),
    name: str = "one",
) -> Answer:
    """A response to an example."""
    prompt = (Message("system", system), Message("user", question))[0 if system else 1 :]
    asked = Example(name, prompt, reference, final, alternatives=others)
    return Answer(asked, text, (0,) * tokens, truncated)


def rewards(reward: Reward, dataset: JsonLines, *answers: Answer) -> list[float]:
    return reward.judge(dataset, device=CPU)(answers)
