"""What the JSON files of run directories and sweeps hold; fields that are not named may be there.

Fields that earlier versions did not write are marked as such.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

Numbers = dict[str, float]


class Record(TypedDict):
    """provenance.json: whose directory it is, where it came from, and what was made in it.

    ``files`` has the digests of files that are made once and read again; earlier versions wrote
    none. ``study`` is there where a study lives, and says which.
    """

    fingerprint: str
    study: NotRequired[str]
    distillkit: NotRequired[str]
    python: NotRequired[str]
    packages: NotRequired[dict[str, str | None]]
    machine: NotRequired[str]
    git: NotRequired[dict[str, Any] | None]
    device: NotRequired[str]
    seed: NotRequired[int]
    reader: NotRequired[dict[str, str]]
    files: NotRequired[dict[str, str]]


class Baselines(TypedDict):
    """baselines.json: what is measured before the first update."""

    student_before: Numbers
    teacher: Numbers


class Budget(TypedDict):
    """What a training was given, and how many tokens the teacher wrote and read for it.

    Gold labels are training examples whose reference or answer the run could read, prompts those
    that it could have answered.
    """

    gold_labels: int
    prompts: int
    teacher_wrote: int
    teacher_read: int


class TrainSummary(Baselines):
    """summary.json of ``train``; earlier versions wrote less.

    ``training_seconds`` are those of the updates, ``writing_seconds`` those in which the teacher's
    text was written before, or read where it was kept. ``teacher_costs`` are tokens, bytes, seconds
    and price of its opinions, of all processes together. ``layouts`` is there where a run went on
    with another number of processes, or dealt out otherwise over them.
    """

    name: str
    steps: int
    split: str
    selection: str
    training_seconds: NotRequired[float]
    writing_seconds: NotRequired[float]
    budget: NotRequired[Budget]
    teacher_costs: NotRequired[Numbers]
    layouts: NotRequired[list[str]]
    student_after: Numbers
    fingerprint: str
    files: NotRequired[dict[str, str]]


class Verdict(TypedDict):
    """A line of verdicts.jsonl of ``train``."""

    split: str
    id: str
    student: bool


class AnySummary(TypedDict):
    """summary.json of either verb, as far as a report reads it."""

    name: str
    fingerprint: str
    split: NotRequired[str]
    selection: NotRequired[str]
    steps: NotRequired[int]
    training_seconds: NotRequired[float]
    budget: NotRequired[Budget]
    teacher_costs: NotRequired[Numbers]
    student_before: NotRequired[Numbers]
    student_after: NotRequired[Numbers]
    teacher: NotRequired[Numbers]
    files: NotRequired[dict[str, str]]


class ShownTable(TypedDict):
    """A csv file in a study's folder, its first line the names of the columns."""

    title: str
    file: str


class ShownPicture(TypedDict):
    """A PNG in a study's folder; ``alt`` says what is to be seen to somebody who cannot see it."""

    title: str
    file: str
    alt: str


class Shown(TypedDict):
    """What a report shows of a study, in the order of the page.

    ``said`` are whole sentences: what was found, and what of it agrees with the paper.
    """

    tables: list[ShownTable]
    pictures: list[ShownPicture]
    said: list[str]


class StudySummary(TypedDict):
    """summary.json of a study; what it found is as different as studies are."""

    name: str
    fingerprint: str
    study: str
    shown: NotRequired[Shown]
    files: NotRequired[dict[str, str]]


class Row(TypedDict):
    """A student of an UNDO run."""

    name: str
    steps: int
    accuracy: dict[str, Numbers]
    mean_tokens: NotRequired[float]
    nll_before: NotRequired[float]
    accepted: NotRequired[float]
    retried: NotRequired[float]
    fallback: NotRequired[float]
    faults: NotRequired[dict[str, int]]
    changes: NotRequired[dict[str, int]]


class Difference(TypedDict):
    """The student that UNDO returns, against another."""

    baseline: str
    right: str
    split: str
    estimate: float
    low: float
    high: float
    relative: float | None
    p_holm: float


class Cost(TypedDict):
    """What an UNDO run took."""

    teacher_calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    money: float | None
    gradient_steps: int
    training_seconds: float


class UndoSummary(TypedDict):
    """summary.json of ``undo-iterate``; earlier versions wrote no ``files``."""

    name: str
    fingerprint: str
    returned: str
    reason: str
    rows: Annotated[list[Row], Field(min_length=1)]
    differences: list[Difference]
    cost: Cost
    files: NotRequired[dict[str, str]]


class StreamSummary(TypedDict):
    """summary.json of ``osd``."""

    name: str
    fingerprint: str
    requests: int
    updates: int
    seconds: Numbers
    latency: Numbers
    buffer_mb: float
    pace: dict[str, Any]
    domains: dict[str, dict[str, Any]]
    all: Numbers
    files: NotRequired[dict[str, str]]


class Learnability(TypedDict):
    """learnability-*.json of ``undo-iterate``."""

    nll_before: float
    mean_tokens: float


class CheckpointRecord(TypedDict):
    """progress.json of a checkpoint; earlier versions wrote less.

    ``journals`` and ``digests`` are lengths and SHA-256 of the journals at that step, ``files``
    has the SHA-256 of all other files of the checkpoint.
    """

    step: int
    best_score: float | None
    best_step: int | None
    journals: dict[str, int]
    files: dict[str, str]
    fingerprint: NotRequired[str]
    digests: NotRequired[dict[str, str]]
    layouts: NotRequired[list[str]]
    seconds: NotRequired[float]
    costs: NotRequired[Numbers]


class Cell(TypedDict):
    """A cell of a sweep, in ``cells/`` and in table.json."""

    overrides: NotRequired[list[str]]
    status: NotRequired[str]
    run: NotRequired[str]
    fingerprint: NotRequired[str]
    error: NotRequired[str]
    summary: NotRequired[dict[str, Any] | None]


Interval = dict[str, float | None]

Columns = dict[str, list[float | None]]


class Results(TypedDict):
    """results.json of an evaluation; earlier versions wrote neither ``run`` nor ``files``.

    ``run`` is the fingerprint of the run that was measured, ``files`` has the digests of the other
    files of the evaluation.
    """

    n: int
    fingerprint: str
    selection: NotRequired[str]
    metrics: dict[str, dict[str, Any]]
    numbers: dict[str, dict[str, dict[str, Interval]]]
    curves: NotRequired[dict[str, dict[str, dict[str, Columns]]]]
    differences: NotRequired[list[dict[str, Any]]]
    run: NotRequired[str | None]
    files: NotRequired[dict[str, str]]


class Measured(TypedDict):
    """A line of records.jsonl: an example, and by whom and metric what it contributes."""

    id: str
    student: NotRequired[dict[str, dict[str, Any]]]
    start: NotRequired[dict[str, dict[str, Any]]]
    teacher: NotRequired[dict[str, dict[str, Any]]]


class Item(TypedDict):
    """A line of items.jsonl: an example, and the texts of all that were measured."""

    id: str
    prompt: str
    texts: dict[str, dict[str, Any]]
