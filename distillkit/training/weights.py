"""A student's weights as a file of one piece, whether its processes hold all of it or parts."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from distillkit.core.files import new_folder
from distillkit.core.reading import damaged, read_with
from distillkit.distributed.holding import is_sharded, second_names
from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.language_model import LanguageModel

THOSE = "Put back the weights that the run began with, or start anew under another name=...."
"""The way out where the weights below an adapter are others."""


def save_weights(student: LanguageModel, file: Path, *, placement: Placement = ALONE) -> None:
    """Write the student's weights atomically; called by all processes."""
    tensors = gathered(student)

    def write() -> None:
        partial = file.with_name(f".{file.name}.partial")
        save_file(tensors, partial, metadata=below(student))
        partial.replace(file)

    placement.told(write)


def load_weights(
    student: LanguageModel, file: Path, *, way_out: str, placement: Placement = ALONE
) -> None:
    """Read weights written by :func:`save_weights` into the student; all of them, or none.

    Called by all processes; where they hold parts of the student, the chief reads.

    Raises:
        RunError: the file is damaged, or holds another model's.
    """

    def read() -> dict[str, Tensor]:
        return _read(student, file, way_out=way_out)

    if is_sharded(student.module):
        from distillkit.distributed.state import deal_out

        tensors = placement.together(lambda: read() if placement.chief else {})
        deal_out(student.module, tensors)
        return
    tensors = placement.together(read)
    own = student.module.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def export(student: LanguageModel, folder: Path, *, placement: Placement = ALONE) -> None:
    """Write a folder that ``from_pretrained`` reads, whole or not at all; called by all."""
    state = gathered(student) if is_sharded(student.module) else None

    def write() -> None:
        with new_folder(folder) as partial:
            student.save(partial, state)

    placement.told(write)


def gathered(student: LanguageModel) -> dict[str, Tensor]:
    """All weights; of a sharded student on the chief alone, and called by all processes."""
    if not is_sharded(student.module):
        return _once(student)
    from distillkit.distributed.state import gathered as gather

    names = _names(student)
    return {name: tensor for name, tensor in gather(student.module).items() if name in names}


def _read(student: LanguageModel, file: Path, *, way_out: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = read_with(load_file, file, way_out=way_out)
    if student.rests_on is not None and read_with(_said, file, way_out=THOSE) != below(student):
        raise damaged(file, "it was learned on other weights than student.name's", way_out=THOSE)
    own = student.module.state_dict()
    expected = {name: own[name] for name in _names(student)}
    for name in tensors.keys() | expected.keys():
        shapes = [side[name].shape if name in side else None for side in (tensors, expected)]
        if shapes[0] != shapes[1]:
            raise damaged(file, f"its {name} is not this student's", way_out=way_out)
    return tensors


def _names(student: LanguageModel) -> set[str]:
    """Of the weights in a file: each has one, the first."""
    if not is_sharded(student.module):
        return {*_once(student)}
    return student.module.state_dict().keys() - second_names(student.module)


def below(student: LanguageModel) -> dict[str, str] | None:
    """What a file of weights says of those that it leaves out; None where it holds all."""
    return None if student.rests_on is None else dict(student.rests_on)


def _said(file: Path) -> dict[str, str] | None:
    with safe_open(file, framework="pt") as opened:
        told: dict[str, str] | None = opened.metadata()
    return told


def _once(student: LanguageModel) -> dict[str, Tensor]:
    """State that learning changes.

    It is without weights that never learn, and without the second name of tied tensors, which
    safetensors refuses to write.
    """
    seen: set[int] = set()
    kept, still = {}, student.frozen.keys()
    for name, tensor in student.module.state_dict().items():
        if name not in still and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            kept[name] = tensor.detach().contiguous()
    return kept
