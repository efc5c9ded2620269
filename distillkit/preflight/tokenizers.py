"""Do both sides give every text the same ids?"""

from collections.abc import Iterator

from distillkit.models.shared_ids import share_ids
from distillkit.preflight.finding import Finding, fatal, ok
from distillkit.preflight.foreign import aligned_share, is_foreign, overlap
from distillkit.preflight.subject import Subject

PROBES = (
    "The quick brown fox jumps over the lazy dog's back, doesn't it?",
    "0 7 42 1234567890 3.14159 1,000,000 -5 2^10 50% $9.99",
    "  two spaces,\tone\ttab,\n\n\ta blank line\r\n and a trailing space ",
    "def f(x: int) -> str:\n    return f'{x!r}' if x >= 0 else \"\\n\"  # why?",
    "Überraschung, déjà vu, naïve, año, Łódź, ﬁne, e\u0301",
    "Привет мир, γειά σου, שלום, नमस्ते, 你好，世界, こんにちは, 안녕",
    "🙂 👩‍👩‍👧 → ∑ x² ≤ ½ “quoted” — dash\u00a0no-break\u200bzero",
    "UPPER lower CamelCase snake_case http://example.org/a?b=c#d <tag>&amp;",
    "aaaaaaaaaaaaaaaa ======== ........ !!!!",
)
"""Text of the kinds on which tokenizers of one vocabulary are known to part."""


def vocabulary(subject: Subject) -> Iterator[Finding]:
    """Every entry has one id on both sides, and pieces are joined by the same rules."""
    if is_foreign(subject):
        yield from overlap(subject)
        return
    share_ids(subject.teacher, subject.student)
    yield ok(f"{subject.student.head.real} real ids with the same tokens and merges on both sides")


def encodings(subject: Subject) -> Iterator[Finding]:
    """Both sides split text of many kinds alike; of two tokenizers, how far that goes."""
    if is_foreign(subject):
        yield from aligned_share(subject)
        return
    teacher, student = subject.teacher.tokenizer, subject.student.tokenizer
    differing = [
        text
        for text in PROBES
        if teacher.encode(text, add_special_tokens=False)
        != student.encode(text, add_special_tokens=False)
    ]
    if differing:
        yield fatal(
            f"teacher and student encode {len(differing)} of {len(PROBES)} probe texts "
            f"differently, first {differing[0]!r}",
            why="the teacher would judge ids that it never reads for such text",
            mend="Choose two models of one family with teacher.name=... and student.name=...",
        )
    else:
        yield ok(f"{len(PROBES)} probe texts (digits, code, spaces, scripts) get the same ids")
