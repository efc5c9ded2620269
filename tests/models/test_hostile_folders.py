"""Model folders that are damaged, of another shape, too large, or somebody's code: one sentence."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from distillkit.core.errors import ModelError
from distillkit.models.classifier import Classifier
from distillkit.models.classifying import Classifying
from distillkit.models.encoder import Encoder
from distillkit.models.loading import load
from distillkit.models.pretrained import Student, Teacher
from tests.conftest import SMOKE, CommandLine
from tests.tiny import CPU, save

Change = Callable[[Path], Any]
WEIGHTS = "model.safetensors"


def written(file: str, text: str | bytes) -> Change:
    """A file with other contents."""
    content = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / file).write_bytes(content)


def edited(file: str, **values: Any) -> Change:
    """A file of JSON with other fields."""

    def change(folder: Path) -> None:
        place = folder / file
        place.write_text(json.dumps({**json.loads(place.read_text()), **values}))

    return change


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """Other weights."""

    def rewrite(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        change(held)
        save_file(held, folder / WEIGHTS, metadata={"format": "pt"})

    return rewrite


def cut(folder: Path) -> None:
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


DEEP = "[" * 100_000 + "]" * 100_000
HOSTILE: list[tuple[Change, str]] = [
    (written("config.json", "[1]"), r"config\.json holds \[1\], not fields"),
    (written("config.json", "null"), r"config\.json holds null, not fields"),
    (written("config.json", DEEP), r"config\.json cannot be read"),
    (written("config.json", b"\xff\xfe{}"), r"config\.json cannot be read"),
    (written("config.json", ""), r"config\.json cannot be read"),
    (written("config.json", "{}"), "could not be loaded"),
    (edited("config.json", hidden_size="x"), "could not be loaded .*hidden_size"),
    (edited("config.json", hidden_size=None), "could not be loaded"),
    (edited("config.json", num_attention_heads=0), "num_attention_heads=0"),
    (edited("config.json", num_key_value_heads=0), "could not be loaded"),
    (edited("config.json", num_hidden_layers=-1), "num_hidden_layers=-1"),
    (edited("config.json", num_hidden_layers=1), r"describes 1 parts of model\.layers"),
    (edited("config.json", num_hidden_layers=3), "lacks weights"),
    (edited("config.json", num_hidden_layers=10**6), "num_hidden_layers=1000000"),
    (edited("config.json", hidden_size=10**9), "hidden_size=1000000000"),
    (edited("config.json", hidden_size=6000), "describes .* weights and the files hold"),
    (edited("config.json", vocab_size=10**12), "vocab_size=1000000000000"),
    (edited("config.json", vocab_size=300), r"set vocab_size to 382"),
    (edited("config.json", intermediate_size=32), r"as \[16, 32\], the weights hold \[16, 24\]"),
    (edited("config.json", dtype="evil"), "could not be loaded .*evil"),
    (edited("config.json", model_type="evil"), "could not be loaded"),
    (edited("config.json", model_type=["a"]), "could not be loaded"),
    (edited("config.json", rope_parameters=[1]), "could not be loaded"),
    (edited("config.json", hidden_act="evil"), "could not be loaded .*evil"),
    (edited("config.json", attn_implementation="evil/kernel"), "would run code from the hub"),
    (edited("config.json", quantization_config=[1]), "could not be loaded"),
    (written("generation_config.json", "[]"), r"generation_config\.json holds \[\]"),
    (written("generation_config.json", '{"eos_token_id": "x"}'), "names 'x'"),
    (written("generation_config.json", '{"eos_token_id": [1, null]}'), "names None"),
    (written("generation_config.json", '{"eos_token_id": 999}'), "names 999"),
    (written("generation_config.json", '{"max_new_tokens": 0}'), "could not be loaded"),
    (written("tokenizer.json", "null"), r"tokenizer\.json holds null"),
    (written("tokenizer.json", "{}"), "tokenizer.json holds {}"),
    (written("tokenizer.json", DEEP), r"tokenizer\.json cannot be read"),
    (written("tokenizer_config.json", "[1]"), r"tokenizer_config\.json holds \[1\]"),
    (edited("tokenizer_config.json", tokenizer_class=[1]), "could not be loaded"),
    (edited("tokenizer_config.json", eos_token=7), "could not be loaded"),
    (edited("tokenizer_config.json", added_tokens_decoder={"x": 1}), "could not be loaded"),
    (written(WEIGHTS, b""), "holds damaged weights"),
    (written(WEIGHTS, b"\xff" * 64), "holds damaged weights"),
    (cut, "holds damaged weights"),
    (tensors(lambda held: held.pop("model.norm.weight")), r"lacks weights.*first model\.norm"),
    (
        tensors(lambda held: held.update({"model.norm.weight": torch.ones(7)})),
        r"model\.norm\.weight as \[16\], the weights hold \[7\]",
    ),
    (written("model.safetensors.index.json", "[1]"), r"index\.json holds \[1\]"),
    (pickled, "holds pickled weights"),
    (lambda folder: (folder / WEIGHTS).unlink(), "holds no weights"),
    (lambda folder: (folder / WEIGHTS).rename(folder / "model.gguf"), "holds GGUF weights only"),
]


@pytest.mark.parametrize(("change", "said"), HOSTILE, ids=[case[1] for case in HOSTILE])
def test_a_folder_that_is_no_model_is_one_sentence(
    change: Change, said: str, tmp_path: Path
) -> None:
    change(save(tmp_path))
    with pytest.raises(ModelError, match=said) as caught:
        load(Student(name=str(tmp_path)), device=CPU, precision="fp32")
    assert str(caught.value).startswith("student.name")
    assert "\n" not in str(caught.value)


def test_it_is_refused_before_anything_is_written(distillkit: CommandLine, tmp_path: Path) -> None:
    edited("config.json", num_hidden_layers=10**6)(save(tmp_path / "model"))
    refused = distillkit("train", *SMOKE, "teacher.name=model")
    assert refused.code == 2
    assert refused.err.startswith("distillkit: teacher.name=model: config.json says num_hidden")
    assert refused.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_more_weights_than_memory_are_refused_by_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distillkit.models.folder.available", lambda: 20_000)
    with pytest.raises(ModelError, match=r"^teacher\.name=.* has 10,032 weights.*dtype=bfloat16"):
        load(Teacher(name=str(save(tmp_path))), device=CPU, precision="fp32")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "no such folder", "/dev/null"])
def test_a_name_that_is_no_folder_is_one_sentence(name: str) -> None:
    with pytest.raises(ModelError, match=r"^teacher\.name=.* could not be loaded"):
        load(Teacher(name=name), device=CPU, precision="fp32")


MARK = "from pathlib import Path\nPath({place!r}).write_text('ran')\n"


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_a_folder_is_never_imported_unless_asked(file: str, tmp_path: Path) -> None:
    folder, place = save(tmp_path / "model"), tmp_path / "ran"
    (folder / "evil.py").write_text(MARK.format(place=str(place)))
    classes = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")
    classes += ("AutoModelForSequenceClassification",)
    edited(file, auto_map=dict.fromkeys(classes, "evil.Evil"))(folder)
    for side in (Teacher, Student):
        with suppress(ModelError):
            load(side(name=str(folder)), device=CPU, precision="fp32")
    with suppress(ModelError):
        Encoder(str(folder), device=CPU)
    with suppress(ModelError):
        Classifier(Classifying(name=str(folder)), device=CPU)
    assert not place.exists()


def test_a_type_that_only_its_own_code_knows_is_not_imported(tmp_path: Path) -> None:
    folder, place = save(tmp_path / "model"), tmp_path / "ran"
    (folder / "evil.py").write_text(MARK.format(place=str(place)))
    edited("config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})(folder)
    with pytest.raises(ModelError, match=r"^student\.name=.* could not be loaded"):
        load(Student(name=str(folder)), device=CPU, precision="fp32")
    assert not place.exists()


@pytest.mark.parametrize("change", [case[0] for case in HOSTILE[:6]], ids=range(6))
def test_rewards_and_encoders_are_read_as_carefully(change: Change, tmp_path: Path) -> None:
    change(save(tmp_path))
    with pytest.raises(ModelError, match=r"^reward\.name="):
        Classifier(Classifying(name=str(tmp_path)), device=CPU)
    with pytest.raises(ModelError, match=r"^metric\.similarity\.encoder="):
        Encoder(str(tmp_path), device=CPU)


def test_extra_weights_that_are_no_layers_are_let_be(tmp_path: Path) -> None:
    tensors(lambda held: held.update({"score.weight": torch.ones(2, 16)}))(save(tmp_path))
    load(Student(name=str(tmp_path)), device=CPU, precision="fp32")
    assert AutoModelForCausalLM.from_pretrained(tmp_path)
