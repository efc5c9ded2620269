"""Evidence in memory, and tables whose evidence is known exactly."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from distillkit.core.store import Store
from distillkit.core.types import Answer, Example, Message
from distillkit.metrics.evidence import Compared, Foretold, Options, Whose

WORDS = ("stop", "red", "4", "blue.", "Green", "7", "the")
"""What each entry of a table is as text; the first is the end token."""
END = 0


@dataclass
class KnownEvidence:
    """The protocol ``Evidence``, with everything given."""

    examples: Sequence[Example]
    greedy_texts: dict[Whose, list[Answer]] = field(default_factory=dict)
    sampled: dict[Whose, list[list[Answer]]] = field(default_factory=dict)
    both: dict[Whose, list[list[Compared]]] = field(default_factory=dict)
    choices: list[Options | None] | None = None
    name: str = "student"
    poll: Callable[[], None] = lambda: None
    say: Callable[[str], None] = print
    store: Store = field(default_factory=lambda: Store(Path("nowhere")))

    def greedy(self, source: Whose) -> Sequence[Answer]:
        return self.greedy_texts[source]

    def samples(self, source: Whose) -> Sequence[Sequence[Answer]]:
        return self.sampled[source]

    def compared(self, source: Whose) -> Sequence[Sequence[Compared]]:
        return self.both.get(source) or [[] for _ in self.examples]

    def foretold(self, source: Whose) -> Sequence[tuple[Foretold, ...]]:
        """A byte a token and one more a text, of what is compared."""
        return [
            tuple(Foretold(text.log_prob, 1 + len(text.log_prob)) for text in texts)
            for texts in self.compared(source)
        ]

    def reference_log_probs(self) -> Sequence[Sequence[np.ndarray]]:
        return [[text.teacher_log_prob for text in texts] for texts in self.compared(Whose.own)]

    def embeddings(self, encoder: str, texts: Sequence[str]) -> list[np.ndarray]:
        """Shares of letters, as vectors of length 1."""
        counts = [np.array([1 + text.count(c) for c in encoder], dtype=float) for text in texts]
        return [vector / np.linalg.norm(vector) for vector in counts]

    def options(self) -> Sequence[Options | None]:
        return self.choices or [None] * len(self.examples)

    def part(self, places: Sequence[int]) -> "KnownEvidence":
        """The evidence on some of the examples."""

        def of(texts):
            return {source: [column[place] for place in places] for source, column in texts.items()}

        return KnownEvidence(
            [self.examples[place] for place in places],
            of(self.greedy_texts),
            of(self.sampled),
            of(self.both),
            None if self.choices is None else [self.choices[place] for place in places],
        )


def example(name: object, reference: str = "", answer: str = "") -> Example:
    return Example(str(name), (Message("user", "?"),), reference, answer)


def said(text: str, *, answer: str | None = None, correct: bool | None = None) -> Answer:
    """A text of which only the words matter."""
    return Answer(example(""), text, tuple(range(len(text.split()))), False, answer, correct)


def compare(teacher: np.ndarray, own: np.ndarray, first: int, tokens: Sequence[int]) -> Compared:
    """Both tables [V, V] on a text after the token ``first``, from the definitions, in fp64."""
    previous = [first, *tokens[:-1]]
    p, q = teacher[previous], own[previous]
    places = range(len(tokens))

    def top(table: np.ndarray, place: int) -> set[int]:
        return set(np.argsort(-table[place], kind="stable")[:5].tolist())

    return Compared(
        teacher_log_prob=np.log(p[places, tokens]),
        log_prob=np.log(q[places, tokens]),
        teacher_entropy=-(p * np.log(p)).sum(-1),
        entropy=-(q * np.log(q)).sum(-1),
        forward_kl=(p * np.log(p / q)).sum(-1),
        reverse_kl=(q * np.log(q / p)).sum(-1),
        overlap=np.minimum(p, q).sum(-1),
        top1=(p.argmax(-1) == q.argmax(-1)).astype(float),
        top5=np.array([len(top(p, t) & top(q, t)) / min(5, p.shape[1]) for t in places]),
        confidence=q.max(-1),
        hit=(q.argmax(-1) == list(tokens)).astype(float),
    )


def exact_draws(table: np.ndarray, first: int, *, longest: int) -> list[tuple[int, ...]]:
    """Every response with its exact share, for a table of eighths: 8 ** longest of them."""

    def grow(tokens: tuple[int, ...], copies: int) -> Iterator[tuple[int, ...]]:
        if tokens and (tokens[-1] == END or len(tokens) == longest):
            yield from [tokens] * copies
            return
        for token, share in enumerate(table[tokens[-1] if tokens else first]):
            times = share * copies
            assert times == int(times)
            yield from grow((*tokens, token), int(times)) if times else ()

    return list(grow((), 8**longest))


def alive(table: np.ndarray, first: int, *, longest: int) -> np.ndarray:
    """Chance [T, V] that position t is reached after each token, by recursion."""
    rows = [np.eye(len(table))[first]]
    for _ in range(longest - 1):
        row = rows[-1] @ table
        row[END] = 0
        rows.append(row)
    return np.array(rows)


def world(count: int, *, seed: int = 0) -> KnownEvidence:
    """Random evidence of every kind, with gaps: no reference, no answer, no options, no words."""
    rng = np.random.default_rng(seed)
    tables = {source: rng.dirichlet(np.ones(len(WORDS)), len(WORDS)) for source in Whose}
    examples = [
        example(f"e{n}", "" if n % 5 == 4 else "the red 4 the blue. 7", "" if n % 4 == 3 else "4")
        for n in range(count)
    ]

    def text(one: Example, tokens: tuple[int, ...]) -> Answer:
        words = [WORDS[token] for token in tokens if token != END]
        numbers = [word for word in words if word.isdigit()]
        answer = numbers[-1] if numbers else None
        correct = answer == one.answer if one.answer else None
        return Answer(one, " ".join(words), tokens, tokens[-1] != END, answer, correct)

    def draw(source: Whose) -> tuple[int, ...]:
        tokens = [int(rng.integers(1, len(WORDS)))]
        while tokens[-1] != END and len(tokens) < 30:
            tokens.append(int(rng.choice(len(WORDS), p=tables[source][tokens[-1]])))
        return tuple(tokens[1:])

    def on(drawn: tuple[int, ...]) -> Compared:
        found = compare(tables[Whose.teacher], tables[Whose.own], 1, drawn)
        parts = {part.name: getattr(found, part.name) for part in fields(Compared)}
        return Compared(**{name: part.astype(np.float32) for name, part in parts.items()})

    drawn = {source: [[draw(source) for _ in range(4)] for _ in examples] for source in Whose}
    for place, one in enumerate(examples):
        drawn[Whose.dataset][place] = drawn[Whose.dataset][place][: bool(one.reference)]
    sampled = {
        source: [
            [text(one, tokens) for tokens in texts]
            for one, texts in zip(examples, drawn[source], strict=True)
        ]
        for source in (Whose.own, Whose.teacher)
    }
    return KnownEvidence(
        examples,
        {source: [texts[0] for texts in column] for source, column in sampled.items()},
        sampled,
        {source: [[on(one) for one in texts] for texts in drawn[source]] for source in Whose},
        [
            None if n % 3 == 2 else Options(tuple(rng.dirichlet(np.ones(4)).tolist()), n % 4)
            for n in range(count)
        ],
    )
