"""vLLM's way to score and to write token ids, as 0.32 has it.

``/v1/completions`` takes ids as its prompt and gives ``prompt_logprobs``: null for the first
token, then the token itself and the k likeliest, each with its rank. They are log-softmax of the
logits at temperature 1 whatever temperature is asked for. Entries of one's own at each position
come from ``/inference/v1/generate``, of Model Runner V2 alone.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distillkit.endpoints.bounded import Malformed
from distillkit.endpoints.questions import Answer, Question
from distillkit.endpoints.tokens import Misfit, Scores, Scoring, Text, Writing, check_echo

ENTRY, TOKEN, REPLY = 640, 64, 1 << 16
"""Bytes of JSON that an entry, a token and the rest may have: 76 an entry are usual, and the
longest tokens of known tokenizers, escaped, have some 600."""
CLAMPED = -9999.0
"""What vLLM's JSON has for log 0."""


class VLLM:
    """vLLM 0.32 and later."""

    NAME, OWN, WRITES = "vLLM", True, True

    def version(self, root: str) -> Question:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        return Question(f"{root}/version", tolerates=frozenset({404, 405}))

    def said_version(self, answer: Answer) -> str | None:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        said = answer.fields().get("version") if answer.status == 200 else None
        return said if isinstance(said, str) else None

    def scoring(self, model: str, root: str, asked: Scoring) -> Question:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        entries = 2 + (asked.k if asked.ids is None else 0)
        size = REPLY + len(asked.tokens) * (entries * ENTRY + TOKEN)
        if asked.ids is None:
            body = {
                "prompt": list(asked.tokens),
                "prompt_logprobs": asked.k,
                "max_tokens": 1,
                "temperature": 1.0,
                "return_token_ids": True,
            }
            return Question("/completions", {"model": model, **body}, len(asked.tokens), size)
        own = np.concatenate([asked.ids, np.array(asked.response, np.uint32)[:, None]], axis=1)
        sampling = {
            "max_tokens": 1,
            "temperature": 1.0,
            "detokenize": False,
            "prompt_logprob_token_ids": own.tolist(),
            "prompt_logprob_start": len(asked.prompt) - 1,
        }
        body = {
            "token_ids": list(asked.tokens),
            "sampling_params": sampling,
            "return_token_ids": True,
        }
        where = f"{root}/inference/v1/generate"
        return Question(where, {"model": model, **body}, len(asked.tokens), size + 8 * own.size)

    def scores(self, answer: Answer, asked: Scoring) -> Scores:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        found = answer.fields()
        if asked.ids is not None:
            check_echo(asked.tokens, found.get("prompt_token_ids"))
            return _own(found.get("prompt_token_id_logprobs"), asked).check(asked)
        choice = _choice(found)
        told = choice.get("prompt_logprobs")
        if told is None:
            raise Misfit(
                "sent no prompt_logprobs, so it cannot score text; vLLM can (vllm serve), and "
                "transformers serve passes over them"
            )
        check_echo(asked.tokens, choice.get("prompt_token_ids"))
        if not isinstance(told, list) or len(told) != len(asked.tokens):
            count = len(told) if isinstance(told, list) else 0
            raise Misfit(f"sent scores of {count} tokens where {len(asked.tokens)} were asked for")
        if told[0] is not None:
            raise Misfit("scored the first token, before which nothing stands: it is misaligned")
        rows = [
            _entries(entries, token, asked.k, place)
            for place, (entries, token) in enumerate(
                zip(told[len(asked.prompt) :], asked.response, strict=True)
            )
        ]
        ids, log_probs, drawn = zip(*rows, strict=True)
        shape = len(rows), asked.k
        return Scores(
            np.array(ids, np.uint32).reshape(shape),
            np.array(log_probs, np.float32).reshape(shape),
            np.array(drawn, np.float32),
        ).check(asked)

    def writing(self, model: str, asked: Writing) -> Question:
        """Asks for text, every setting of its sampling said."""
        body = {
            "model": model,
            "prompt": list(asked.prompt),
            "max_tokens": asked.max_tokens,
            "temperature": asked.temperature,
            "top_k": asked.top_k,
            "top_p": asked.top_p,
            "min_p": asked.min_p,
            # What is left out is taken from the model's own generation settings.
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": asked.seed,
            "stop_token_ids": list(asked.stops),
            "return_token_ids": True,
        }
        count = len(asked.prompt) + asked.max_tokens
        return Question("/completions", body, count, REPLY + count * ENTRY)

    def text(self, answer: Answer, asked: Writing) -> Text:
        """Reads it.

        Raises:
            Misfit: it does not answer what was asked.
            Malformed: it cannot be read, and another attempt may bring better.
        """
        choice = _choice(answer.fields())
        check_echo(asked.prompt, choice.get("prompt_token_ids"))
        tokens, why = choice.get("token_ids"), choice.get("finish_reason")
        if not _whole(tokens) or not tokens:
            raise Misfit("sent no ids of what it wrote")
        if why not in ("stop", "length"):
            raise Malformed(f"a text that ended by {str(why)[:40]!r}")
        return Text(tuple(tokens), why == "length")

    def refusal(self, status: int, why: str, *, field: str, k: int) -> str | None:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        if status == 400 and (most := re.search(r"greater than max allowed: (\d+)", why)):
            # Own entries are asked for with the text's token beside them.
            return (
                f"support.k={k} asks for more entries than the server of {field}.url tells, which "
                f"is {most[1]}. Start it again with --max-logprobs {k + 1}, or lower support.k."
            )
        if status == 400 and "V2 model runner" in why:
            return (
                f"support=student_top_k needs vLLM's Model Runner V2, and the server of {field}.url"
                " runs without it. Start it again with VLLM_USE_V2_MODEL_RUNNER=1 on a GPU, or use "
                "support=teacher_top_k."
            )
        if status == 403 and "enable-scale-out" in why:
            return (
                f"support=student_top_k needs the server of {field}.url to take entries at each "
                "position. Start it again with --enable-scale-out, or use support=teacher_top_k."
            )
        return None


def _choice(found: Mapping[str, Any]) -> dict[str, Any]:
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Malformed("status 200 without a completion")
    return choices[0]


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(each) is int and each >= 0 for each in values)


def _entries(entries: Any, token: int, k: int, place: int) -> tuple[list[int], list[float], float]:
    """Ids, log-probabilities, and that of the text's token, at one position of a response."""
    where = f"at position {place} of a response"
    try:
        found = {int(key): float(value["logprob"]) for key, value in entries.items()}
        ranks = {int(key): value["rank"] for key, value in entries.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Misfit(f"sent no entries {where}") from error
    if token not in found:
        raise Misfit(f"sent no score of the token {token} {where}")
    # The text's token comes beside the likeliest, where it is not one of them.
    ranked = [each for each in found if each != token or ranks[each] in range(1, k + 1)]
    ranked.sort(key=lambda each: (ranks[each], each))
    if [ranks[each] for each in ranked] != [*range(1, k + 1)]:
        raise Misfit(f"sent {len(ranked)} entries {where}, which are not its {k} likeliest")
    return ranked, [found[each] for each in ranked], found[token]


def _own(packed: Any, asked: Scoring) -> Scores:
    """Scores of entries that were asked for, with the text's token as the last one."""
    assert asked.ids is not None
    try:
        table: NDArray[np.float32] = np.load(BytesIO(b64decode(packed, validate=True)))
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise Misfit("sent no scores of the entries that were asked for") from error
    rows, count = asked.ids.shape
    if table.shape != (rows, count + 1):
        raise Misfit(f"sent scores of shape {table.shape}, not {(rows, count + 1)}")
    table = np.maximum(table.astype(np.float32), np.float32(CLAMPED))
    return Scores(asked.ids, table[:, :-1], table[:, -1])
