"""Two tokenisations of one text: where they are cut, and what no cut may change."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distillkit.core.types import Author, Example, Message, Response, Rollout
from distillkit.models.pretrained import Teacher
from distillkit.models.token_bytes import Bytes
from distillkit.opinions.alignment import chunks
from distillkit.opinions.translation import Translator, shared_tokens
from tests.foreign import byte_level, pair, pieces
from tests.tiny import build

CLOSED = Author.dataset


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """The text in pieces, some of which may be empty."""
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[left:right] for left, right in pairwise(ends)]


texts = st.text(max_size=30)
places = st.lists(st.integers(0, 200), max_size=20)


@given(text=texts, ours=places, theirs=places, other=texts)
@settings(max_examples=200, deadline=None)
def test_chunks_tile_the_common_beginning_and_are_the_shortest(
    text: str, ours: list[int], theirs: list[int], other: str
) -> None:
    left, right = cut(text.encode(), ours), cut((text + other).encode(), theirs)
    found = chunks(left, right)
    for side in (0, 1):
        assert [n for chunk in found for n in chunk[side]] == [
            *range(found[-1][side].stop if found else 0)
        ], "end to end from the first token, and no token in two"
    ends = [{sum(map(len, side[:n])) for n in range(1, len(side) + 1)} for side in (left, right)]
    seen = 0
    for mine, yours in found:
        held = b"".join(left[mine.start : mine.stop])
        assert held == b"".join(right[yours.start : yours.stop]) != b""
        assert not any(seen + n in ends[0] & ends[1] for n in range(1, len(held)))
        seen += len(held)
    assert seen == max((n for n in ends[0] & ends[1] if n <= len(text.encode())), default=0)


@given(text=st.text(min_size=1, max_size=30), ours=places, theirs=places, more=places)
@settings(max_examples=100, deadline=None)
def test_coarser_tokens_merge_chunks_and_keep_their_totals(
    text: str, ours: list[int], theirs: list[int], more: list[int]
) -> None:
    left = cut(text.encode(), [*ours, *more])
    numbers = np.random.default_rng(0).normal(size=len(left))

    def totals(right: list[int]) -> dict[int, float]:
        """Summed up to the end of each chunk, by byte."""
        found = chunks(left, cut(text.encode(), right))
        ends = [sum(map(len, left[: chunk.ours.stop])) for chunk in found]
        sums = np.cumsum([numbers[list(chunk.ours)].sum() for chunk in found])
        return dict(zip(ends, sums, strict=True))

    fine, coarse = totals([*theirs, *more]), totals(theirs)
    assert coarse.keys() <= fine.keys()
    for end, total in coarse.items():
        assert abs(total - fine[end]) < 1e-9


def test_control_tokens_are_in_no_chunk() -> None:
    ours: list[Bytes] = [None, b"Hel", b"lo", None, b" you", None]
    assert [c.ours for c in chunks(ours, [b"Hello", b" you"])] == [range(1, 3), range(4, 5)]
    split: list[Bytes] = [b"Hel", None, b"lo", b" you"]
    assert [c.ours for c in chunks(split, [b"Hello", b" you"])] == [range(3, 4)]
    assert chunks([None], [b"x"]) == chunks([b"y"], [b"x"]) == chunks([], []) == []


def test_a_character_that_is_one_token_there_and_four_here_is_a_chunk() -> None:
    student = build(tokenizer=byte_level(), vocab_size=258)
    teacher = build(side=Teacher, tokenizer=pieces(), vocab_size=600)
    ids = (*student.prompts.text_ids("a🙂 é"), student.end_id)
    found = Translator(student, teacher).of(_rollout(ids))
    assert [(len(c.ours), len(c.theirs)) for c in found.chunks] == [
        *((1, 1), (4, 1), (1, 1)),
        *((1, 1), (1, 1)),  # é is two bytes on both sides
        (1, 1),
    ]
    assert found.ids[-1] == teacher.end_id


def test_a_text_that_ends_inside_of_a_character_is_aligned_up_to_it() -> None:
    student, teacher = pair()
    translator = Translator(student, teacher)
    whole = student.prompts.text_ids("ab🙂")
    for left, truncated in ((1, True), (2, True), (1, False)):
        ids = whole[:-left] if truncated else (*whole[:-left], student.end_id)
        found = translator.of(_rollout(ids, truncated=truncated))
        assert sum(len(chunk.ours) for chunk in found.chunks) == 2
        assert teacher.end_id not in found.ids
    nothing = translator.of(_rollout(whole[2:3], truncated=True))
    assert (nothing.chunks, nothing.ids) == ([], (teacher.end_id,))


def test_the_end_is_a_chunk_where_the_text_ended() -> None:
    student, teacher = pair()
    ids = student.prompts.text_ids(" 42.")
    translator = Translator(student, teacher)
    open_, closed = (
        translator.of(_rollout(tokens, truncated=cut_))
        for tokens, cut_ in ((ids, True), ((*ids, student.end_id), False))
    )
    assert closed.chunks[:-1] == open_.chunks
    assert closed.chunks[-1] == (
        range(len(ids), len(ids) + 1),
        range(len(open_.ids), len(closed.ids)),
    )
    assert closed.ids == (*open_.ids, teacher.end_id)
    alone = translator.of(_rollout((student.end_id,)))
    assert alone.chunks == [(range(1), range(1))]


def test_a_teacher_reads_as_far_as_it_has_room() -> None:
    student = build(tokenizer=byte_level(), vocab_size=258, context=256)
    teacher = build(side=Teacher, context=12)
    ids = (*student.prompts.text_ids("42 and 43 and 44"), student.end_id)
    found = Translator(student, teacher).of(_rollout(ids))
    assert len(found.prompt) + len(found.ids) == 12
    assert 0 < sum(len(chunk.ours) for chunk in found.chunks) < len(ids)


def test_shared_tokens_are_the_same_bytes() -> None:
    student = build(tokenizer=byte_level(), vocab_size=258)
    teacher = build(side=Teacher, tokenizer=pieces(), vocab_size=600)
    both = Translator(student, teacher)
    real = [frozenset(range(model.head.vocabulary)) for model in (student, teacher)]
    found = shared_tokens(both.ours, both.theirs, of=real[0], to=real[1])
    assert len(found) == 256
    assert all(both.ours[ours] == both.theirs[theirs] for ours, theirs in found)


def _rollout(ids: tuple[int, ...], *, truncated: bool = False) -> Rollout:
    asked = Example("one", (Message("user", "How many?"),), "")
    return Rollout(asked, Response(ids, truncated=truncated, author=CLOSED))
