"""What a user may get wrong: one sentence, exit code 2, and nothing left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distillkit.compose import compose
from distillkit.core.rundir import RunDirectory
from distillkit.models.loading import EMBEDDED

from .conftest import SMOKE, CommandLine, Result, contents

ROW = '{"prompt": "What is 1 + 1?", "response": "2"}\n'
ROWS = ["dataset=jsonl", "dataset.path=rows.jsonl", "dataset.validation_share=2"]
RUN = Path("outputs/train/run")


def said(result: Result, *words: str) -> None:
    """The result is one sentence that holds the words."""
    assert result.code == 2, result
    assert "Traceback" not in result.out + result.err
    assert result.err.startswith("distillkit: ")
    assert result.err.index("\n") == len(result.err) - 1, result.err
    for word in words:
        assert word in result.err


SETTINGS = [
    (["made_up=1"], "made_up", "distillkit show"),
    (["loop.made_up=1"], "loop.made_up", "distillkit show"),
    (["+made.up=1"], "+made.up=1", "Remove it"),
    (["+divergence.beta=1"], "+divergence.beta=1", "Remove it"),
    (["steps=many"], "steps: Value 'many'", "Integer"),
    (["steps=null"], "steps", "not Optional"),
    (["loop.reduction=sum"], "loop.reduction", "'sum'", "token_mean, sequence_mean"),
    (["precision=fp8"], "precision", "'fp8'", "fp32, bf16"),
    (["divergence=nope"], "divergence=nope", "Choose from", "reverse_kl"),
    (["experiment=nope"], "experiment=nope", "Choose from", "gkd"),
    (["divergence=null"], "divergence=null", "divergence=jsd"),
    (["divergence=jsd,tvd"], "divergence=jsd,tvd", "--multirun"),
    (["~nope"], "nope", "distillkit show"),
    (["a b"], "'a b'", "field=value"),
    (["steps"], "'steps'", "field=value"),
    (["--config-dir", "missing"], "--config-dir missing", "yaml files"),
    (["divergence=jsd", "beta=0"], "beta", "got 0.0", "divergence=forward_kl"),
    (["divergence=jsd", "beta=1"], "beta", "got 1.0", "divergence=reverse_kl"),
    (["divergence=jsd", "divergence.beta=1.5"], "divergence.beta", "got 1.5", "between 0 and 1"),
    (["divergence=reverse_kl", "beta=0.1"], "beta=0.1 has no effect", "divergence=jsd"),
    (["divergence=jsd", "beta=0.1", "divergence.beta=0.2"], "beta=0.1 has no effect", "only one"),
    (["policy=mixed", "lmbda=1.5"], "lmbda", "got 1.5", "[0, 1]"),
    (["policy=on_policy", "lmbda=0.5"], "lmbda=0.5 has no effect", "policy=mixed"),
    (["experiment=sft", "divergence=jsd"], "divergence=jsd has no effect", "objective=divergence"),
    (["objective=sft", "policy=on_policy"], "objective=sft", "policy=off_policy"),
    (["objective=sft", "policy=teacher_mixed"], "objective=sft", "policy=off_policy"),
    (["policy=teacher_mixed", "policy.alpha=1.5"], "policy.alpha", "got 1.5", "[0, 1]"),
    (["policy=mixed", "policy.otherwise=mixture"], "policy.otherwise", "policy=teacher_mixed"),
    (["policy=teacher_mixed", "rollout.max_new_tokens=5000"], "leaves no room for 5000 more"),
    (["objective.chunk_mb=0"], "objective.chunk_mb", "got 0", "at least 1"),
    (["steps=0"], "steps", "got 0", "at least 1"),
    (["name=../elsewhere"], "name=../elsewhere", "output=..."),
    (["optimizer.weight_decay=-1"], "optimizer.weight_decay", "got -1.0", "0 or more"),
    (["optimizer.lr=0"], "optimizer.lr", "got 0.0", "above 0"),
    (["rollout.temperature=-1"], "distillkit: rollout.temperature", "got -1.0", "0 (greedy)"),
    (["teacher_rollout.top_p=0"], "teacher_rollout.top_p", "got 0.0", "(0, 1]"),
    (["checkpoint.export=best", "evaluation.every=0"], "checkpoint.export=best", "above 0"),
    (["evaluation.validation=0"], "evaluation.validation=0", "evaluation.every=0"),
    (["loop.max_prompt_tokens=2"], "loop.max_prompt_tokens=2", "Raise it"),
    (["device=abc"], "device=abc", "Use auto"),
    (["device=mps"], "device=mps", "Use auto"),
    (["teacher=hf"], "teacher.name", "teacher.name=..."),
    (["teacher.name=no/such/folder"], "teacher.name=no/such/folder", "save_pretrained"),
    (["dataset=jsonl"], "dataset.path", "dataset.path=..."),
    (["dataset=jsonl", "dataset.path=missing"], "dataset.path=missing", "give one"),
    (["dataset=lessons"], "dataset.path", "dataset.path=..."),
    (["dataset=lessons", "dataset.path=missing"], "dataset.path=missing", "undo-iterate"),
    (["dataset=gsm8k", "dataset.path=missing"], "dataset.path=missing", "dataset.path=null"),
]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [pytest.param(case, words, id=" ".join(case)) for case, *words in SETTINGS],
)
def test_a_wrong_setting_is_named_with_the_way_out(
    overrides: list[str], words: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    said(distillkit("train", *SMOKE, *overrides), *words)
    assert contents(tmp_path) == {}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(distillkit: CommandLine, tmp_path: Path) -> None:
    said(distillkit("train", *SMOKE, "device=cuda"), "device=cuda", "Use device=cpu")
    assert contents(tmp_path) == {}


def model(**files: Callable[[bytes], bytes]) -> None:
    """``model/``: the embedded student with some files changed, by stem."""
    shutil.copytree(EMBEDDED / "student", "model")
    for file in Path("model").iterdir():
        if file.stem in files:
            file.write_bytes(files[file.stem](file.read_bytes()))


def with_entries_swapped(tokenizer: bytes) -> bytes:
    values = json.loads(tokenizer)
    entries = values["model"]["vocab"]
    left, right = (entry for entry, index in entries.items() if index in (100, 101))
    entries[left], entries[right] = entries[right], entries[left]
    return json.dumps(values).encode()


def with_context(length: int) -> Callable[[bytes], bytes]:
    def change(config: bytes) -> bytes:
        return json.dumps({**json.loads(config), "max_position_embeddings": length}).encode()

    return change


def without_a_tensor(weights: bytes) -> bytes:
    # The header of a safetensors file is JSON after its length in eight bytes.
    size = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + size])
    name = next(key for key in header if "layernorm" in key)
    header["unknown.tensor"] = header.pop(name)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + weights[8 + size :]


MODELS = [
    ({"model": lambda weights: weights[: len(weights) // 2]}, "student.name=model", "again"),
    ({"model": lambda _: b"not weights at all"}, "student.name=model", "again"),
    ({"model": without_a_tensor}, "student.name=model", "layernorm", "again"),
    ({"config": lambda _: b"{"}, "student.name=model", "save_pretrained"),
    ({"tokenizer": lambda _: b"{"}, "student.name=model", "save_pretrained"),
    ({"tokenizer": with_entries_swapped}, "student.name", "different tokenizers", "one family"),
    ({"config": with_context(30)}, "loop.max_prompt_tokens=6", "rollout.max_new_tokens"),
]


@pytest.mark.parametrize(("files", "words"), [(files, words) for files, *words in MODELS])
def test_a_model_that_cannot_be_trusted_is_refused(
    files: dict[str, Callable[[bytes], bytes]], words: list[str], distillkit: CommandLine
) -> None:
    model(**files)
    said(distillkit("train", *SMOKE, "student.name=model"), *words)
    assert not Path("outputs").exists()


def test_a_chat_format_that_the_tokenizer_lacks_is_refused(distillkit: CommandLine) -> None:
    model()
    Path("model/chat_template.jinja").unlink()
    typed = ["teacher.name=model", "teacher.prompt=chat"]
    said(distillkit("train", *SMOKE, *typed), "teacher.prompt=chat", "Use teacher.prompt=alpaca")
    assert not Path("outputs").exists()


DATA = [
    (ROW * 6 + '{"prompt": "Why?"}\n' + ROW, "rows-00006", "no response", "mend the row"),
    (ROW * 6 + '{"prompt": " ", "response": "2"}\n' + ROW, "rows-00006", "empty", "mend the row"),
    (ROW * 6 + '{"prompt":\n' + ROW, "rows.jsonl:7", "not JSON", "mend the line"),
    (ROW * 6 + "[1, 2]\n", "rows.jsonl:7", "not a JSON object", "one object a line"),
    (ROW, "dataset.validation_share=2", "choose a smaller number"),
    ("", "dataset.path=rows.jsonl", "empty train split", "give one with rows"),
    (ROW * 7 + ROW.replace("1 + 1", "1 + " * 400), "rows-00007", "512", "Leave the row out"),
]


@pytest.mark.parametrize(("text", "words"), [(text, words) for text, *words in DATA])
def test_a_row_that_cannot_be_used_is_pointed_at(
    text: str, words: list[str], distillkit: CommandLine
) -> None:
    Path("rows.jsonl").write_text(text)
    said(distillkit("train", *SMOKE, *ROWS), *words)
    assert not Path("outputs").exists()


def test_text_that_off_policy_lacks_is_asked_for(distillkit: CommandLine) -> None:
    Path("rows.jsonl").write_text('{"prompt": "Why?"}\n' * 8)
    typed = [*ROWS, "dataset.response_field=null", "policy=off_policy"]
    said(distillkit("train", *SMOKE, *typed), "policy=off_policy", "rows-00000", "Use policy=")
    assert not Path("outputs").exists()


def a_file() -> None:
    Path("outputs").write_text("mine")


def a_file_of_its_name() -> None:
    RUN.parent.mkdir(parents=True)
    RUN.write_text("mine")


def another_folder() -> None:
    RUN.mkdir(parents=True)
    (RUN / "notes.txt").write_text("mine")


def another_run() -> None:
    begin("steps=3")


def a_damaged_record() -> None:
    begin()
    (RUN / "provenance.json").write_text("{")


def begin(*overrides: str) -> None:
    """The run directory of a run that has just begun."""
    composed = compose("train", [*SMOKE, "name=run", *overrides])
    with RunDirectory(RUN).claim(
        fingerprint=composed.fingerprint,
        config=composed.yaml(),
        overrides=composed.overrides,
        provenance={},
    ):
        pass


OCCUPIED = [
    (a_file, "outputs/train/run cannot be written", "output=..."),
    (a_file_of_its_name, "outputs/train/run", "name=..."),
    (another_folder, "outputs/train/run exists", "not a run directory", "name=..."),
    (another_run, "outputs/train/run holds another configuration", "name=..."),
    (a_damaged_record, "outputs/train/run/provenance.json is damaged", "name=..."),
]


@pytest.mark.parametrize(("given", "words"), [(given, words) for given, *words in OCCUPIED])
def test_what_is_already_there_is_never_overwritten(
    given: Callable[[], None], words: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    given()
    before = contents(tmp_path)
    said(distillkit("train", *SMOKE, "name=run"), *words)
    assert contents(tmp_path) == before


CHECKPOINTS = [
    ("student.safetensors", lambda kept: kept[:-4] + b"\0\0\0\1"),
    ("optimizer.pt", lambda kept: kept[: len(kept) // 2]),
    ("progress.json", lambda _: b"{"),
]


@pytest.mark.parametrize(("name", "change"), CHECKPOINTS)
def test_a_damaged_checkpoint_is_named_and_kept(
    name: str, change: Callable[[bytes], bytes], distillkit: CommandLine, finished_run: Path
) -> None:
    shutil.copytree(finished_run, RUN)
    (RUN / "summary.json").unlink()
    file = RUN / "checkpoints" / "step-000002" / name
    file.write_bytes(change(file.read_bytes()))
    before = contents(RUN)
    said(distillkit("train", *SMOKE, "name=run"), str(file.parent), "damaged", "Delete that folder")
    assert contents(RUN) == before


EVALUATIONS = [
    ([], "run is required", "run=..."),
    (["run=nowhere"], "run=nowhere", "distillkit train printed"),
    (["run=."], "not a run directory", "distillkit train printed"),
    ([f"run={RUN}"], f"run={RUN} is not finished", "to the end"),
    ([f"run={RUN}", "split=dev"], "split", "'dev'", "validation"),
    ([f"run={RUN}", "limit=0"], "limit", "got 0", "at least 1"),
    ([f"run={RUN}", "steps=3"], "steps", "distillkit show"),
    ([f"run={RUN}", "metric=[acuracy]"], "metric=acuracy", "Choose from", "accuracy"),
    ([f"run={RUN}", "metric=rouge", "metric.bleu.x=1"], "bleu", "distillkit show"),
    ([f"run={RUN}", "samples=0"], "samples", "got 0", "at least 1"),
    (
        [f"run={RUN}", "metric=all", "metric.calibration.bins=0"],
        "metric.calibration.bins",
        "at least 1",
    ),
]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [pytest.param(case, words, id=" ".join(case)) for case, *words in EVALUATIONS],
)
def test_an_evaluation_that_cannot_be_made_changes_nothing(
    overrides: list[str], words: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    begin()
    before = contents(tmp_path)
    said(distillkit("eval", *overrides), *words)
    assert contents(tmp_path) == before


def test_a_damaged_run_directory_is_not_evaluated(distillkit: CommandLine) -> None:
    begin()
    (RUN / "run.yaml").write_text("steps: [1")
    said(distillkit("eval", f"run={RUN}"), f"run={RUN}", "run.yaml", "run it again")


def test_a_yaml_of_the_users_own_that_cannot_be_read_is_pointed_at(
    distillkit: CommandLine,
) -> None:
    file = Path("mine/experiment/broken.yaml")
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nsteps: [1\n")
    said(distillkit("show", "--config-dir", "mine", "experiment=broken"), str(file), "Mend it")


def test_numbers_that_go_astray_end_the_run_with_a_sentence(distillkit: CommandLine) -> None:
    said(distillkit("train", *SMOKE, "optimizer.lr=1e30"), "not finite", "Lower optimizer.lr")
    (folder,) = Path("outputs/train").iterdir()
    assert not (folder / "summary.json").exists()
    assert not (folder / "student").exists()


def test_a_name_of_several_lines_is_told_on_one(distillkit: CommandLine) -> None:
    """And what would move a terminal's cursor, or split a log in two, is seen as what it is."""
    result = distillkit("report", "a\nb\x1b[2J\u2028c é\u3000\u200d")
    said(result, "a\\nb\\x1b[2J\\u2028c é\u3000\u200d is neither")
    assert len(result.err.splitlines()) == 1
