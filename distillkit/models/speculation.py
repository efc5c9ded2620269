"""Speculative decoding: a draft proposes, the target reads all proposals at once and decides.

What is written is the target's own, whatever the draft is worth. The target's opinion of every
token is had on the way. Each row has draws of its own for every place of its text, so a response
depends neither on the rows beside it nor on where their rounds end. A place may be proposed anew
after a rejection before it, with the same draws: nothing that was kept depends on them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from distillkit.core.types import Author, Response
from distillkit.divergences.apart import FLOOR
from distillkit.models.acceptance import overlap, shaped, verify
from distillkit.models.drawing import check_room, cut, draws
from distillkit.models.language_model import evaluating
from distillkit.models.sampling import Sampling, draw
from distillkit.models.side import Ready, Side
from distillkit.supports.base import Sparse

Hear = Callable[[int, Sequence[int]], None]
"""Told, round by round, which prompt was answered by which further tokens."""


@dataclass(frozen=True, slots=True)
class Speculated:
    """A response and how it came about.

    Attributes:
        response: the target's text.
        rounds: passes of the target.
        overlaps: chance that a proposal is accepted where each token stands, sum of min(p, q) of
            the distributions that both draw from; NaN where nothing was proposed.
        accepted: whether each token was proposed and accepted.
        labels: the target's opinion of each token at temperature 1, where it is asked for.
    """

    response: Response
    rounds: int
    overlaps: tuple[float, ...] = field(repr=False)
    accepted: tuple[bool, ...] = field(repr=False)
    labels: Sparse | None = field(default=None, repr=False)

    @property
    def verified(self) -> int:
        """Proposals that were accepted or replaced."""
        return sum(each == each for each in self.overlaps)


class Speculator:
    """A target and its draft, ready to write.

    Args:
        target: whose text it is.
        draft: proposes, as it was when it was made ready.
        k: tokens proposed in a round.
        labels: entries of the target's opinion that are kept of each token; 0 for none.
    """

    def __init__(self, target: Ready, draft: Ready, *, k: int, labels: int = 0) -> None:
        self._target, self._draft, self._k, self._labels = target, draft, k, labels

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        draft_prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        seed: int | Sequence[int],
        author: Author,
        poll: Callable[[], None] = lambda: None,
        hear: Hear | None = None,
    ) -> list[Speculated]:
        """One response to each prompt, in their order.

        Args:
            prompts: token ids as the target reads them, none empty.
            draft_prompts: the same as the draft reads them.
            sampling: shapes the target's distribution, and the draft's proposals alike.
            seed: of this call's own generator, or one seed for each row.
            author: whose text it is said to be.
            poll: called between batches; may raise to stop.
            hear: told of tokens as they are had.

        Raises:
            DataError: a prompt fills a model's context.
            ModelError: the target's logits are not finite.
        """
        target, draft = self._target.model, self._draft.model
        check_room(target, prompts)
        check_room(draft, draft_prompts)
        limits = [min(sampling.max_new_tokens, target.context - len(text)) for text in prompts]
        uniform = draws(seed, len(limits), 3 * sampling.max_new_tokens)
        uniform = uniform.to(target.device).view(len(limits), -1, 3)
        order = sorted(range(len(limits)), key=lambda row: len(prompts[row]))
        written: dict[int, Speculated] = {}
        with evaluating(target), evaluating(draft):
            for start in range(0, len(order), sampling.batch_size):
                poll()
                part = order[start : start + sampling.batch_size]
                texts = [[every[row] for row in part] for every in (prompts, draft_prompts)]
                batch = self._batch(
                    *texts,
                    limits=torch.tensor([limits[row] for row in part], device=target.device),
                    uniform=uniform[part],
                    heard=None if hear is None else (hear, part),
                )
                found = batch.write(sampling, k=self._k, labels=self._labels, author=author)
                written.update(zip(part, found, strict=True))
        return [written[row] for row in range(len(order))]

    def _batch(
        self,
        prompts: Sequence[Sequence[int]],
        draft_prompts: Sequence[Sequence[int]],
        *,
        limits: Tensor,
        uniform: Tensor,
        heard: tuple[Hear, Sequence[int]] | None,
    ) -> "Batch":
        target, longest = self._target.model, int(limits.max())
        room = longest + min(self._k, longest) + 1
        return Batch(
            Side(self._target, prompts, room),
            Side(self._draft, draft_prompts, room),
            limits=limits,
            uniform=uniform,
            stops=torch.tensor(sorted(target.stop_ids), device=limits.device),
            vocabulary=target.vocabulary,
            heard=heard,
        )


class Batch:
    """Responses that are written side by side.

    Args:
        target: has the last word.
        draft: proposes.
        limits: longest response of each row [B].
        uniform: fp64 draws in [0, 1) [B, T, 3] for each place of a response: which token is
            proposed, whether it is accepted, and which comes instead.
        stops: ids that end a response.
        vocabulary: of both.
        heard: who is told of tokens, and the number of each row there.
    """

    def __init__(
        self,
        target: Side,
        draft: Side,
        *,
        limits: Tensor,
        uniform: Tensor,
        stops: Tensor,
        vocabulary: int,
        heard: tuple[Hear, Sequence[int]] | None = None,
    ) -> None:
        self._heard = heard
        self._target, self._draft, self._stops = target, draft, stops
        self._limits, self._uniform, self._vocabulary = limits, uniform, vocabulary
        self._live = torch.arange(len(limits), device=limits.device)
        self._written, self._rounds = torch.zeros_like(limits), torch.zeros_like(limits)
        self._ended = torch.zeros_like(limits, dtype=torch.bool)
        self._behind = 1
        """Tokens that the draft has still to read."""

    def write(self, sampling: Sampling, *, k: int, labels: int, author: Author) -> list[Speculated]:
        longest = int(self._limits.max())
        shape = len(self._limits), longest + min(k, longest) + 1
        device = self._limits.device
        self._ids = torch.zeros(shape, dtype=torch.long, device=device)
        self._log_probs = torch.zeros(shape, dtype=torch.float64, device=device)
        self._overlaps = torch.full(shape, torch.nan, device=device)
        self._accepted = torch.zeros(shape, dtype=torch.bool, device=device)
        self._labels: list[tuple[Tensor, Sparse]] = []
        while len(self._live):
            self._round(sampling, k, labels)
        return self._told(author)

    def _round(self, sampling: Sampling, k: int, labels: int) -> None:
        live, written = self._live, self._written[self._live]
        count = torch.minimum(self._limits[live] - 1, self._draft.room) - written
        count = count.clamp(0, k)
        steps = int(count.max())
        places = written[:, None] + torch.arange(steps + 1, device=live.device)
        inside = places.clamp_max(self._uniform.shape[1] - 1)
        uniform = self._uniform[live].gather(1, inside[..., None].expand(-1, -1, 3))
        ids = self._ids[live]
        proposed, offered = self._propose(ids, written, uniform[..., 0], steps, sampling)
        tokens = torch.cat([self._target.tail(ids, written, 1), proposed], dim=1)
        logits = self._target.read(tokens, written - 1, self._vocabulary)
        chances = shaped(logits, sampling)
        found = verify(chances, offered, proposed, count, uniform[..., 1:])
        accepted, nth = found.accepted[:, None], torch.arange(steps + 1, device=live.device)
        new = functional.pad(proposed, (0, 1)).scatter(1, accepted, found.token[:, None])
        ends = torch.isin(new, self._stops) & (nth <= accepted)
        real = (nth <= accepted) & (ends.cumsum(1) - ends.long() == 0)
        rows = live[:, None]
        self._ids[rows, places] = new
        self._log_probs[rows, places] = chances.gather(-1, new[..., None])[..., 0].double().log()
        self._accepted[rows, places] = nth < accepted
        if steps:
            tried = overlap(chances[:, :steps], offered)
            verified = nth[:steps] < torch.minimum(accepted + 1, count[:, None])
            self._overlaps[rows, places[:, :steps]] = tried.where(verified, torch.nan)
        if labels:
            where = rows.expand_as(real)[real]
            self._labels.append((where, entries(logits[real], labels)))
        if self._heard is not None:
            hear, numbers = self._heard
            for row, tokens, counted in zip(live.tolist(), new, real, strict=True):
                hear(numbers[row], tokens[counted].tolist())
        self._written[live] += real.sum(1)
        self._rounds[live] += 1
        self._ended[live] = ends.any(1)
        self._behind = 2 if bool((found.accepted == steps).any()) else 1
        self._leave()

    def _propose(
        self, ids: Tensor, written: Tensor, uniform: Tensor, steps: int, sampling: Sampling
    ) -> tuple[Tensor, Tensor]:
        """Token ids [B, steps] and what they were drawn from [B, steps, V]."""
        proposed = ids.new_zeros(len(ids), steps)
        offered = []
        tokens = self._draft.tail(ids, written, self._behind)
        start = written - self._behind
        for step in range(steps):
            logits = self._draft.read(tokens, start, self._vocabulary)[:, -1]
            offered.append(shaped(logits, sampling))
            proposed[:, step] = draw(offered[-1], uniform[:, step])[0]
            tokens, start = proposed[:, step : step + 1], written + step
        if not offered:
            return proposed, torch.zeros(len(ids), 0, self._vocabulary, device=ids.device)
        return proposed, torch.stack(offered, dim=1)

    def _leave(self) -> None:
        """Let go of rows that are finished."""
        live = self._live
        writing = ~self._ended[live] & (self._written[live] < self._limits[live])
        keep = writing.nonzero()[:, 0]
        if len(keep) < len(live):
            self._live = live[keep]
            for side in (self._target, self._draft):
                side.keep(keep)

    def _told(self, author: Author) -> list[Speculated]:
        lengths = self._written.tolist()
        responses = cut(author, self._ids, (self._log_probs,), self._written, self._ended)
        labels: list[Sparse | None] = [None] * len(lengths)
        if self._labels:
            order = torch.cat([rows for rows, _ in self._labels]).sort(stable=True).indices
            parts = zip(*(part for _, part in self._labels), strict=True)
            told = (torch.cat(each)[order].split(lengths) for each in parts)
            labels = [Sparse(*each) for each in zip(*told, strict=True)]
        rows = zip(
            responses,
            self._rounds.tolist(),
            self._overlaps.tolist(),
            self._accepted.tolist(),
            labels,
            strict=True,
        )
        return [
            Speculated(text, rounds, tuple(tried[:length]), tuple(stood[:length]), opinion)
            for length, (text, rounds, tried, stood, opinion) in zip(lengths, rows, strict=True)
        ]


def entries(logits: Tensor, count: int) -> Sparse:
    """The likeliest entries of distributions [N, V], and how likely all others are together."""
    log_probs = logits.float().log_softmax(-1)
    kept = log_probs.topk(min(count, log_probs.shape[-1]), dim=-1)
    rest = log_probs.scatter(-1, kept.indices, FLOOR).logsumexp(-1).clamp_min(FLOOR)
    return Sparse(kept.indices, kept.values, rest)
