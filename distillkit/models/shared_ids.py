"""Teacher and student on the ids that both can predict."""

import json
from typing import Any

from distillkit.core.errors import ModelError
from distillkit.models.language_model import LanguageModel
from distillkit.models.reading import PROBE
from distillkit.models.vocabulary import among, only_added


def check_ids(
    first: LanguageModel, second: LanguageModel, *, names: tuple[str, str], instead: str = ""
) -> frozenset[str]:
    """Two models must give every token the same id, and split text alike.

    Equal sizes are not enough: two checkpoints can share a width and encode differently.

    Args:
        first: one of them.
        second: the other.
        names: of both, for error messages.
        instead: what else can be done, for error messages.

    Returns:
        Added tokens that one of the tokenizers has alone.

    Raises:
        ModelError: they differ in more than added tokens, or in how they split a text.
    """
    return check_tokenizers(first.tokenizer, second.tokenizer, names=names, instead=instead)


def check_tokenizers(
    ours: Any, theirs: Any, *, names: tuple[str, str], instead: str = ""
) -> frozenset[str]:
    """:func:`check_ids` of two models by their tokenizers alone.

    Raises:
        ModelError: as there.
    """
    left, right = ours.get_vocab(), theirs.get_vocab()
    added = {str(each) for side in (ours, theirs) for each in side.get_added_vocab()}
    alone = only_added(left, right, added=added) if left != right else frozenset[str]()
    both, more = " and ".join(reversed(names)), f", or {instead}" if instead else ""
    if alone is None:
        differing = sorted(left.items() ^ right.items(), key=lambda item: item[1])
        raise ModelError(
            f"{both} have different tokenizers ({len(right)} and {len(left)} entries, first "
            f"difference {differing[0][0]!r}). Choose two models of one family{more}."
        )
    if ours.encode(PROBE) != theirs.encode(PROBE) or merges_of(ours) != merges_of(theirs):
        raise ModelError(
            f"{both} share a vocabulary but split text differently. Choose two models of one "
            f"family{more}."
        )
    return alone


def differ(first: LanguageModel, second: LanguageModel) -> bool:
    """Whether two models have tokenizers of their own."""
    try:
        check_ids(first, second, names=("", ""))
    except ModelError:
        return True
    return False


def share_ids(teacher: LanguageModel, student: LanguageModel, *, instead: str = "") -> list[str]:
    """Let both models predict the same ids: those of tokens that both have, and have a row for.

    Args:
        teacher: one of them.
        student: the other.
        instead: what else can be done where they have tokenizers of their own.

    Returns:
        Added tokens that one of the tokenizers has alone, by id.

    Raises:
        ModelError: they differ in more than added tokens, in one that ends a text, or in how they
            split one.
    """
    left, right = student.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    alone = check_ids(student, teacher, names=("student.name", "teacher.name"), instead=instead)
    both = {left[token] for token in left.keys() - alone}
    scored = both - teacher.prompts.unscored - student.prompts.unscored
    for side, model in (("student", student), ("teacher", teacher)):
        if model.end_id not in scored:
            raise ModelError(
                f"{side}.name ends text with {model.tokenizer.eos_token!r}, which the other "
                "model does not have. Choose two models of one family."
            )
    for model, vocabulary in ((teacher, right), (student, left)):
        ids = among(scored, vocabulary.values())
        if (model.vocabulary, model.prompts.unscored) != (ids.end, ids.unscored):
            model.confine(ids)
    every = left | right
    return sorted(alone, key=lambda token: every[token])


def share_with(tokenizer: Any, student: LanguageModel, *, name: str) -> None:
    """Let a student predict no id that a model which is served elsewhere does not know.

    Args:
        tokenizer: of that model, whose head is not here.
        student: predicts from now on the ids that both have.
        name: of the tokenizer's field, for error messages.

    Raises:
        ModelError: the two differ in more than added tokens, or in how they split a text.
    """
    alone = check_tokenizers(student.tokenizer, tokenizer, names=("student.name", name))
    ours = student.tokenizer.get_vocab()
    known = {number for token, number in ours.items() if token not in alone}
    ids = among(known - student.prompts.unscored, ours.values())
    if (student.vocabulary, student.prompts.unscored) != (ids.end, ids.unscored):
        student.confine(ids)


def merges_of(tokenizer: Any) -> Any:
    """The rules by which a fast tokenizer joins pieces; None for a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend and json.loads(backend.to_str())["model"].get("merges")
