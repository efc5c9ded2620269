"""Writes responses: batched, cached, each row with draws of its own.

Prompts of like length go together, so that little is padded. Rows that are finished leave the
batch, so that the longest response is not paid for by all. Several models may have a voice in every
token: each reads the same response behind prompts of its own.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from distillkit.core.types import Author, Response
from distillkit.models.drawing import check_room, cut, draws
from distillkit.models.language_model import Draft, LanguageModel, evaluating
from distillkit.models.sampling import Sampling, choose
from distillkit.models.side import Ready
from distillkit.models.speculation import Speculator
from distillkit.models.voice import Voice

LEAVING = 8
"""The batch is cut when one row in so many has finished: moving the cache costs about a step."""

Pick = Callable[[Sequence[Tensor], Tensor], tuple[Tensor, Sequence[Tensor]]]
"""Every model's logits [B, V] and draws in [0, 1) [B] to token ids [B] and their log-probabilities
[B], in the order of the fields of :class:`Response`."""


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seed: int | Sequence[int],
    author: Author = Author.student,
    draft: Draft | None = None,
    poll: Callable[[], None] = lambda: None,
) -> list[Response]:
    """Write one response to each prompt.

    Args:
        model: the author; left in the mode it was in.
        prompts: token ids, none empty.
        sampling: how tokens are chosen.
        seed: of this call's own generator, or one seed for each row; the global generator is not
            touched. Each row has draws of its own, so that a response does not depend on the rows
            beside it.
        author: whose text it is said to be.
        draft: proposes, for speculative decoding; the model's own, if it has one, where None.
        poll: called between batches; may raise to stop.

    Returns:
        Responses in the order of the prompts.

    Raises:
        DataError: a prompt fills the model's context.
        ModelError: the logits are not finite, as after an update that went astray.
    """

    if (draft := draft or model.draft) is not None:
        speculator = Speculator(Ready(model), Ready(draft.model), k=draft.proposals)
        texts = speculator.write(prompts, prompts, sampling, seed=seed, author=author, poll=poll)
        return [text.response for text in texts]

    def pick(logits: Sequence[Tensor], uniform: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        chosen, log_prob = choose(logits[0], sampling, uniform)
        return chosen, (log_prob,)

    return write(
        [model], [prompts], pick=pick, sampling=sampling, seed=seed, author=author, poll=poll
    )


def write(
    models: Sequence[LanguageModel],
    prompts: Sequence[Sequence[Sequence[int]]],
    *,
    pick: Pick,
    sampling: Sampling,
    seed: int | Sequence[int],
    author: Author,
    poll: Callable[[], None],
) -> list[Response]:
    """:func:`generate` with a voice in every token for each of the models.

    Args:
        models: on one device, with one vocabulary; left in the mode they were in.
        prompts: for each model, its own to every response. The first model's lengths say which
            rows go together.
        pick: chooses each row's next token.
        sampling: longest response and rows side by side.
        seed: as in :func:`generate`.
        author: as in :func:`generate`.
        poll: as in :func:`generate`.
    """
    for model, texts in zip(models, prompts, strict=True):
        check_room(model, texts)
    limits = [
        min(
            sampling.max_new_tokens,
            *(model.context - len(text) for model, text in zip(models, row, strict=True)),
        )
        for row in zip(*prompts, strict=True)
    ]
    uniform = draws(seed, len(limits), sampling.max_new_tokens).to(models[0].device)
    order = sorted(range(len(limits)), key=lambda row: len(prompts[0][row]))
    stops = frozenset[int]().union(*(model.stop_ids for model in models))
    written: dict[int, Response] = {}
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
        speakers = [_speaker(model) for model in models]
        for start in range(0, len(order), sampling.batch_size):
            poll()
            part = order[start : start + sampling.batch_size]
            room = [limits[row] for row in part]
            voices = [
                speaker([texts[row] for row in part], max(room))
                for texts, speaker in zip(prompts, speakers, strict=True)
            ]
            answers = _write(voices, pick, author, limits=room, stops=stops, uniform=uniform[part])
            written.update(zip(part, answers, strict=True))
    return [written[row] for row in range(len(order))]


def _speaker(model: LanguageModel) -> Callable[[Sequence[Sequence[int]], int], Voice]:
    """What begins a batch with the model's weights as they are now: prompts, and room behind."""
    opened, score = model.way.ready(), model.head.scorer()
    return lambda prompts, room: Voice(
        prompts, opened=opened, score=score, room=room, pad_id=model.end_id, device=model.device
    )


def _write(
    voices: Sequence[Voice],
    pick: Pick,
    author: Author,
    *,
    limits: Sequence[int],
    stops: frozenset[int],
    uniform: Tensor,
) -> list[Response]:
    device, rows, room = uniform.device, len(limits), max(limits)
    limit, ends = (torch.tensor(ids, device=device) for ids in (limits, sorted(stops)))
    chosen_ids = torch.zeros(rows, room, dtype=torch.long, device=device)
    log_probs: list[Tensor] = []
    lengths, ended = torch.zeros_like(limit), torch.zeros(rows, dtype=torch.bool, device=device)
    live = torch.arange(rows, device=device)
    for step in range(room):
        chosen, found = pick([voice.logits() for voice in voices], uniform[live, step])
        log_probs = log_probs or [torch.zeros_like(uniform) for _ in found]
        chosen_ids[live, step] = chosen
        for kept, log_prob in zip(log_probs, found, strict=True):
            kept[live, step] = log_prob.double()
        stopped = torch.isin(chosen, ends)
        writing = lengths[live] == 0
        over = writing & (stopped | (limit[live] == step + 1))
        if over.any():
            lengths[live[over]], ended[live[over]] = step + 1, stopped[over]
        left = int((writing & ~over).sum())
        if left == 0:
            break
        for voice in voices:
            voice.read(chosen)
        if len(live) - left >= max(1, len(live) // LEAVING):
            keep = (writing & ~over).nonzero()[:, 0]
            live = live[keep]
            for voice in voices:
                voice.keep(keep)
    return cut(author, chosen_ids, log_probs, lengths, ended)
