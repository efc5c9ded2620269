"""ROUGE-L against the references, as instruction following is scored (arXiv:2306.08543)."""

from collections.abc import Callable, Iterable
from math import fsum

from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose
from distillkit.metrics.references import references


@spec("metric/rouge")
class Rouge(Ratios):
    """F1 from 0 to 100: ``rouge_l`` of samples, which MiniLLM reports, and ``rouge_l_greedy``.

    Stemmed, and the best over an example's references. ``rouge_l`` is the mean over all samples,
    which is that of MiniLLM's five seeds where there are five.
    """

    def measure(self, evidence: Evidence) -> Tally:
        score = rouge_l()
        records = {}
        likeliest, drawn = evidence.greedy(Whose.own), evidence.samples(Whose.own)
        for example, greedy, texts in zip(evidence.examples, likeliest, drawn, strict=True):
            evidence.poll()
            known = references(example)
            if known:
                scores = [score(known, text.text) for text in texts]
                records[example.id] = {
                    "rouge_l": [fsum(scores), len(scores)],
                    "rouge_l_greedy": [score(known, greedy.text), 1],
                }
        return Tally(records)


def rouge_l() -> Callable[[Iterable[str], str], float]:
    """A function from references and a text to the text's best F1, from 0 to 100."""
    from rouge_score.rouge_scorer import RougeScorer  # NLTK is slow to import

    scorer = RougeScorer(["rougeL"], use_stemmer=True)

    def score(known: Iterable[str], text: str) -> float:
        return 100 * max(scorer.score(one, text)["rougeL"].fmeasure for one in known)

    return score
