"""What a teacher is asked: every template by round, and the lesson in a reply."""

from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from distillkit.compose import conf_folder
from distillkit.core.errors import ConfigError
from distillkit.core.types import Example, Message
from distillkit.datasets.commonsenseqa import CommonsenseQa
from distillkit.datasets.gsm8k import Gsm8k
from distillkit.datasets.strategyqa import StrategyQa
from distillkit.lessons.base import Request, ValidationRecord
from distillkit.lessons.prompts import Prompts, lesson_of

NAMES = sorted(file.stem for file in (conf_folder() / "prompt").glob("*.yaml"))
EXAMPLE = Example("t1", (Message("user", "How many <geese>?"),), "secret reference", "4321")
EVIDENCE = (
    ValidationRecord(
        "v1", "first validation question", "first right work", "first wrong work", False
    ),
    ValidationRecord(
        "v2", "second validation question", "second right work", "second own work", True
    ),
)
STUDENT = {"answer": "the student's own answer", "correct": False, "evidence": EVIDENCE}
PLAIN = {
    "ending": "one number",
    "write": "{{ question }}",
    "first": "{{ question }}",
    "later": "{{ question }}",
    "untargeted": "{{ question }}",
}
REWRITING = [{"lessons": ["a"], **STUDENT}, {"lessons": ["a", "b"], **STUDENT}, {"lessons": ["a"]}]


def prompts(name: str = "maths") -> Prompts:
    values = yaml.safe_load((conf_folder() / "prompt" / f"{name}.yaml").read_text())
    del values["defaults"]
    return Prompts(**values)


def asked(name: str = "maths", lessons: Sequence[str] = (), **shown: Any) -> str:
    request = Request(EXAMPLE, (), tuple(lessons), **shown)
    (message,) = prompts(name).conversation(request)
    assert message.role == "user"
    return message.content


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shown", [{}, *REWRITING], ids=["write", "first", "later", "untargeted"])
def test_every_prompt_asks_the_question_and_says_how_to_end(
    name: str, shown: dict[str, Any]
) -> None:
    text = asked(name, **shown)
    assert "How many <geese>?" in text
    assert " ".join(prompts(name).ending.split()) in " ".join(text.split())
    assert "step by step" in text or "decide" in text
    assert "secret reference" not in text
    assert "4321" not in text
    assert text == text.strip()
    assert "\n\n\n" not in text
    assert "{" not in text
    assert text.endswith("### new_answer") == bool(shown)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_rewriting_shows_the_answers_the_evidence_and_five_checks(name: str) -> None:
    text = asked(name, lessons=["the only lesson"], **STUDENT)
    sections = [part.split("\n", 1) for part in text.split("### ")[1:]]
    one = ["question", "teacher answer", "student answer", "score"]
    assert [heading for heading, *_ in sections] == [*one, *one, *one, "new_answer"]
    held = [body[0].split("\n\n")[0] for _, *body in sections[:-1]]
    assert held == [
        *("How many <geese>?", "the only lesson", "the student's own answer", "0"),
        *("first validation question", "first right work", "first wrong work", "0"),
        *("second validation question", "second right work", "second own work", "1"),
    ]
    checks, requirements = text.split("\n1. ")[1:]
    assert [f"\n{number}. " in checks for number in range(2, 7)] == [True] * 4 + [False]
    assert [f"\n{number}. " in requirements for number in range(2, 7)] == [True] * 4 + [False]


@pytest.mark.parametrize("name", NAMES)
def test_later_rewritings_show_every_lesson_in_order_and_no_checklist(name: str) -> None:
    lessons = [f"lesson of round {number}" for number in range(4)]
    text = asked(name, lessons=lessons, **STUDENT)
    for number, lesson in enumerate(lessons):
        assert f"### ITERATION {number} teacher answer\n{lesson}\n" in text
    assert text.count("ITERATION") == 4
    assert text.index("round 3") < text.index("the student's own answer")
    assert "first wrong work" in text
    assert "ompare" in text
    assert text.count("\n1. ") == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 3])
def test_without_errors_in_view_the_lessons_are_shown_and_nothing_of_a_student(
    name: str, count: int
) -> None:
    text = asked(name, lessons=[f"lesson of round {number}" for number in range(count)])
    assert all(f"lesson of round {number}" in text for number in range(count))
    assert "student" not in text
    assert "score" not in text
    assert "xamples of the same kind" not in text


def test_what_is_not_shown_leaves_no_trace() -> None:
    evidence_alone = asked(lessons=["a"], evidence=EVIDENCE)
    assert evidence_alone.count("### student answer") == 2
    assert "the student's own answer" not in evidence_alone
    answer_alone = asked(lessons=["a"], answer="mine", correct=True)
    assert "### student answer\nmine\n\n### score\n1\n" in answer_alone
    assert "examples of the same kind" not in answer_alone
    assert "score" not in asked(lessons=["a"], answer="mine").split("###", 1)[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shown", REWRITING, ids=["first", "later", "untargeted"])
def test_a_length_is_asked_for_where_one_is_given(name: str, shown: dict[str, Any]) -> None:
    assert "Write about 77 words." in asked(name, **shown, words=77)
    assert "words" not in asked(name, **shown)


def test_a_system_message_comes_first_where_there_is_one() -> None:
    assert [turn.role for turn in Prompts(**PLAIN).conversation(Request(EXAMPLE, ()))] == ["user"]
    both = Prompts(**PLAIN, system="Be {{ brief }}.").conversation(Request(EXAMPLE, ()))
    assert both[0] == Message("system", "Be {{ brief }}.")
    assert both[1].role == "user"


def test_all_turns_of_a_prompt_are_asked_and_are_no_templates() -> None:
    turns = (Message("system", "{{ answer }}"), Message("user", "{% Why?"))
    (message,) = Prompts(**PLAIN).conversation(Request(Example("1", turns, "", ""), ()))
    assert message.content == "{{ answer }}\n\n{% Why?"


@pytest.mark.parametrize(
    ("field", "template", "words"),
    [
        ("first", "{{ question }} {{ wrods }}", "prompt.first uses wrods, which it is not given"),
        ("later", "{{ question }}{% if 0 %}{{ x }}{% endif %}", "prompt.later uses x,"),
        ("untargeted", "{{ question }} {{ evidence }}", "prompt.untargeted uses evidence,"),
        ("write", "{{ question }} {{ lessons }}", "prompt.write uses lessons,"),
        ("first", "{{ question }}\n{% if %}", r"prompt.first is no Jinja template \(line 2: "),
        ("later", "Improve it.", "prompt.later does not ask the question"),
        ("first", "{{ question }} {{ evidence[0].name }}", "prompt.first cannot be rendered"),
        ("first", "{{ question }} {{ words + 1 }}", "prompt.first cannot be rendered"),
        ("write", "{{ question }} {{ words + 1 }}", "prompt.write cannot be rendered"),
        ("write", "{{ question.__class__.__mro__ }}", "prompt.write cannot be rendered"),
    ],
)
def test_a_template_that_would_fail_later_is_refused_in_one_sentence(
    field: str, template: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{words}") as caught:
        Prompts(**{**PLAIN, field: template})
    assert "\n" not in str(caught.value)


def test_the_required_endings_are_those_that_the_datasets_read() -> None:
    maths, commonsense = prompts().ending, prompts("commonsense").ending
    assert "####" in maths
    assert Gsm8k().extract("5 of 7\n#### 42") == "42"
    for sentence, dataset, answer in [
        ("The answer is yes.", StrategyQa(), "yes"),
        ("The answer is no.", StrategyQa(), "no"),
        ("The answer is (X).", CommonsenseQa(), "C"),
    ]:
        assert f'"{sentence}"' in commonsense
        assert dataset.extract(sentence.replace("X", "C")) == answer


@pytest.mark.parametrize(
    ("text", "lesson"),
    [
        (" just so \n", "just so"),
        ("Well.\n### new_answer\n1 + 1 = 2\n#### 2\n", "1 + 1 = 2\n#### 2"),
        ("### new_answer\nold\n### new_answer\nnew", "new"),
        ("## **New_Answer:**\nthis", "this"),
        ("### new\\_answer: this", "this"),
        ("<think>### new_answer\nno</think>\nyes", "yes"),
        ("no opening tag</think>### new_answer\nyes", "yes"),
        ("<think>never finished ### new_answer\n4", ""),
        ("### new_answer\n", ""),
        ("the new_answer is 4", "the new_answer is 4"),
        ("", ""),
    ],
)
def test_the_lesson_is_what_stands_under_the_last_heading_without_thoughts(
    text: str, lesson: str
) -> None:
    assert lesson_of(text) == lesson
