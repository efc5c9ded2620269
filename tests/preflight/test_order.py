"""The doctor's report: what is quick at once, what is costly last and with its price."""

import json
from pathlib import Path

import pytest

from distillkit.preflight.checks import CHECKS
from tests.conftest import SMOKE, CommandLine
from tests.preflight.planted import found

pytestmark = pytest.mark.usefixtures("wide")


def test_no_check_that_needs_a_pass_comes_before_one_that_does_not() -> None:
    priced = [check.price > 0 for check in CHECKS if check.name != "writing"]
    assert priced == sorted(priced)
    assert not any(check.price for check in CHECKS if check.quick)
    assert CHECKS[-1].name == "pace"


def test_a_costly_check_says_its_price_before_it_is_made(
    distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distillkit.programs.doctor.TOLD", 0.0)
    lines = distillkit("doctor", *SMOKE).out.splitlines()
    for name in ("signal", "zero", "pace"):
        (told,) = [row for row, line in enumerate(lines) if line.startswith(f"        {name}, ab")]
        assert lines[told].endswith(" s ...")
        assert lines[told + 1].startswith(f"ok      {name}")


def test_one_outlier_does_not_set_the_length_limit(distillkit: CommandLine, tmp_path: Path) -> None:
    """Each limit that is proposed comes with the share that it cuts and with what it costs."""
    lengths = [60, *[20] * 6, *[12] * 14]
    rows = [
        {"prompt": f"What is {n}?", "response": "1 " * (length // 2)}
        for n, length in enumerate(lengths)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = found(
        distillkit(
            "doctor",
            "tracker=none",
            "steps=2",
            "dataset=jsonl",
            "dataset.path=rows.jsonl",
            "dataset.validation_share=2",
            "rollout.max_new_tokens=4",
        ),
        "warning",
        "lengths",
    )
    assert "half have over 8 tokens, the longest 32" in said
    assert "mend: Set rollout.max_new_tokens=8 (cuts 37%, a text that never ends takes 2 " in said
    assert "or 12 (cuts 5%, a text that never ends takes 3 times as long)" in said
    assert "or 32 (cuts none, a text that never ends takes 8 times as long)" in said
    assert "or leave it" in said


def test_a_limit_beyond_the_context_is_not_proposed(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    rows = [{"prompt": f"What is {n}?", "response": "1 " * 600} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    typed = (
        "dataset=jsonl",
        "dataset.path=rows.jsonl",
        "dataset.validation_share=2",
        "steps=2",
        "loop.batch_size=2",
    )
    said = found(distillkit("doctor", "tracker=none", *typed), "warning", "lengths")
    assert "Set rollout.max_new_tokens=5" in said
    assert "max_new_tokens=1201" not in said
