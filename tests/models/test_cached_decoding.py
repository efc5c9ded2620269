"""Text that is written behind a cache is what whole passes give, in every causal family."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from distillkit.core.errors import DistillkitError, ModelError
from distillkit.core.types import Response
from distillkit.models.decoder import Decoder
from distillkit.models.full_decoder import FullDecoder
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.loading import load
from distillkit.models.mixture import generate_mixture
from distillkit.models.module_decoder import ModuleDecoder
from distillkit.models.pretrained import PromptStyle, Student, Teacher
from distillkit.models.sampling import Sampling
from tests.conftest import SMOKE, CommandLine
from tests.families import tiny_config
from tests.tiny import CPU, TOKENIZER, build

PROMPTS = [[50, 60, 70, 80, 90, 100, 110], [200], [300, 301, 302], [44, 55, 66, 77, 88], [5, 6]]
OFTEN_ENDING = frozenset(range(1, 382, 4))
GREEDY = Sampling(temperature=0, max_new_tokens=10)
LARGEST = 60_000_000
"""Parameters of a model that is built in a test."""


def stored(family: str, folder: Path, **more: int) -> Path:
    """A random model of a family, and a tokenizer."""
    config = tiny_config(family)
    for name, value in more.items():
        setattr(config, name, value)
    with torch.device("meta"):
        meta = AutoModelForCausalLM.from_config(config)
    if sum(parameter.numel() for parameter in meta.parameters()) > LARGEST:
        pytest.skip("has no small shape")
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    module.save_pretrained(folder)
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(folder)
    return folder


def loaded(family: str, folder: Path) -> LanguageModel:
    source = Student(name=str(stored(family, folder)), prompt=PromptStyle.plain)
    model = load(source, device=CPU, precision="fp32")
    model.stop_ids = OFTEN_ENDING
    return model


def is_right(model: LanguageModel, prompt: list[int], written: Response) -> bool:
    """Whether each token is as likely as a pass over the text before it, alone, makes it."""
    text = list(prompt)
    with evaluating(model):
        for token, log_prob in zip(written.tokens, written.log_probs, strict=True):
            ids = torch.tensor([text])
            logits = model.module(input_ids=ids, use_cache=False).logits[0, -1]
            expected = logits[: model.head.vocabulary].log_softmax(-1)[token]
            if abs(log_prob - expected) > 2e-3:
                return False
            text.append(token)
    return True


def writes_and_learns(model: LanguageModel) -> None:
    """Rows of different lengths that end at different times, then a backward pass."""
    texts = generate(model, PROMPTS, Sampling(max_new_tokens=10), seed=0)
    assert len({len(text.tokens) for text in texts}) > 1
    for prompt, text in zip(PROMPTS, texts, strict=True):
        assert is_right(model, prompt, text)
    model.learn(dropout=True)
    hidden = model.hidden(model.batch(PROMPTS, [text.tokens for text in texts]))
    hidden.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


CACHED = ["llama", "gpt2", "qwen3_next", "qwen3_5_text", "lfm2", "granitemoehybrid", "bamba"]
CACHED += ["jamba", "falcon_h1", "mamba2", "gpt_oss", "bloom", "mpt"]
UNCACHED = ["mamba", "rwkv", "recurrent_gemma", "zamba2", "minimax", "bart"]


@pytest.mark.parametrize("family", CACHED)
def test_a_family_whose_cache_is_right_writes_behind_it(family: str, tmp_path: Path) -> None:
    model = loaded(family, tmp_path)
    decoder = model.way.ready()(rows=1, length=1)
    assert isinstance(decoder, Decoder if family == "llama" else ModuleDecoder)
    writes_and_learns(model)


@pytest.mark.parametrize("family", UNCACHED)
def test_a_family_whose_cache_goes_wrong_writes_without_it(family: str, tmp_path: Path) -> None:
    """A state that padding reaches, a cache of its own, or none that transformers hands over."""
    model = loaded(family, tmp_path)
    assert isinstance(model.way.ready()(rows=1, length=1), FullDecoder)
    writes_and_learns(model)


@pytest.mark.parametrize("family", ["bert", "xlnet", "xlm", "reformer", "llama4", "electra"])
def test_a_family_that_cannot_be_scored_is_refused_when_it_is_loaded(
    family: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"^student\.name") as caught:
        loaded(family, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
def test_every_causal_family_writes_what_whole_passes_give_or_is_refused(
    family: str, tmp_path: Path
) -> None:
    try:
        folder = stored(family, tmp_path)
    except Exception as error:
        pytest.skip(f"no small shape is known: {type(error).__name__}")
    try:
        model = load(Student(name=str(folder)), device=CPU, precision="fp32")
    except DistillkitError:
        return
    model.stop_ids = OFTEN_ENDING
    writes_and_learns(model)


def test_a_model_that_sees_what_follows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss would look at the answer."""
    hidden = LanguageModel.hidden

    def leaking(self, batch):
        return hidden(self, batch) + batch.tokens[batch.rows].sum(-1, keepdim=True) / 1000

    monkeypatch.setattr(LanguageModel, "hidden", leaking)
    with pytest.raises(ModelError, match="depends on what follows it or stands beside it"):
        build("llama")


def test_a_written_out_step_that_is_wrong_gives_way_to_the_models_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Decoder.__call__
    monkeypatch.setattr(Decoder, "__call__", lambda self, *given: step(self, *given) * 1.02)
    assert isinstance(build("llama").way.ready()(rows=1, length=1), ModuleDecoder)


def test_dropping_the_wrong_row_of_a_cache_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModuleDecoder, "keep", lambda self, rows: None)
    assert isinstance(build("gpt2").way.ready()(rows=1, length=1), FullDecoder)


def test_a_cache_that_forgets_within_its_window_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe reads beyond a window that is small."""
    begin = ModuleDecoder.__init__

    def forgetful(self, body, config, known):
        shorter = deepcopy(config)
        shorter.sliding_window = 14
        begin(self, body, shorter, known)

    assert isinstance(
        build("gemma2", sliding_window=20).way.ready()(rows=1, length=1), ModuleDecoder
    )
    monkeypatch.setattr(ModuleDecoder, "__init__", forgetful)
    assert isinstance(build("gemma2", sliding_window=20).way.ready()(rows=1, length=1), FullDecoder)


def test_bf16_arithmetic_is_no_fault_of_a_cache() -> None:
    for family in ("llama", "gpt2", "gemma2"):
        model = build(family, side=Teacher, precision="bf16")
        assert not isinstance(model.way.ready()(rows=1, length=1), FullDecoder)


def test_a_mixture_with_a_recurrent_voice_is_its_own_text_at_a_share_of_0(tmp_path: Path) -> None:
    student, teacher = loaded("rwkv", tmp_path), build("llama", side=Teacher)
    alone = generate(student, PROMPTS, GREEDY, seed=0)
    together = generate_mixture(
        student,
        teacher,
        prompts=PROMPTS,
        teacher_prompts=PROMPTS,
        sampling=GREEDY,
        share=0.0,
        seed=0,
    )
    for mine, ours in zip(alone, together, strict=True):
        assert mine.tokens[: len(ours.tokens)] == ours.tokens


@pytest.mark.usefixtures("wide")
def test_a_training_says_that_its_student_writes_without_a_cache(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    stored("rwkv", tmp_path / "model")
    done = distillkit(
        "train", *SMOKE, "student.name=model", "student.prompt=plain", "rollout.max_new_tokens=4"
    )
    assert done.code == 0, done.err
    assert "note: student: text that RwkvForCausalLM writes behind its cache is not" in done.out
