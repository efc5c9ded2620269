"""What rows spell, what templates are told, and references beside the whole chat."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from distillkit.preflight.texts import repeated
from tests.conftest import SMOKE, CommandLine, Result
from tests.preflight.planted import edited, found, model

pytestmark = pytest.mark.usefixtures("wide")

DATA = ("dataset=jsonl", "dataset.path=rows.jsonl", "dataset.validation_share=2")
QUICK = ("tracker=none", "steps=1", "loop.batch_size=4", "evaluation.every=0", "evaluation.test=2")
OFF = (*QUICK, *DATA, "rollout.max_new_tokens=8", "policy=off_policy", "name=run")
CHAT = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
OPENS = CHAT.replace("assistant: {% endif", "assistant: <think>\n{% endif")
STRIPS = CHAT.replace("m.content", "m.content|trim")
DROPS = CHAT.replace("m.content", "m.content.split('</think>')[-1]")
INSERTS = CHAT.replace(
    "{{ m.content }}", "{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}"
)


def rows(*responses: str, question: str = "What is {n} and 1?") -> None:
    """Ten rows, of which the last ones are validation."""
    some = [*responses, *["It is so."] * (10 - len(responses))]
    lines = [
        {"prompt": question.format(n=n), "response": response} for n, response in enumerate(some)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def template(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "chat_template.jinja").write_text(text)

    return change


def chatting(side: str = "student") -> tuple[str, str]:
    """One side is ``model``, and is asked by its template."""
    return f"{side}.name=model", f"{side}.prompt=chat"


def sentence(result: Result) -> str:
    """The one sentence of a refusal."""
    assert result.code == 2, result
    assert "Traceback" not in result.out + result.err
    (line,) = (line for line in result.err.splitlines() if line.startswith("distillkit: "))
    assert not Path("outputs").exists()
    return line


def test_rows_that_spell_control_tokens_are_counted_and_trained_as_text(
    distillkit: CommandLine,
) -> None:
    rows("Close a turn with <eos> and go on.", "It is so.", "And <pad> or <eos>.")
    done = distillkit("train", *OFF, "loop.batch_size=8")
    assert done.code == 0, done.err
    said = "student: 2 of 8 training rows spell control tokens, and they are read as ordinary text"
    assert f"{said}; the first is rows-00000, with '<eos>'" in done.out
    examined = distillkit("doctor", *OFF)
    assert said in found(examined, "warning", "control tokens")


def test_what_is_asked_for_changes_the_run_and_what_is_not_does_not(
    distillkit: CommandLine,
) -> None:
    rows(*["So <eos> or so."] * 10)
    losses = {}
    for value in ("false", "true"):
        name = f"name=run-{value}"
        asked = [f"{side}.special_tokens_in_text={value}" for side in ("student", "teacher")]
        assert distillkit("train", *OFF, name, *asked).code == 0
        lines = Path(f"outputs/train/run-{value}/metrics.jsonl").read_text().splitlines()
        losses[value] = json.loads(lines[0])["loss"]
    assert losses["false"] != losses["true"]


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_a_reference_that_doubles_what_the_invitation_opens_ends_a_training(
    side: str, distillkit: CommandLine
) -> None:
    rows("It is so.", "<think>\nWell.\n</think>\nIt is so.")
    model(template(OPENS), side=side)
    said = sentence(distillkit("train", *OFF, *chatting(side)))
    assert f"{side}: 1 of 8 references begin with '<think>'" in said
    assert "rows-00001 is trained as " in said
    assert r"assistant: <think>\n<think>\nWell." in said
    assert r"assistant: <think>\nWell." in said.split("and rendered as")[1]
    assert f"or use {side}.prompt=plain." in said
    examined = distillkit("doctor", *OFF, *chatting(side))
    assert examined.code == 1
    assert "begin with '<think>'" in found(examined, "fatal", "chats")
    # Nothing of the dataset is learnt here.
    assert distillkit("train", *OFF, *chatting(side), "policy=on_policy").code == 0


@pytest.mark.parametrize(
    ("text", "response", "trained", "rendered"),
    [
        (STRIPS, " So. ", "assistant:  So. ", "assistant: So."),
        (DROPS, "<think>Well.</think>So.", "<think>Well.</think>So.", "assistant: So."),
        (INSERTS, "So.", "assistant: So.", "assistant: <think></think>So."),
        (OPENS, "So.", r"assistant: <think>\nSo.", "assistant: So."),
    ],
    ids=["strips", "drops", "inserts", "opens"],
)
def test_other_differences_from_the_whole_chat_are_shown_and_no_end(
    text: str, response: str, trained: str, rendered: str, distillkit: CommandLine
) -> None:
    rows(*[response] * 10)
    model(template(text))
    examined = found(distillkit("doctor", *OFF, *chatting()), "warning", "chats")
    assert "student: 8 of 8 references are not trained as the chat template renders" in examined
    left, right = examined.split("and rendered as")
    assert trained in left
    assert rendered in right
    done = distillkit("train", *OFF, *chatting())
    assert done.code == 0, done.err
    assert "references are not trained as the chat template renders them" in done.out


def test_references_that_stand_as_the_template_renders_them_are_well(
    distillkit: CommandLine,
) -> None:
    rows("<think>\nWell.\n</think>\nSo.")
    model(template(CHAT))
    result = distillkit("doctor", *OFF, *chatting())
    assert "8 references stand as the chat template renders them" in found(result, "ok", "chats")


@pytest.mark.parametrize(
    ("opened", "reference", "said"),
    [
        ("<|assistant|><think>", "<think>\nso", "<think>"),
        ("assistant\n<think>", "\n<think>so", "<think>"),
        ("\nAssistant:", "Assistant: yes", "Assistant:"),
        ("### Response:", ":) yes", ""),
        ("forty", "ty so", ""),
        ("<think>", "So <think>", ""),
        ("<think>", "", ""),
        ("", "<think>", ""),
    ],
)
def test_what_is_repeated_is_found_in_whole_words(opened: str, reference: str, said: str) -> None:
    assert repeated(opened, reference) == said


def test_a_template_that_prints_the_time_gives_the_same_numbers_on_any_day(
    distillkit: CommandLine,
) -> None:
    rows()
    model(template("{{ strftime_now('%d %b %Y') }}\n" + CHAT))
    typed = [*OFF, *chatting()]
    done = distillkit("train", *typed)
    assert done.code == 0, done.err
    assert "student: the chat template asks for the time, and is told 2025-01-01" in done.out
    examined = found(distillkit("doctor", *typed), "warning", "clock")
    assert "+student.template.today=2025-01-01" in examined
    numbers = Path("outputs/train/run/metrics.jsonl").read_text()
    for day, same in (("2025-01-01", True), ("2026-11-30", False)):
        other = distillkit("train", *typed, f"+student.template.today={day}", f"name={day}")
        assert other.code == 0, other.err
        assert (Path(f"outputs/train/{day}/metrics.jsonl").read_text() == numbers) is same
    said = sentence_of(distillkit("train", *typed, "+student.template.today=soon", "name=no"))
    assert "student.template.today=soon is no date" in said


def sentence_of(result: Result) -> str:
    assert result.code == 2, result
    assert "Traceback" not in result.out + result.err
    return result.err


REFUSALS = {
    "a role": ("{{ raise_exception('Only user roles.') }}" + CHAT, "Only user roles"),
    "a division": (CHAT + "{{ 1 / 0 }}", "division by zero"),
    "an attribute": (CHAT + "{{ a.b.c }}", "'a' is undefined"),
    "a type": (CHAT + "{{ [] + 1 }}", "TypeError"),
    "no end": ("{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3, "without end"),
    "size": ("{{ 'a' * 3000000000 }}", "characters"),
    "syntax": ("{% if %}", "line 1"),
    "a filter": ("{{ 1|nope }}", "nope"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_template_that_cannot_be_rendered_is_one_sentence_with_a_way_out(
    kind: str, distillkit: CommandLine
) -> None:
    side, (text, reason) = "teacher" if kind == "a role" else "student", REFUSALS[kind]
    rows()
    model(template(text), side=side)
    said = sentence(distillkit("train", *OFF, *chatting(side)))
    assert f"{side}.name: the chat template cannot be" in said or "rows-00000 (user): " in said
    assert reason in said
    assert f"{side}.prompt=plain" in said
    if kind == "syntax":
        mended = distillkit("train", *OFF, f"{side}.name=model", f"{side}.prompt=plain")
        assert mended.code == 0, mended.err


def test_a_refused_system_role_is_named_with_the_row(distillkit: CommandLine) -> None:
    turns = [{"role": role, "content": "Why?"} for role in ("system", "user", "assistant")]
    line = json.dumps({"id": "seven", "messages": turns}) + "\n"
    other = json.dumps({"messages": turns[1:]}) + "\n"
    Path("rows.jsonl").write_text(other * 3 + line + other * 6)
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('No system.') }}{% endif %}"
    model(template(refusing + CHAT))
    said = sentence(distillkit("train", *OFF, "dataset.messages_field=messages", *chatting()))
    assert "student.name: the chat template cannot render seven (system, user): No system." in said
    assert "Leave its system message out, or use student.prompt=plain" in said


def test_a_template_that_renders_no_answer_still_trains(distillkit: CommandLine) -> None:
    rows()
    alone = "{% if messages|length > 1 %}{{ raise_exception('One turn.') }}{% endif %}"
    model(template(alone + CHAT))
    done = distillkit("train", *OFF, *chatting())
    assert done.code == 0, done.err
    assert "the chat template cannot render a question and its answer (One turn.)" in done.out


def holey(folder: Path) -> None:
    """The end token moved behind twelve ids that no token has; its weights go with it."""
    end = 393
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["<eos>"] = end
    for token in content["added_tokens"]:
        token["id"] = end if token["content"] == "<eos>" else token["id"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tensors = load_file(folder / "model.safetensors")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    width = config["vocab_size"]
    for name, tensor in tensors.items():
        if tensor.shape[0] == width and tensor.ndim == 2:
            wide = torch.cat([tensor, 9 * tensor[: 400 - width]]) if width < 400 else tensor.clone()
            wide[end], wide[1] = tensor[1], 9 * tensor[2]
            tensors[name] = wide
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edited("config.json", vocab_size=max(width, 400), eos_token_id=end)(folder)
    edited("generation_config.json", eos_token_id=end)(folder)


def test_a_pair_whose_ids_have_holes_gives_the_numbers_of_the_pair_without(
    distillkit: CommandLine,
) -> None:
    for side in ("student", "teacher"):
        model(holey, side=side)
        Path("model").rename(side)
    typed = [*SMOKE, "policy=mixed", "evaluation.test=4"]
    names = ["student.name=student", "teacher.name=teacher"]
    numbers = {}
    for run, sides in {"whole": [], "holey": names}.items():
        done = distillkit("train", *typed, *sides, f"name={run}")
        assert done.code == 0, done.err
        lines = Path(f"outputs/train/{run}/metrics.jsonl").read_text().splitlines()
        numbers[run] = [json.loads(line) for line in lines]
    for left, right in zip(numbers["whole"], numbers["holey"], strict=True):
        assert right == pytest.approx(left, rel=1e-3, abs=1e-4, nan_ok=True)
    examined = distillkit("doctor", *typed, *names)
    assert "12 ids have no token and are masked" in found(examined, "ok", "heads")
    assert examined.code == 0, examined.out
