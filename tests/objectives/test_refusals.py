"""Settings and text that the policy-gradient objectives and KD refuse, each with its way out."""

from collections.abc import Callable

import pytest

from distillkit.core.errors import ConfigError
from distillkit.core.types import Author
from distillkit.objectives.base import Objective
from distillkit.objectives.kd import KD
from distillkit.objectives.minillm import MiniLLM
from distillkit.objectives.reward import Baseline, RewardObjective
from distillkit.objectives.sampled_kl import SampledKL

CLIP = r"objective\.clip must lie strictly between 0 and 1, got {}\. null turns it off\."
SETTINGS: list[tuple[type[Objective], str, float, str]] = [
    *(
        (kind, "clip", value, CLIP.format(value))
        for kind in (MiniLLM, SampledKL, RewardObjective)
        for value in (0.0, 1.0, -0.2, float("nan"))
    ),
    *(
        (MiniLLM, field, value, rf"objective\.{field} must lie in \[0, 1\], got {value}\.")
        for field in ("gamma", "pretraining_kd")
        for value in (-0.1, 1.1)
    ),
    *(
        (MiniLLM, field, value, rf"objective\.{field} must be above 0, got {value}\.")
        for field in ("reward_scale", "reward_clip")
        for value in (0.0, -1.0, float("nan"))
    ),
    (MiniLLM, "pretraining", -1.0, r"objective\.pretraining must be 0 or more, got -1\.0\."),
    (SampledKL, "gamma", -0.1, r"objective\.gamma must lie in \[0, 1\], got -0\.1\."),
    (SampledKL, "gamma", 1.5, r"objective\.gamma must lie in \[0, 1\], got 1\.5\."),
    *(
        (SampledKL, "advantage_clip", value, rf"advantage_clip must be above 0, got {value}\. null")
        for value in (0.0, -1.0)
    ),
    (SampledKL, "amplify", -0.5, r"objective\.amplify must be 0 or more, got -0\.5\."),
    *(
        (RewardObjective, "alpha", value, rf"alpha must lie in \[0, 1\], got {value}. 1 is the tea")
        for value in (-0.1, 1.1)
    ),
    (RewardObjective, "student_temperature", 0.7, r"student_temperature=0\.7 would change the pol"),
    (RewardObjective, "teacher_temperature", 0.0, r"teacher_temperature must be above 0"),
    *(
        (KD, "ratio", value, rf"ratio must lie in \[0, 1\], got {value}\. For cross-entropy alone")
        for value in (-0.1, 1.1)
    ),
    (KD, "student_temperature", 2.0, r"student_temperature=2\.0 would change the likelihood too"),
    (KD, "teacher_temperature", -1.0, r"teacher_temperature must be above 0"),
    *(
        (kind, "chunk_mb", 0, r"objective\.chunk_mb must be at least 1, got 0\.")
        for kind in (MiniLLM, SampledKL, RewardObjective, KD)
    ),
]


@pytest.mark.parametrize(
    ("kind", "field", "value", "sentence"),
    SETTINGS,
    ids=[f"{kind.__name__} {field}={value}" for kind, field, value, _ in SETTINGS],
)
def test_a_setting_that_cannot_be_run_is_refused_in_a_sentence(
    kind: type[Objective], field: str, value: float, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        kind(**{field: value})


@pytest.mark.parametrize(
    "build",
    [
        lambda: MiniLLM(gamma=0.0, pretraining_kd=1.0, pretraining=0.0, clip=None),
        lambda: MiniLLM(gamma=1.0, pretraining_kd=0.0, reward_clip=1e-3, clip=0.99),
        lambda: SampledKL(gamma=1.0, clip=0.01, advantage_clip=0.1, amplify=0.0),
        lambda: RewardObjective(alpha=0.0),
        lambda: RewardObjective(alpha=1.0, student_temperature=0.5),
        lambda: KD(ratio=0.0),
        lambda: KD(ratio=1.0),
    ],
)
def test_the_ends_of_what_is_allowed_are_allowed(build: Callable[[], Objective]) -> None:
    build()


OWN, TEACHERS = "learns from text that the student draws. Use policy=on_policy or", Author.teacher


@pytest.mark.parametrize(
    ("objective", "refused", "sentence"),
    [
        *(
            (kind(), {author, Author.student}, f"objective={name} {OWN} policy=teacher_mixed")
            for kind, name in ((MiniLLM, "minillm"), (SampledKL, "sampled_kl"))
            for author in (Author.dataset, Author.teacher)
        ),
        *(
            (RewardObjective(), authors, r"objective=reward learns from .* Use policy=on_policy\.")
            for authors in ({Author.mixture}, {Author.student, Author.dataset}, {Author.teacher})
        ),
    ],
)
def test_text_of_others_is_refused(objective: Objective, refused: set, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        objective.check_authors(frozenset(refused))


def test_the_students_own_text_is_taken_and_a_mixture_where_it_can_be() -> None:
    for objective in (MiniLLM(), SampledKL(), RewardObjective()):
        objective.check_authors(frozenset({Author.student}))
    for objective in (MiniLLM(), SampledKL()):
        objective.check_authors(frozenset({Author.mixture}))


@pytest.mark.parametrize("baseline", [Baseline.group, Baseline.leave_one_out])
def test_a_baseline_of_one_response_is_refused(baseline: Baseline) -> None:
    objective = RewardObjective(baseline=baseline)
    sentence = rf"objective\.baseline={baseline} compares .* loop\.group=1 has one written\. Set"
    with pytest.raises(ConfigError, match=sentence):
        objective.check_group(1)
    objective.check_group(2)
    RewardObjective(baseline=baseline, alpha=1.0).check_group(1)
    RewardObjective(baseline=Baseline.none).check_group(1)
