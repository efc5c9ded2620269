"""Asks a running ``distillkit serve`` from many clients at once, and compares every greedy answer.

    distillkit serve student.name=outputs/models/embedded_cut_2 optimizer.lr=1e-3 &
    python -m scripts.load --clients 8 --seconds 300

Half of the requests are greedy, and their answers must be those of the target alone, which this
process loads too; the other half are drawn. Domains come one after another, as in ``osd``.
"""

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import httpx
import numpy as np
import openai
import torch
import typer

from distillkit.core.types import Example, Split
from distillkit.datasets.arithmetic import Arithmetic, Domain
from distillkit.datasets.maze import Maze
from distillkit.models.generation import generate
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.models.sampling import Sampling

QUESTIONS = 200
"""Of each domain."""
LONGEST = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and what became of it."""

    seconds: float
    tokens: int
    outcome: str
    """right, wrong, drawn, or the name of an error."""


def main(
    url: Annotated[str, typer.Option()] = "http://127.0.0.1:8000",
    clients: Annotated[int, typer.Option()] = 8,
    seconds: Annotated[float, typer.Option()] = 300,
) -> None:
    """Print how many answers there were of each kind, how long they took, and what was learned."""
    key = os.environ.get("DISTILLKIT_API_KEY", "none")
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    name = client.models.list().data[0].id
    examples = _examples()
    expected = _alone(name, examples)
    begun = time.monotonic()

    def ask(number: int) -> list[Asked]:
        found = []
        while (passed := time.monotonic() - begun) < seconds:
            domain = list(examples)[int(passed / seconds * len(examples))]
            row = (number + clients * len(found)) % QUESTIONS
            wanted = expected[domain][row] if len(found) % 2 == 0 else None
            found.append(_ask(client, name, examples[domain][row], wanted))
        return found

    with ThreadPoolExecutor(clients) as pool:
        asked = [each for part in pool.map(ask, range(clients)) for each in part]
    spent = time.monotonic() - begun
    latency = np.quantile([each.seconds for each in asked], [0.5, 0.95, 0.99])
    print(f"{clients} clients, {spent:.0f} s: {dict(Counter(each.outcome for each in asked))}")
    print(
        f"{len(asked) / spent:.1f} requests/s, {sum(e.tokens for e in asked) / spent:.0f} tokens/s"
    )
    print("latency p50 {:.3f} s, p95 {:.3f} s, p99 {:.3f} s".format(*latency))
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line.startswith("distillkit_") and "_created" not in line and "bucket" not in line:
            print(line)


def _examples() -> dict[str, list[Example]]:
    datasets = {
        "market": Arithmetic(test=QUESTIONS),
        "journey": Arithmetic(domain=Domain.journey, test=QUESTIONS),
        "maze": Maze(test=QUESTIONS),
    }
    return {name: [*each.examples(Split.test)] for name, each in datasets.items()}


def _alone(name: str, examples: dict[str, list[Example]]) -> dict[str, list[str]]:
    """The target's own greedy answers."""
    source = Teacher(name=name, prompt=PromptStyle.plain)
    target = load(source, device=torch.device("cpu"), precision="fp32")
    sampling = Sampling(temperature=0, max_new_tokens=LONGEST)
    return {
        domain: [
            target.tokenizer.decode(text.tokens, skip_special_tokens=True)
            for text in generate(target, target.prompts.of(each), sampling, seed=0)
        ]
        for domain, each in examples.items()
    }


def _ask(client: openai.OpenAI, name: str, example: Example, wanted: str | None) -> Asked:
    start = time.monotonic()
    try:
        said = client.chat.completions.create(
            model=name,
            messages=[{"role": "user", "content": example.question}],
            temperature=1.0 if wanted is None else 0.0,
            max_tokens=LONGEST,
        )
    except openai.OpenAIError as error:
        return Asked(time.monotonic() - start, 0, type(error).__name__)
    outcome = "drawn"
    if wanted is not None:
        outcome = "right" if said.choices[0].message.content == wanted else "wrong"
    tokens = said.usage.completion_tokens if said.usage else 0
    return Asked(time.monotonic() - start, tokens, outcome)


if __name__ == "__main__":
    typer.run(main)
