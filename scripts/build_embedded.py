"""Builds the embedded world's tokenizer, teacher and student into distillkit/models/embedded/.

    python scripts/build_embedded.py tokenizer
    python scripts/build_embedded.py model teacher    # 0.923 on the test split, 45 minutes
    python scripts/build_embedded.py model student    # 0.300 on the test split, 10 minutes
    python scripts/build_embedded.py model pupil
    python scripts/build_embedded.py model classmate

Times are those of two cores that had other work to do; figures are in LOG.md. All read an endless
stream of fresh problems of both domains. The student is stopped while it still errs, because
distillation needs a student that writes usable text and has room to learn. The pupil and its wider
classmate, the students of undo-iterate, have seen every detail that a rationale may spell out, in
some of the problems, as a language model has seen many ways of explaining.
"""

import itertools
import math
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
import typer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from distillkit.core.types import Example, Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.datasets.rationale import Detail, Style, write_rationale
from distillkit.datasets.wording import Domain
from distillkit.evaluation.quality import measure
from distillkit.models.loading import EMBEDDED, load
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.models.sampling import Sampling

PIECE = r" ?[A-Za-z]+| ?[0-9]| ?[^A-Za-z0-9\s]+|\s"
CPU = torch.device("cpu")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Recipe:
    """A Llama shape and its training: a cosine over ``horizon`` steps, left at ``stop``.

    With ``decay``, the rate is constant instead, and falls to 0 in the last so many steps.
    """

    width: int
    layers: int
    stop: int
    horizon: int = 3400
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 100
    decay: int = 0
    world: int = 0
    """Root of the problems; with another than 0, none is the default dataset's."""
    away: float = 0.2
    """Share of problems of the other domain."""
    details: Mapping[Detail, float] = field(default_factory=dict)
    """Share of problems that spell a detail out."""


SCHOOLED = {detail: 0.2 if detail in (Detail.plan, Detail.check) else 0.5 for detail in Detail}
RECIPES = {
    "teacher": Recipe(width=160, layers=4, stop=2400),
    "student": Recipe(width=128, layers=3, stop=900, decay=100, world=7),
    "pupil": Recipe(width=96, layers=2, stop=1600, horizon=1600, away=0.3, details=SCHOOLED),
    "classmate": Recipe(width=128, layers=2, stop=1200, horizon=1200, away=0.3, details=SCHOOLED),
}


@app.command()
def tokenizer() -> None:
    """One token a word of the world, one a digit, bytes for all else: any text round-trips."""
    byte_alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words: set[str] = set()
    for domain in Domain:
        world = Arithmetic(domain=domain, style=Style.expanded)
        for index in range(3000):
            problem = world.problem(Split.train, index)
            for piece in re.findall(PIECE, f"{problem.question}\n{problem.reference}"):
                words.add("".join(part for part, _ in as_bytes.pre_tokenize_str(piece)))
    specials = ["<pad>", "<eos>"]
    pieces = specials + byte_alphabet + sorted(words - set(byte_alphabet))
    ids = {piece: index for index, piece in enumerate(pieces)}
    core = Tokenizer(models.BPE(ids, [], ignore_merges=True))
    split = pre_tokenizers.Split(Regex(PIECE), "isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(special, special=True) for special in specials])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", model_max_length=512
    )
    fast.chat_template = "{{ messages[-1]['content'] + '\n' }}"
    for side in RECIPES:
        fast.save_pretrained(EMBEDDED / side)
    print(f"{len(pieces)} tokens")


@app.command()
def model(side: str, seed: int = 0, threads: int = 2) -> None:
    """Train one side from scratch and print its accuracy."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    recipe = RECIPES[side]
    fast = PreTrainedTokenizerFast.from_pretrained(EMBEDDED / side)
    network = LlamaForCausalLM(_config(recipe, fast))
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters")
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.lr, betas=(0.9, 0.95), weight_decay=0.1
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe))
    problems, started = _stream(recipe, seed), time.time()
    for step in range(1, recipe.stop + 1):
        ids, labels = _collate(list(itertools.islice(problems, recipe.batch)), fast)
        mask = (ids != fast.pad_token_id).long()
        loss = network(input_ids=ids, labels=labels, attention_mask=mask).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"{step} loss {loss.item():.4f} {time.time() - started:.0f}s", flush=True)
    network.save_pretrained(EMBEDDED / side)
    _report(side)


def _config(recipe: Recipe, fast: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(fast),
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 8 // 3 // 16 * 16,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.width // 32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )


def _rate(step: int, recipe: Recipe) -> float:
    if recipe.decay:
        return min(1, (step + 1) / recipe.warmup, (recipe.stop - step) / recipe.decay)
    fall = 0.5 * (1 + math.cos(math.pi * step / recipe.horizon))
    return min(1, (step + 1) / recipe.warmup) * (0.05 + 0.95 * fall)


def _stream(recipe: Recipe, seed: int) -> Iterator[Example]:
    """Fresh problems of the training share of both domains, without end."""
    worlds = [Arithmetic(seed=recipe.world, domain=domain) for domain in Domain]
    draw = random.Random(seed)
    for index in itertools.count():
        (world,) = draw.choices(worlds, [1 - recipe.away, recipe.away])
        problem = world.problem(Split.train, index)
        details = [each for each, share in recipe.details.items() if draw.random() < share]
        yield replace(problem, reference=write_rationale(world.steps(problem), details))


def _collate(
    examples: list[Example], fast: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels [B, L], padded on the right; labels only on the response."""
    prompts = fast([f"{example.question}\n" for example in examples])["input_ids"]
    replies = fast([example.reference for example in examples])["input_ids"]
    width = max(len(p) + len(r) + 1 for p, r in zip(prompts, replies, strict=True))
    ids = torch.full((len(examples), width), fast.pad_token_id)
    labels = torch.full_like(ids, -100)
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        whole = [*prompt, *reply, fast.eos_token_id]
        ids[row, : len(whole)] = torch.tensor(whole)
        labels[row, len(prompt) : len(whole)] = ids[row, len(prompt) : len(whole)]
    return ids, labels


def _report(side: str) -> None:
    source = Teacher(name=f"embedded:{side}", prompt=PromptStyle.plain)
    written = load(source, device=CPU, precision="fp32")
    for domain in Domain:
        world = Arithmetic(domain=domain)
        sampling = Sampling(max_new_tokens=200)
        quality = measure(written, world, world.examples(Split.test), sampling=sampling)
        print(f"{domain} test accuracy {quality.accuracy.compute():.3f}")


if __name__ == "__main__":
    app()
