"""Which process learns from which rows, and which of them go through the models side by side."""

from collections.abc import Sequence
from dataclasses import replace

from distillkit.core.types import Rollout
from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.language_model import LanguageModel
from distillkit.opinions.base import Reader
from distillkit.training.settings import LoopSettings
from distillkit.training.sides import Sides

OVERHEAD = {"cpu": 2e9, "cuda": 1e13}
"""Operations that a device does while a micro-batch is set up: some 6 ms on two cores, 30 ms on
CUDA, where launching is what takes time."""
NO_MATTER = 1 << 40
"""More tokens than any batch has."""


def split_rows(lengths: Sequence[int], budget: int, *, spare: int) -> list[list[int]]:
    """Group rows of like length so that rows x longest stays within a budget of tokens.

    A row longer than the budget forms a group of its own.

    Args:
        lengths: tokens of each row.
        budget: most padded tokens of a group.
        spare: a row that would pad the shorter ones by more tokens begins a group instead.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        group = groups[-1] if groups else []
        padding = len(group) * (lengths[row] - lengths[group[-1]]) if group else 0
        if group and (len(group) + 1) * lengths[row] <= budget and padding <= spare:
            group.append(row)
        else:
            groups.append([row])
    return groups


def spare_padding(student: LanguageModel, reader: Reader | None) -> int:
    """Padded tokens whose arithmetic takes about as long as the overhead of one more micro-batch.

    A token costs two operations for every weight in a forward pass, and four in a backward one.
    Where nobody reads, a reader of the student's size is counted, so that rows are put together
    as they have been by earlier versions.
    """
    read = (reader or student).padded_parameters
    operations = 6 * student.padded_parameters + 2 * read
    return round(OVERHEAD[student.device.type] / operations) if operations else NO_MATTER


def deal_out(rollouts: Sequence[Rollout], *, sides: Sides, placement: Placement) -> list[int]:
    """The process that learns from each row: the rows of like width go round."""
    widths = _widths(rollouts, sides)
    owners = [0] * len(rollouts)
    for place, row in enumerate(sorted(range(len(rollouts)), key=lambda row: widths[row])):
        owners[row] = place % placement.size
    return owners


def groups_of_rows(
    rollouts: Sequence[Rollout],
    *,
    sides: Sides,
    loop: LoopSettings,
    placement: Placement = ALONE,
    owners: Sequence[int] = (),
) -> list[list[int]]:
    """Which of this process's rows go through the models side by side.

    Where all processes must make as many passes, empty groups stand for those that are lacking.

    Args:
        rollouts: of all processes.
        sides: who reads them.
        loop: how many tokens go together.
        placement: the processes.
        owners: as :func:`deal_out` gives them; dealt out here if empty.
    """
    widths = _widths(rollouts, sides)
    owners = owners or deal_out(rollouts, sides=sides, placement=placement)
    order = sorted(range(len(rollouts)), key=lambda row: widths[row])
    spare = spare_padding(sides.student, sides.reader)

    def groups(rank: int) -> list[list[int]]:
        share = [row for row in order if owners[row] == rank]
        split = split_rows([widths[row] for row in share], loop.micro_batch_tokens, spare=spare)
        return [[share[place] for place in group] for group in split]

    mine = groups(placement.rank)
    if placement.IN_STEP:
        most = max(len(groups(rank)) for rank in range(placement.size))
        mine += [[] for _ in range(most - len(mine))]
    return mine


def idle(rollouts: Sequence[Rollout]) -> Rollout:
    """One token, for a pass that is made because others make one."""
    response = rollouts[0].response
    cut = {
        name: getattr(response, name)[:1]
        for name in ("tokens", "log_probs", "of_student", "of_teacher")
    }
    return replace(rollouts[0], response=replace(response, **cut))


def _widths(rollouts: Sequence[Rollout], sides: Sides) -> list[int]:
    """Tokens of prompt and response, as the one reads them who needs the most."""
    widths = [
        sides.student.prompt_length(rollout.example) + len(rollout.response.tokens)
        for rollout in rollouts
    ]
    if (reader := sides.reader) is None:
        return widths
    return [max(width, reader.length(each)) for width, each in zip(widths, rollouts, strict=True)]
