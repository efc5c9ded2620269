"""Says when training on one's own text begins to go wrong, from the numbers of its updates.

The failures: repetition, length inflation and collapse (Stable-OPD, arXiv:2604.08527), responses
that shrink and rewards that are hacked (MiniLLM, arXiv:2306.08543, sections 2.2 and 3.3).
"""

import math
import operator
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

from distillkit.core.bounds import FROM_ZERO, POSITIVE, SHARE, check_range


@dataclass(kw_only=True, slots=True)
class GuardSettings:
    """Bounds on the mean of the last updates; null turns a rule off. No bound changes a result."""

    repetition: float | None = 0.5
    """Most of a response's 4-grams that it may have had before, as a share."""
    length_ratio: float | None = 2.0
    """Longest responses, over their length in the first ``window`` updates."""
    shrinkage: float | None = 0.1
    """Shortest responses, over their length in the first ``window`` updates."""
    truncated_share: float | None = 0.5
    """Most responses that the length limit may cut, as a share."""
    entropy: float | None = 0.01
    """Least entropy of the student, in nats a token."""
    reverse_kl: float | None = None
    """Most KL(student || teacher), in nats a token."""
    clipped_share: float | None = 0.5
    """Most tokens that a policy gradient may clip, as a share."""
    importance_weight: float | None = 0.2
    """How far the mean weight of tokens that a mixture wrote may be from 1."""
    hacking: float | None = 0.5
    """How far the teacher's log-probability may fall from its height while the reward is above
    what it was there, in nats a token."""
    window: int = 10
    """Updates averaged, the newest that have the number. With fewer no rule speaks."""
    stop: bool = False
    """Save and end the run when a rule is broken; else only say so."""

    def __post_init__(self) -> None:
        hint = "null turns the rule off."
        shares = ("repetition", "truncated_share", "clipped_share")
        check_range(self, "guard.", SHARE, *shares, hint=f"It is a share; {hint}")
        first, others = ("length_ratio", "shrinkage", "entropy"), ("reverse_kl", "hacking")
        check_range(self, "guard.", FROM_ZERO, *first, *others, "importance_weight", hint=hint)
        check_range(self, "guard.", POSITIVE, "window")


class History:
    """Running means of the numbers that rules read."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._recent: dict[str, deque[tuple[int, float]]] = {}
        self._first: dict[str, float] = {}
        self._height: tuple[float, float] | None = None

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take in one update; what is no finite number is passed over."""
        for name in READ & metrics.keys():
            if not math.isfinite(metrics[name]):
                continue
            recent = self._recent.setdefault(name, deque(maxlen=self._window))
            recent.append((step, metrics[name]))
            if (mean := self.mean(name)) is not None:
                self._first.setdefault(name, mean)
        teacher, reward = self.mean("teacher_log_prob"), self.mean("reward")
        if teacher is None or reward is None:
            return
        if self._height is None or teacher > self._height[0]:
            self._height = teacher, reward

    def mean(self, name: str) -> float | None:
        """Mean of the last window; None while there are too few."""
        recent = self._recent.get(name, ())
        return fmean(value for _, value in recent) if len(recent) == self._window else None

    def ratio(self, name: str) -> float | None:
        """That mean over the one of the first window."""
        mean, first = self.mean(name), self._first.get(name)
        return mean / first if mean is not None and first else None

    def distance(self, name: str) -> float | None:
        """How far that mean is from 1."""
        mean = self.mean(name)
        return None if mean is None else abs(mean - 1)

    def hacking(self) -> float | None:
        """Fall of the teacher's log-probability from its height; 0 where the reward fell too."""
        teacher, reward = self.mean("teacher_log_prob"), self.mean("reward")
        if teacher is None or reward is None or self._height is None:
            return None
        height, then = self._height
        return height - teacher if reward > then else 0.0

    def steps(self, name: str) -> tuple[int, int]:
        """First and last step of the last window."""
        recent = self._recent[name]
        return recent[0][0], recent[-1][0]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that may go wrong."""

    field: str
    """Of the settings, its bound."""
    words: str
    """What the value is."""
    meaning: str
    """What it usually means."""
    remedy: str
    """What to try."""
    value: Callable[[History, str], float | None] = History.mean
    """What is compared with the bound, of the first metric; None while it is not known."""
    metrics: tuple[str, ...] = ()
    """Numbers of an update that it reads; the one of the field's name if empty."""
    broken: Callable[[float, float], bool] = operator.gt
    """Whether a value and a bound do not agree."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Numbers of an update that it reads."""
        return self.metrics or (self.field,)


RULES = (
    Rule(
        "repetition",
        words="the share of repeated 4-grams",
        meaning="the student's text repeats itself, which comes before it grows and collapses",
        remedy="policy=teacher_mixed, policy=mixed or a lower optimizer.lr",
    ),
    Rule(
        "length_ratio",
        words="the length of responses over that of the first updates",
        meaning="the student's text grows, as before a collapse or where length is rewarded",
        remedy="objective.length_normalisation=true, policy=teacher_mixed or a lower optimizer.lr",
        value=History.ratio,
        metrics=("response_length",),
    ),
    Rule(
        "shrinkage",
        words="the length of responses over that of the first updates",
        meaning="short responses are the cheapest, so the student ends at once",
        remedy="objective.length_normalisation=true, policy=mixed or a lower optimizer.lr",
        value=History.ratio,
        metrics=("response_length",),
        broken=operator.lt,
    ),
    Rule(
        "truncated_share",
        words="the share of responses cut by the length limit",
        meaning="much of the text never ends, so that ending is hardly learned",
        remedy="a larger rollout.max_new_tokens, or policy=mixed where the text only rambles",
    ),
    Rule(
        "entropy",
        words="the student's entropy in nats a token",
        meaning="the student always writes the same, and so can find nothing better",
        remedy="policy=mixed, divergence=jsd or a lower optimizer.lr",
        broken=operator.lt,
    ),
    Rule(
        "reverse_kl",
        words="KL(student || teacher) in nats a token",
        meaning="the student writes what the teacher would not",
        remedy="policy=teacher_mixed or a lower optimizer.lr",
    ),
    Rule(
        "clipped_share",
        words="the share of clipped tokens",
        meaning="the student has gone far from the one that wrote the text, and learns little",
        remedy="a lower optimizer.lr",
    ),
    Rule(
        "importance_weight",
        words="the distance of the mean importance weight from 1",
        meaning="the tokens were not drawn from the mixture that the weights speak of",
        remedy="rollout.top_k=0 rollout.top_p=1 rollout.min_p=0",
        value=History.distance,
    ),
    Rule(
        "hacking",
        words="the fall of the teacher's log-probability, in nats a token, under a risen reward",
        meaning="the reward is hacked: it rises with text that the teacher would not write",
        remedy="policy=teacher_mixed, objective.length_normalisation=true or a lower optimizer.lr",
        value=lambda history, _: history.hacking(),
        metrics=("reward", "teacher_log_prob"),
    ),
)

READ = {name for rule in RULES for name in rule.reads}


class Guard:
    """Watches the updates of one run.

    It has no state to save: a resumed run shows it the rows of metrics.jsonl again, and then it
    stands where it stood, or where other bounds would have put it.

    A rule that is broken has recovered when it was kept for ``window`` judgements in a row, so that
    a number about its bound does not warn at every crossing.

    Attributes:
        broken: the warning of each rule that is broken and has not recovered, by field.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings, self._history = settings, History(settings.window)
        self._kept: Counter[str] = Counter()
        self.broken: dict[str, str] = {}

    def look(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """Take in one update, and say what begins to be wrong.

        Args:
            step: of the update.
            metrics: its numbers, as in a row of metrics.jsonl; others may be among them.

        Returns:
            A line for each rule that begins to be broken, or is again after it recovered.
        """
        self._history.add(step, metrics)
        begun = []
        for rule in RULES:
            field, value = rule.field, rule.value(self._history, rule.reads[0])
            bound = getattr(self._settings, field)
            if bound is None or value is None or not metrics.keys() & rule.reads:
                continue
            if not rule.broken(value, bound):
                self._kept[field] += 1
                if self._kept[field] >= self._settings.window:
                    self.broken.pop(field, None)
                continue
            self._kept[field] = 0
            if field not in self.broken:
                self.broken[field] = self._warning(rule, value, bound)
                begun.append(self.broken[field])
        return begun

    def _warning(self, rule: Rule, value: float, bound: float) -> str:
        first, last = self._history.steps(rule.reads[0])
        side = "above" if rule.broken is operator.gt else "below"
        return (
            f"since step {last} {rule.words} is {value:.3g} (mean of steps {first} to {last}), "
            f"{side} guard.{rule.field}={bound:g}: {rule.meaning}. Try {rule.remedy}."
        )

    @property
    def stops(self) -> bool:
        """Whether the run is to end here."""
        return self._settings.stop and bool(self.broken)

    def verdict(self) -> str:
        """The sentence for a run that ends here."""
        return (
            f"guard.stop=true ended the run: {' '.join(self.broken.values())} "
            "The state is saved: the same command with guard.stop=false goes on from there."
        )
