"""How much the worked response resembles the teacher's (arXiv:2505.15442, section 4)."""

from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose
from distillkit.metrics.rouge import rouge_l


@spec("metric/similarity")
class Similarity(Ratios):
    """Of greedy responses, the teacher's as reference: ``bleu_to_teacher``, ``rouge_l_to_teacher``.

    From 0 to 100, means over examples. BLEU is sacrebleu's sentence BLEU: tokenizer 13a,
    exponential smoothing, effective order. The paper does not say which it took. With an encoder,
    ``cosine_to_teacher`` too: the cosine of both texts' embeddings, times 100.
    """

    COMPARES: ClassVar = True

    encoder: str | None = None
    """Hub name or folder of an encoder of transformers, such as a sentence embedding model."""

    def measure(self, evidence: Evidence) -> Tally:
        from sacrebleu.metrics import BLEU

        bleu, rouge = BLEU(effective_order=True), rouge_l()
        left, right = evidence.greedy(Whose.own), evidence.greedy(Whose.teacher)
        records: dict[str, dict[str, list[float]]] = {}
        for example, own, teacher in zip(evidence.examples, left, right, strict=True):
            evidence.poll()
            records[example.id] = {
                "bleu_to_teacher": [bleu.sentence_score(own.text, [teacher.text]).score, 1],
                "rouge_l_to_teacher": [rouge([teacher.text], own.text), 1],
            }
        if self.encoder is not None:
            sides = [
                evidence.embeddings(self.encoder, [text.text for text in side])
                for side in (left, right)
            ]
            for record, ours, theirs in zip(records.values(), *sides, strict=True):
                record["cosine_to_teacher"] = [100 * float(ours @ theirs), 1]
        return Tally(records)
