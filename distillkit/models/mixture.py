"""Text that two models write together, every token drawn from a mixture of both.

p~ = a p + (1 - a) q with the teacher's p and the student's q, token by token (MiniLLM,
arXiv:2306.08543, eq. 4). What each of them thought of every token is kept, so that an importance
weight q / p~ (eq. 5) needs no second look.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from distillkit.core.types import Author, Response
from distillkit.models.generation import write
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling, draw, filtered, log_of

FADING = -87.0
"""Below this an fp32 probability has lost digits, or is 0; log(2^-126) is -87.3."""


def generate_mixture(
    student: LanguageModel,
    teacher: LanguageModel,
    *,
    prompts: Sequence[Sequence[int]],
    teacher_prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    share: float,
    seed: int | Sequence[int],
    poll: Callable[[], None] = lambda: None,
) -> list[Response]:
    """Write one response to each prompt, as :func:`distillkit.models.generation.generate` does.

    With a share of 0 the texts and ``log_probs`` are those of the student alone, bit for bit, and
    with a share of 1 those of the teacher, to rounding where it makes other batches of its prompts.
    A response ends at either model's end tokens, and where the context of either is full.

    Args:
        student: one author.
        teacher: the other, on the same device and with the same vocabulary.
        prompts: token ids as the student reads them, none empty.
        teacher_prompts: the same as the teacher reads them.
        sampling: temperature and filters shape each model's distribution before they are mixed.
        share: weight of the teacher, in [0, 1].
        seed: of this call's own generator, or one seed for each row.
        poll: called between batches; may raise to stop.

    Raises:
        DataError: a prompt fills a model's context.
        ModelError: the logits of either are not finite.
    """

    def pick(logits: Sequence[Tensor], uniform: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        return choose_together(*logits, sampling=sampling, uniform=uniform, share=share)

    return write(
        [student, teacher],
        [prompts, teacher_prompts],
        pick=pick,
        sampling=sampling,
        seed=seed,
        author=Author.mixture,
        poll=poll,
    )


def choose_together(
    student: Tensor, teacher: Tensor, *, sampling: Sampling, uniform: Tensor, share: float
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """One token for each row from the mixture, by inverting its distribution function in fp64.

    Args:
        student: fp32 logits [B, V].
        teacher: fp32 logits [B, V].
        sampling: temperature and filters, of each model's distribution; greedy takes the likeliest
            token of the mixture at temperature 1.
        uniform: fp64 draws in [0, 1) [B].
        share: weight of the teacher.

    Returns:
        Token ids [B], and the log-probability of each [B] under the mixture (0 when greedy), the
        student and the teacher, these two at temperature 1 and without filters. All three are
        divided by one sum, so that at a share of 0 the student's is the mixture's, bit for bit.
        They are NaN where logits are not finite.
    """
    own = student.softmax(-1), teacher.softmax(-1)
    if sampling.temperature == 0:
        # fp64 tells any two fp32 logits apart, so that a share of 0 or 1 is that model's arg-max.
        peak = torch.lerp(*(side.double().softmax(-1) for side in (student, teacher)), share).max(
            -1
        )
        tokens, log_prob = peak.indices, peak.values - peak.values
        total = torch.ones_like(log_prob)
    else:
        shaped = own
        if not sampling.neutral:
            shaped = tuple(filtered(side, sampling).softmax(-1) for side in (student, teacher))
        # lerp returns its ends exactly, and 0 only where both are 0.
        mixed = torch.lerp(*shaped, share)
        tokens, total = draw(mixed, uniform)
        log_prob = log_of(mixed, tokens, total)
    of_student, of_teacher = (
        _log_of_any(probabilities, tokens, total, logits)
        for probabilities, logits in zip(own, (student, teacher), strict=True)
    )
    return tokens, (log_prob, of_student, of_teacher)


def _log_of_any(probabilities: Tensor, tokens: Tensor, total: Tensor, logits: Tensor) -> Tensor:
    """:func:`log_of` of a token that these probabilities did not draw, and that may underflow."""
    peak = logits.max(-1)
    below = logits.gather(-1, tokens[:, None])[:, 0].double() - peak.values.double()
    found = log_of(probabilities, tokens, total)
    return torch.where(found >= FADING, found, below + log_of(probabilities, peak.indices, total))
