"""Cuts a student out of a language model: some of its layers, everything else as it is.

python -m scripts.cut outputs/models/smollm2_135m outputs/models/smollm2_135m_cut_10 --layers 10

Layers are taken evenly, the first and the last among them. The folder is what ``student.name``
takes, and its ``cut.json`` says what it was cut from.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillkit.core.files import new_folder, write_json
from distillkit.models.identity import digest_of


def main(
    source: Annotated[Path, typer.Argument(help="Folder of the model.")],
    target: Annotated[Path, typer.Argument(help="Folder to be made.")],
    layers: Annotated[int, typer.Option(help="How many to keep.", min=2)],
) -> None:
    """Write a model of fewer layers; nothing is done where the folder is there."""
    if target.exists():
        print(f"{target} is there")
        return
    kept = write_cut(source, target, layers)
    print(f"{target} keeps layers {', '.join(map(str, kept))} of {source}")


def write_cut(source: Path, target: Path, layers: int) -> list[int]:
    """Cut the model of one folder into another, which is whole or absent.

    Args:
        source: written by ``save_pretrained``, with its tokenizer.
        target: to be made.
        layers: how many to keep.

    Returns:
        The layers that were kept.
    """
    module = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    record = {"source": str(source), "digest": digest_of(module)}
    kept = spread(len(module.base_model.layers), layers)
    cut(module, kept)
    with new_folder(target) as folder:
        module.save_pretrained(folder)
        AutoTokenizer.from_pretrained(source).save_pretrained(folder)
        write_json(folder / "cut.json", {**record, "layers": kept})
    return kept


def spread(there: int, kept: int) -> list[int]:
    """So many of the first ``there`` numbers, evenly, the first and the last among them."""
    if not 2 <= kept <= there:
        raise SystemExit(f"--layers {kept}: this model has {there}, of which 2 or more can stay")
    return [round(place * (there - 1) / (kept - 1)) for place in range(kept)]


def cut(module: Any, kept: list[int]) -> None:
    """Leave a transformers model with some of its decoder layers, in place."""
    body, config = module.base_model, module.config
    body.layers = nn.ModuleList(body.layers[place] for place in kept)
    config.num_hidden_layers = len(kept)
    if kinds := getattr(config, "layer_types", None):
        config.layer_types = [kinds[place] for place in kept]


if __name__ == "__main__":
    typer.run(main)
