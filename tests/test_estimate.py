"""``distillkit estimate`` through the real command line, on the embedded pair."""

import json
from pathlib import Path

import pytest

from .conftest import SMOKE, CommandLine, contents
from .test_bad_input import said

FEW = ["--k", "1,4", "--draws", "1,2", "--repeats", "3"]
FOLDER = Path("outputs/estimate")


def test_an_estimate_prints_a_table_and_leaves_numbers_and_a_picture(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    result = distillkit("estimate", *SMOKE, "divergence=reverse_kl", "name=here", *FEW)
    assert (result.code, result.err) == (0, "")
    for line in ("dense", "teacher top 4", "student top 1", "sampled", "k1, 1 draw", "k3, 2 draws"):
        assert line in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    left = {name for name, kept in contents(tmp_path).items() if kept is not None}
    assert left == {str(FOLDER / "here.json"), str(FOLDER / "here.png")}
    assert (FOLDER / "here.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((FOLDER / "here.json").read_text())
    assert found["responses"] == 4
    assert found["plan"] == {"k": [1, 4], "draws": [1, 2], "repeats": 3}
    assert "last hidden states" in found["gradient"]
    assert len(found["rows"]) == 1 + 2 + 2 + 1 + 3 * 2
    dense, *_, sampled = (row for row in found["rows"] if row["draws"] is None)
    assert dense["value"] > sampled["value"] > 0


def test_the_same_estimate_again_has_the_same_rows(distillkit: CommandLine) -> None:
    typed = ["estimate", *SMOKE, "divergence=reverse_kl", *FEW]
    rows = []
    for place in ("one", "other"):
        assert distillkit(*typed, f"output={place}").code == 0
        (file,) = Path(place, "estimate").glob("mixed-reverse_kl-*.json")
        rows.append(json.loads(file.read_text())["rows"])
    assert rows[0] == rows[1]


AUTHORS = {"on_policy": "student", "teacher_mixed": "mixture"}


@pytest.mark.parametrize("policy", AUTHORS)
@pytest.mark.parametrize("loop", ["reduction=token_mean", "reduction=sequence_mean", "group=2"])
def test_the_dense_value_is_the_loss_of_trainings_first_step(
    loop: str, policy: str, distillkit: CommandLine
) -> None:
    """Same examples, same authors, same text, same weights."""
    typed = [*SMOKE, f"policy={policy}", f"loop.{loop}", "name=run"]
    typed += ["evaluation.every=0", "evaluation.test=0"]
    assert distillkit("train", *typed).code == 0
    first = json.loads(Path("outputs/train/run/metrics.jsonl").read_text().splitlines()[0])
    assert distillkit("estimate", *typed, "loop.micro_batch_tokens=100", *FEW).code == 0
    found = json.loads((FOLDER / "run.json").read_text())
    assert found["rows"][0]["value"] == pytest.approx(first["loss"], rel=1e-5)
    assert found["tokens"] == first["tokens"]
    assert found["authors"] == {AUTHORS[policy]: 4}


def test_a_mixture_without_the_teacher_is_estimated_as_the_students_text(
    distillkit: CommandLine,
) -> None:
    policies = {
        "student": ["policy=on_policy"],
        "none": ["policy=teacher_mixed", "policy.alpha=0"],
        "half": ["policy=teacher_mixed", "policy.alpha=0.5"],
    }
    rows = {}
    for name, typed in policies.items():
        assert distillkit("estimate", *SMOKE, *typed, f"name={name}", *FEW).code == 0
        rows[name] = json.loads((FOLDER / f"{name}.json").read_text())["rows"]
    assert rows["none"] == rows["student"] != rows["half"]


def test_another_divergence_says_why_the_monte_carlo_rows_are_missing(
    distillkit: CommandLine,
) -> None:
    result = distillkit("estimate", *SMOKE, "divergence=jsd", *FEW)
    assert result.code == 0
    assert "estimate reverse KL alone and are left out" in result.out
    assert "k3, 1 draw" not in result.out


def test_a_teacher_that_writes_is_asked_for_this_batch_alone(distillkit: CommandLine) -> None:
    result = distillkit("estimate", *SMOKE, "policy=seq_kd", *FEW)
    assert result.code == 0
    assert "teacher wrote 4 of 4" in result.out
    assert "4 by the teacher" in " ".join(result.out.split())


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["objective=sft", "policy=off_policy"], ["objective=sft", "Use objective=divergence"]),
        (["experiment=sft"], ["objective=sft", "Use objective=divergence"]),
        (["objective=kd", "policy=off_policy"], ["objective=kd", "is no divergence alone"]),
        (["made_up=1"], ["made_up", "distillkit show"]),
        (["--k", "1,x"], ["--k takes whole numbers", "'1,x'", "--k 1,4,16"]),
        (["--k", "0"], ["--k takes numbers of at least 1", "'0'"]),
        (["--draws", ""], ["--draws takes whole numbers", "''"]),
        (["--repeats", "1"], ["--repeats must be at least 2", "got 1"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_estimated_is_one_sentence_and_leaves_nothing(
    typed: list[str], words: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    said(distillkit("estimate", *SMOKE, *typed), *words)
    assert contents(tmp_path) == {}


def test_a_place_that_cannot_be_written_is_refused(distillkit: CommandLine, tmp_path: Path) -> None:
    Path("taken").write_text("")
    said(distillkit("estimate", *SMOKE, "output=taken"), "taken/estimate", "output=...")
    assert set(contents(tmp_path)) == {"taken"}


def test_an_estimate_reads_no_split_but_train(distillkit: CommandLine) -> None:
    Path("rows").mkdir()
    Path("rows/train.jsonl").write_text(4 * '{"prompt": "What is 1 + 1?", "response": "2"}\n')
    for split in ("validation", "test"):
        Path(f"rows/{split}.jsonl").write_text("damaged")
    typed = ["tracker=none", "dataset=jsonl", "dataset.path=rows", "loop.batch_size=2"]
    assert distillkit("train", *typed).code == 2
    assert distillkit("estimate", *typed, "policy=off_policy", *FEW).code == 0
