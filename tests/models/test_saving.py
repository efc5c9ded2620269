"""What would end a run at its last line is seen and mended before its first step."""

import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, GenerationConfig

from distillkit.core.errors import ModelError
from distillkit.models.loading import load
from distillkit.models.pretrained import Student
from tests.conftest import SMOKE, CommandLine
from tests.preflight.planted import edited, model
from tests.tiny import CPU, save

pytestmark = pytest.mark.usefixtures("wide")

SETTINGS = "generation_config.json"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 0.6, "top_p": 0.9}, "temperature and top_p .* with do_sample=true"),
        ({"temperature": "hot"}, "temperature .* the ids of its special tokens alone"),
        ({"top_k": -3}, "top_k .* the ids of its special tokens alone"),
        ({"num_beams": 1, "length_penalty": 2.0}, "length_penalty .* special tokens alone"),
        ({"pad_token_id": -1}, "pad_token_id .* special tokens alone"),
    ],
    ids=str,
)
def test_generation_settings_that_could_not_be_saved_are_mended(
    settings: dict, said: str, tmp_path: Path
) -> None:
    edited(SETTINGS, **settings)(save(tmp_path / "model"))
    student = load(Student(name=str(tmp_path / "model")), device=CPU, precision="fp32")
    (note,) = student.notes
    assert re.search(said, note), note
    # As where two models are made to agree on their ends.
    student.module.generation_config.eos_token_id = [1, 2]
    student.save(tmp_path / "saved")
    again = GenerationConfig.from_pretrained(tmp_path / "saved")
    again.validate(strict=True)
    assert again.eos_token_id == [1, 2]
    if settings.get("top_p"):
        assert (again.temperature, again.top_p, again.do_sample) == (0.6, 0.9, True)


def test_settings_that_can_be_saved_are_left_as_they_are(tmp_path: Path) -> None:
    edited(SETTINGS, do_sample=True, temperature=0.6)(save(tmp_path / "model"))
    student = load(Student(name=str(tmp_path / "model")), device=CPU, precision="fp32")
    student.save(tmp_path / "saved")
    before, after = (
        json.loads((tmp_path / name / SETTINGS).read_text()) for name in ("model", "saved")
    )
    assert before == after
    assert not student.notes


def test_a_model_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("The model is quantized with gguf and is not serializable")

    family = type(AutoModelForCausalLM.from_pretrained(save(tmp_path)))
    monkeypatch.setattr(family, "save_pretrained", refuse)
    with pytest.raises(ModelError, match=r"^student\.name=.* could not be saved .*gguf"):
        load(Student(name=str(tmp_path)), device=CPU, precision="fp32")


def test_a_run_with_such_settings_ends_with_a_student(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    """Both stop at either's end, so that the settings change and are checked strictly."""
    model(edited(SETTINGS, temperature=0.6, top_p=0.9, eos_token_id=[1, 5]))
    done = distillkit("train", *SMOKE, "student.name=model", "name=run")
    assert done.code == 0, done.err
    assert "the student is saved with do_sample=true" in done.out
    saved = json.loads((tmp_path / "outputs/train/run/student" / SETTINGS).read_text())
    assert (saved["temperature"], saved["do_sample"]) == (0.6, True)
