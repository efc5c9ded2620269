"""SGLang's way to score token ids: ``/generate`` with ``input_ids``.

Read in its source and its documentation, and not run here: a server of it needs a GPU. It takes one
list of entries of one's own for a whole request, so supports of the student's are not for it.
"""

from typing import Any

import numpy as np

from distillkit.endpoints.questions import Answer, Question
from distillkit.endpoints.tokens import Misfit, Scores, Scoring, check_echo

ENTRY, REPLY = 64, 1 << 16
"""Bytes of JSON that an entry and the rest may have; no text of tokens is asked for."""


class SGLang:
    """SGLang, as its native API has been since 0.4."""

    NAME, OWN, WRITES = "SGLang", False, False

    def version(self, root: str) -> Question:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        return Question(f"{root}/get_server_info", tolerates=frozenset({404, 405}))

    def said_version(self, answer: Answer) -> str | None:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        said = answer.fields().get("version") if answer.status == 200 else None
        return said if isinstance(said, str) else None

    def scoring(self, model: str, root: str, asked: Scoring) -> Question:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        body = {
            "input_ids": list(asked.tokens),
            "sampling_params": {"max_new_tokens": 1, "temperature": 1.0},
            "return_logprob": True,
            "logprob_start_len": 0,
            "top_logprobs_num": asked.k,
        }
        size = REPLY + len(asked.tokens) * (asked.k + 1) * ENTRY
        return Question(f"{root}/generate", body, len(asked.tokens), size)

    def scores(self, answer: Answer, asked: Scoring) -> Scores:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        meta = answer.fields().get("meta_info")
        told = meta.get("input_token_logprobs") if isinstance(meta, dict) else None
        if not isinstance(told, list):
            raise Misfit("sent no input_token_logprobs, so it cannot score text")
        shape = len(asked.response), asked.k
        try:
            check_echo(asked.tokens, [int(entry[1]) for entry in told])
            if told[0][0] is not None:
                raise Misfit("scored the first token, before which nothing stands")
            drawn = [float(entry[0]) for entry in told[len(asked.prompt) :]]
            rows = _rows(meta, asked)
            ids = np.array([[int(entry[1]) for entry in row] for row in rows], np.uint32)
            entries = np.array([[float(entry[0]) for entry in row] for row in rows], np.float32)
            found = Scores(ids.reshape(shape), entries.reshape(shape), np.array(drawn, np.float32))
        except (TypeError, ValueError, LookupError) as error:
            raise Misfit(
                f"sent entries that are not {asked.k} at each of {shape[0]} positions"
            ) from error
        return found.check(asked)

    def refusal(self, status: int, why: str, *, field: str, k: int) -> str | None:
        """See :class:`~distillkit.endpoints.tokens.Engine`."""
        return None


def _rows(meta: Any, asked: Scoring) -> list[Any]:
    """The likeliest entries of the response's positions."""
    if not asked.k:
        return [[] for _ in asked.response]
    return list(meta["input_top_logprobs"][len(asked.prompt) :])
