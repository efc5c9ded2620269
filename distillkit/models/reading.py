"""What a model gives for a text must not depend on how the text is read.

Scoring reads rows of different lengths padded on the right. Writing reads prompts padded on the
left and then goes on token by token behind a cache, out of which finished rows are dropped. Both
are tried on a few tokens and compared with each other and with passes over each text alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from distillkit.core.errors import DistillkitError, ModelError
from distillkit.distributed.holding import without_gradient
from distillkit.models import end_to_end
from distillkit.models.narrowing import last_block
from distillkit.models.voice import Opened, Voice

if TYPE_CHECKING:
    from distillkit.models.language_model import LanguageModel

PROBE = "Tom has 12 apples and buys 30 more. How many?\nÜber-naïve déjà vu: x^2 + 7 = 11!"
"""Text whose tokens are read."""
PROMPTS = (7, 3, 5)
"""Tokens of the prompts that are read side by side."""
WRITTEN = 4
"""Tokens that follow each."""
STAYING = (0, 2)
"""Rows that are left when one has ended."""
TWICE = [1, 0, 1]
"""Rows of which two begin with one prompt, which is read once."""
EXACT, NARROW = 2e-3, 0.1
"""Part of a hidden state by which rounding may change it, in fp32 and in narrower types."""
ROUNDED = 0.02
"""The same between two ways of reading in narrower types, where less is seen on this text."""
NOISE = 4.0
"""Times what is seen between two batches, which rounding may make between two ways of reading."""
WINDOWS = ("sliding_window", "attention_window_size", "attention_chunk_size", "window_size")
"""Fields of configurations that say how far back a layer looks."""
UNCACHED = "no cache"
"""Name of the way that is always right, and slow."""
NEAR = 64
"""Tokens of a window that the probe reads beyond."""

Begins = TypeVar("Begins")


@dataclass(frozen=True, slots=True)
class Way(Generic[Begins]):
    """How a model reads while it writes.

    Attributes:
        name: in the words that a user is told.
        ready: what begins batches of texts, with the weights as they are now.
    """

    name: str
    ready: Callable[[], Begins]


@dataclass(frozen=True, slots=True)
class Texts:
    """Token ids of prompts and of what follows each."""

    prompts: Sequence[Sequence[int]]
    responses: Sequence[Sequence[int]]


@contextmanager
def passes(side: str, name: str, module: Any) -> Iterator[None]:
    """Passes through a stranger's model, without gradient; what ends one as one sentence.

    Raises:
        ModelError: a pass ended in an error, or a check refused the model.
    """
    training = module.training
    module.eval()
    try:
        with without_gradient(module):
            yield
    except (DistillkitError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"{side}.name={name}: a {type(module).__name__} cannot be read as text alone "
            f"({type(error).__name__}: {first}). Choose another model, or another "
            f"{side}.attention."
        ) from error
    finally:
        module.train(training)


def check_training(model: "LanguageModel") -> None:
    """Read a text in training mode, in which some models want more than text."""
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        model.module.train()
        _scored(model, _texts(model, reach=0))
        model.module.eval()


def check_scoring(model: "LanguageModel", side: str) -> None:
    """A text's hidden states must not change with what follows it or stands beside it.

    Raises:
        ModelError: they do, so that neither loss nor likelihood would be the model's.
    """
    texts = _texts(model, reach=0)
    beside = _scored(model, texts)
    limit = EXACT if _is_exact(model) else NARROW
    if not max(_noise(model, texts, beside, row) for row in range(len(PROMPTS))) <= limit:
        raise ModelError(
            f"{side}.name: what a {type(model.module).__name__} gives for a text depends on what "
            "follows it or stands beside it, so its loss would be wrong. Choose a causal language "
            "model."
        )


def narrow(model: "LanguageModel") -> None:
    """Let the block of the last layer work where it is read, if that changes nothing that is."""
    texts = _texts(model, reach=0)
    whole = _scored(model, texts)
    model.narrowed = last_block(model.module)
    if not _same(model, texts, whole):
        model.narrowed = None


def unpad(model: "LanguageModel") -> None:
    """Let rows go through the model end to end, each prompt once, if that changes nothing."""
    config = model.module.config
    if not end_to_end.fits(model.module):
        return
    end_to_end.register()
    texts = _texts(model, reach=0)
    branching = Texts([texts.prompts[row] for row in TWICE], texts.responses)
    whole = [(each, _scored(model, each)) for each in (texts, branching)]
    before, config._attn_implementation = config._attn_implementation, end_to_end.NAME
    if not all(_same(model, *each) for each in whole):
        config._attn_implementation = before


def _same(model: "LanguageModel", texts: Texts, whole: Tensor) -> bool:
    """Whether texts have these hidden states still."""
    try:
        found = _scored(model, texts)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # A stranger's block wants more than it is given, or gives something else.
        return False
    return _deviation(found, whole) <= (EXACT if _is_exact(model) else ROUNDED)


Found = Iterator[tuple[list[int], int, Tensor]]
"""Rows, how many tokens of their responses were read, and their hidden states."""


def quickest(
    model: "LanguageModel",
    ways: Sequence[Way[Begins]],
    read: Callable[["LanguageModel", Way[Begins], Texts], Found],
) -> Way[Begins]:
    """The first way that gives what scoring gives; the last one needs no proof.

    Args:
        model: in inference mode.
        ways: in the order of their speed.
        read: texts in one of the ways.
    """
    texts = _texts(model, reach=_window(model.module.config.get_text_config()))
    whole = _scored(model, texts)
    shortest = PROMPTS.index(min(PROMPTS))
    limit = EXACT if _is_exact(model) else ROUNDED
    limit = max(limit, NOISE * _noise(model, texts, whole, shortest))
    for way in ways[:-1]:
        try:
            found = [*read(model, way, texts)]
        except torch.OutOfMemoryError:
            raise
        except Exception:
            # A stranger's forward pass that cannot be called so is one that cannot write so.
            continue
        if all(_deviation(state, whole[rows, place]) <= limit for rows, place, state in found):
            return way
    return ways[-1]


def written(model: "LanguageModel", way: Way[Opened], texts: Texts) -> Found:
    """Texts read as they are written."""
    opened = way.ready()
    for rows in ([0], [*range(len(texts.prompts))], TWICE):
        voice = Voice(
            [texts.prompts[row] for row in rows],
            opened=opened,
            score=_itself,
            room=WRITTEN,
            pad_id=model.end_id,
            device=model.device,
        )
        for place in range(WRITTEN):
            yield rows, place, voice.logits()
            voice.read(torch.tensor([texts.responses[row][place] for row in rows]).to(model.device))
            if place == WRITTEN // 2 and len(rows) > 1:
                voice.keep(torch.tensor(STAYING, device=model.device))
                rows = [rows[stays] for stays in STAYING]


def _texts(model: "LanguageModel", *, reach: int) -> Texts:
    """Neighbouring pieces of the probe, the prompts longer by so many tokens."""
    ids = model.tokenizer.encode(PROBE, add_special_tokens=False) or [model.end_id]
    room = max(1, min(model.context - WRITTEN, max(PROMPTS) + reach))
    lengths = [min(room, length + reach) for length in PROMPTS]
    rows = [
        [ids[(7 * row + place) % len(ids)] for place in range(length + WRITTEN)]
        for row, length in enumerate(lengths)
    ]
    return Texts(
        [text[:-WRITTEN] for text in rows],
        [text[-WRITTEN:] for text in rows],
    )


def _window(config: Any) -> int:
    """Tokens that the prompts need beyond their own to leave the nearest window."""
    said = (getattr(config, name, None) for name in WINDOWS)
    return min((size for size in said if isinstance(size, int) and 0 < size <= NEAR), default=0)


def _scored(model: "LanguageModel", texts: Texts) -> Tensor:
    """Hidden states that predict each token of the responses [B, WRITTEN, D]."""
    states = model.hidden(model.batch(texts.prompts, texts.responses))
    return states.view(len(texts.prompts), len(texts.responses[0]), -1)


def _noise(model: "LanguageModel", texts: Texts, beside: Tensor, row: int) -> float:
    """How far the first half of a text, read alone, is from the same among others."""
    half = WRITTEN // 2
    alone = _scored(model, Texts([texts.prompts[row]], [texts.responses[row][:half]]))
    return _deviation(alone[0], beside[row, :half])


def _is_exact(model: "LanguageModel") -> bool:
    return model.module.dtype == torch.float32 and not model.autocast


def _deviation(found: Tensor, expected: Tensor) -> float:
    """Largest distance of hidden states [..., D] in parts of their length.

    What is not finite is nobody's to compare; weights like that are told of elsewhere.
    """
    if found.shape != expected.shape:
        return math.inf
    found, expected = found.float(), expected.float()
    finite = expected.isfinite().all(-1)
    off = (found - expected).norm(dim=-1) / expected.norm(dim=-1).clamp_min(1e-30)
    off = off.where(off.isfinite(), math.inf)
    return float(off[finite].max()) if finite.any() else 0.0


def _itself(state: Tensor) -> Tensor:
    return state
