"""Seconds a token: ours and transformers' assisted generation, with the same pair, in turns.

    python -m scripts.assisted outputs/models/smollm2_135m outputs/osd/real/student --data ../data

Greedy, one prompt at a time, as many proposals in every round. Both write the target's own text, so
that rounds and tokens are nearly the same; where a near tie falls otherwise, the row says so.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from distillkit.core.types import Author, Split
from distillkit.datasets.gsm8k import Gsm8k
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.models.sampling import Sampling
from distillkit.models.side import Ready
from distillkit.models.speculation import Speculator

Texts = list[tuple[int, ...]]


def main(
    target: Annotated[Path, typer.Argument(help="Folder of the target.")],
    draft: Annotated[Path, typer.Argument(help="Folder of the draft.")],
    data: Annotated[Path, typer.Option(help="Folder of GSM8K's rows.")],
    prompts: Annotated[int, typer.Option()] = 8,
    new_tokens: Annotated[int, typer.Option()] = 64,
    proposals: Annotated[int, typer.Option()] = 5,
    rounds: Annotated[int, typer.Option()] = 3,
) -> None:
    """Print medians over rounds."""
    models = [
        load(
            Teacher(name=str(folder), prompt=PromptStyle.chat),
            device=torch.device("cpu"),
            precision="fp32",
        )
        for folder in (target, draft)
    ]
    examples = Gsm8k(path=str(data)).examples(Split.test)[:prompts]
    asked = [list(prompt) for prompt in models[0].prompts.of(examples)]
    ways: dict[str, Callable[[], Texts]] = {
        "ours, target alone": lambda: _ours_alone(models[0], asked, new_tokens),
        "ours, with the draft": lambda: _ours(*models, asked, new_tokens, proposals),
        "transformers, target alone": lambda: _theirs(models[0], None, asked, new_tokens, 0),
        "transformers, assisted": lambda: _theirs(*models, asked, new_tokens, proposals),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    texts: dict[str, Texts] = {}
    for name, write in ways.items():
        texts[name] = write()
    for _ in range(rounds):
        for name, write in ways.items():
            start = time.perf_counter()
            tokens = sum(map(len, write()))
            taken[name].append((time.perf_counter() - start) / tokens)
    expected = texts["ours, target alone"]
    for name, seconds in taken.items():
        same = sum(one == other for one, other in zip(texts[name], expected, strict=True))
        print(f"{name}: {1000 * median(seconds):.1f} ms a token, {same} of {prompts} texts alike")
    ratio = median(taken["ours, with the draft"]) / median(taken["transformers, assisted"])
    print(f"ours over transformers' assisted generation: {ratio:.2f}")


def _ours_alone(model: LanguageModel, prompts: list[list[int]], longest: int) -> Texts:
    sampling = Sampling(temperature=0, max_new_tokens=longest, batch_size=1)
    return [text.tokens for text in generate(model, prompts, sampling, seed=0)]


def _ours(
    target: LanguageModel, draft: LanguageModel, prompts: list[list[int]], longest: int, k: int
) -> Texts:
    sampling = Sampling(temperature=0, max_new_tokens=longest, batch_size=1)
    both = Speculator(Ready(target), Ready(draft), k=k, labels=64)
    told = both.write(prompts, prompts, sampling, seed=0, author=Author.teacher)
    return [each.response.tokens for each in told]


def _theirs(
    target: LanguageModel,
    draft: LanguageModel | None,
    prompts: list[list[int]],
    longest: int,
    k: int,
) -> Texts:
    more = {}
    if draft is not None:
        settings = draft.module.generation_config
        settings.num_assistant_tokens, settings.assistant_confidence_threshold = k, 0.0
        settings.num_assistant_tokens_schedule = "constant"
        more["assistant_model"] = draft.module
    texts = []
    for prompt in prompts:
        with torch.inference_mode():
            whole = target.module.generate(
                input_ids=torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                do_sample=False,
                max_new_tokens=longest,
                eos_token_id=sorted(target.stop_ids),
                pad_token_id=target.end_id,
                **more,
            )
        texts.append(tuple(whole[0, len(prompt) :].tolist()))
    return texts


if __name__ == "__main__":
    typer.run(main)
