"""Teacher and student on the ids that both can predict."""

from dataclasses import replace

import torch

from distillkit.core.errors import ModelError
from distillkit.models.language_model import LanguageModel
from distillkit.models.vocabulary import RealIds, among, only_added


def confine(model: LanguageModel, ids: RealIds) -> None:
    """Let a model predict these ids and no others."""
    holes = None
    if ids.holes:
        holes = torch.tensor(ids.holes, dtype=torch.long, device=model.device)
    model.head = replace(model.head, vocabulary=ids.end, holes=holes)
    model.prompts.unscored = ids.unscored


def share_ids(teacher: LanguageModel, student: LanguageModel) -> list[str]:
    """Let both models predict the same ids: those of tokens that both have, and have a row for.

    Returns:
        Added tokens that one of the tokenizers has alone, by id.

    Raises:
        ModelError: they differ in more than added tokens, or in one that ends a text.
    """
    ours, theirs = student.tokenizer, teacher.tokenizer
    left, right = ours.get_vocab(), theirs.get_vocab()
    alone = frozenset[str]()
    if left != right:
        added = {str(each) for side in (ours, theirs) for each in side.get_added_vocab()}
        found = only_added(left, right, added=added)
        if found is None:
            differing = sorted(left.items() ^ right.items(), key=lambda item: item[1])
            raise ModelError(
                f"teacher.name and student.name have different tokenizers ({len(right)} and "
                f"{len(left)} entries, first difference {differing[0][0]!r}). "
                "Choose two models of one family."
            )
        alone = found
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
        if (model.head.vocabulary, model.prompts.unscored) != (ids.end, ids.unscored):
            confine(model, ids)
    every = left | right
    return sorted(alone, key=lambda token: every[token])
