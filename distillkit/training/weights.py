"""A student's weights as a file of one piece, whether its processes hold all of it or parts."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from distillkit.core.files import new_folder
from distillkit.core.reading import damaged, read_with
from distillkit.distributed.holding import is_sharded, second_names
from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.language_model import LanguageModel


def save_weights(student: LanguageModel, file: Path, *, placement: Placement = ALONE) -> None:
    """Write the student's weights atomically; called by all processes."""
    tensors = gathered(student)

    def write() -> None:
        partial = file.with_name(f".{file.name}.partial")
        save_file(tensors, partial)
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
        return _once(student.module.state_dict())
    from distillkit.distributed.state import gathered as gather

    names = _names(student)
    return {name: tensor for name, tensor in gather(student.module).items() if name in names}


def _read(student: LanguageModel, file: Path, *, way_out: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = read_with(load_file, file, way_out=way_out)
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
        return {*_once(student.module.state_dict())}
    return student.module.state_dict().keys() - second_names(student.module)


def _once(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the second name of tied tensors, which safetensors refuses to write."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in state.items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            kept[name] = tensor.detach().contiguous()
    return kept
