"""The preview of what is trained on: exactly the response, its end token included."""

from dataclasses import replace

from rich.console import Console

from distillkit.preflight.finding import Severity
from distillkit.preflight.mask import marked, mask, preview
from tests.preflight.planted import subject
from tests.tiny import build

PROMPTS = [[50, 60, 70], [80, 90]]


def test_exactly_the_response_and_its_end_are_marked() -> None:
    model = build()
    responses = [[100, 101], [102, 103, 104, model.end_id]]
    batch = model.batch(PROMPTS, responses)
    for row, (prompt, response) in enumerate(zip(PROMPTS, responses, strict=True)):
        tokens = [(token, False) for token in prompt] + [(token, True) for token in response]
        assert marked(batch, row=row) == tokens


def test_brackets_colour_and_end_say_what_is_trained_on() -> None:
    model = build()
    words = [model.tokenizer.encode(text)[0] for text in ("Tom", " has", "4", "2")]
    batch = model.batch([words[:2]], [[*words[2:], model.end_id]])
    text = preview(model, marked(batch, row=0))
    assert text.plain == "Tom has[4|2|<eos><-end]"
    styles = {text.plain[span.start : span.end]: str(span.style) for span in text.spans}
    assert styles[" has"] == "dim"
    assert styles["4"] == styles["2"] == "green"
    assert styles["<eos>"] == "bold reverse green"


def test_a_log_without_colour_shows_the_same() -> None:
    model = build()
    batch = model.batch([[50]], [[60, model.end_id]])
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(preview(model, marked(batch, row=0)))
    assert captured.get().rstrip().endswith("|<eos><-end]")


def test_only_a_text_that_should_end_is_missed_its_end_token() -> None:
    looked_at, goes_on = subject(), subject()
    goes_on.examples = {
        split: [replace(item, closed=False) for item in examples]
        for split, examples in goes_on.examples.items()
    }
    assert goes_on.probe.responses[0].tokens == looked_at.probe.responses[0].tokens[:-1]
    assert {finding.severity for finding in mask(goes_on)} == {Severity.ok}
    looked_at.probe = replace(goes_on.probe, examples=looked_at.probe.examples)
    assert [finding.severity for finding in mask(looked_at)][-1] is Severity.warning


def test_a_mask_that_is_off_by_one_is_found() -> None:
    """Trap 18: each target is predicted from the column before it."""
    looked_at = subject()
    assert {finding.severity for finding in mask(looked_at)} == {Severity.ok}
    student = looked_at.probe.student
    shifted = replace(student, columns=student.columns - 1)
    looked_at.probe = replace(looked_at.probe, student=shifted)
    (found,) = mask(looked_at)
    assert found.severity is Severity.fatal
    assert "student: the trained tokens" in found.what
