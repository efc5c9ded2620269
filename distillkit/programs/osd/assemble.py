"""A stream's models, requests and held-out prompts, checked before the directory is claimed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from distillkit.core.errors import DataError, DistillkitError
from distillkit.core.seeds import child_seed
from distillkit.core.types import Example, Split
from distillkit.datasets.base import Dataset, Gathered
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load, pick_device
from distillkit.models.pair import agree_on_the_end, load_pair
from distillkit.models.shared_ids import share_ids
from distillkit.online.requests import Request, requests_of
from distillkit.online.routing import Route, route_of
from distillkit.run_drafts import OsdRun


@dataclass(frozen=True, slots=True)
class Assembled:
    """What a stream is served with.

    Attributes:
        target: answers.
        students: drafts by name.
        route: chooses one of them.
        requests: all of the stream.
        held: held-out prompts by domain.
        notes: what the user should be told.
    """

    target: LanguageModel
    students: dict[str, LanguageModel]
    route: Route
    requests: Sequence[Request]
    held: Mapping[str, Sequence[Example]]
    notes: tuple[str, ...]


def assemble(run: OsdRun) -> Assembled:
    """Read the data, then load the models, and check that they fit each other.

    Raises:
        DistillkitError: anything that would end or falsify the run later.
    """
    order = run.stream.domains([*run.domain], seed=run.seed)
    wanted = [Split.train, Split.validation]
    gathered = {name: _gathered(name, dataset, wanted) for name, dataset in run.domain.items()}
    notes = [
        f"domain.{name}: {remark.sentence()}"
        for name, found in gathered.items()
        for remark in found.remarks
    ]
    device = pick_device(run.device)
    first, target, fitted = load_pair(
        run.student, run.teacher, device=device, precision=run.precision
    )
    assert target is not None
    first.begin(child_seed(run.seed, "init"))
    notes += fitted
    prompts = {
        split: {
            name: _fitting(run, name, found.examples[split], (target, first), notes)
            for name, found in gathered.items()
        }
        for split in wanted
    }
    held = {name: each[: run.probe.size] for name, each in prompts[Split.validation].items()}
    names, route = route_of(run.routing, held)
    students = {names[0]: first}
    for name in names[1:]:
        students[name] = _another(run, target, device)
    requests = requests_of(order, prompts[Split.train])
    notes += _repeated(requests, prompts[Split.train])
    return Assembled(target, students, route, requests, held, tuple(notes))


def _gathered(name: str, dataset: Dataset, wanted: Sequence[Split]) -> Gathered:
    try:
        return dataset.gather(wanted)
    except DistillkitError as error:
        # A dataset names its fields as they are typed where it is the only one.
        raise DataError(str(error).replace("dataset.", f"domain.{name}.")) from error


def _another(run: OsdRun, target: LanguageModel, device: torch.device) -> LanguageModel:
    student = load(run.student, device=device, precision=run.precision)
    student.begin(child_seed(run.seed, "init"))
    share_ids(target, student)
    agree_on_the_end(target, student)
    return student


def _fitting(
    run: OsdRun,
    name: str,
    examples: Sequence[Example],
    models: Sequence[LanguageModel],
    notes: list[str],
) -> list[Example]:
    """Prompts that leave both models room for a whole response."""
    longest = run.rollout.max_new_tokens
    kept = [
        example
        for example in examples
        if all(model.prompt_length(example) + longest <= model.context for model in models)
    ]
    if not kept:
        raise DataError(
            f"domain.{name} has no prompt that leaves room for rollout.max_new_tokens={longest} in "
            f"a context of {min(model.context for model in models)}. Lower it, or leave the domain "
            f"out with ~domain.{name}."
        )
    if dropped := len(examples) - len(kept):
        notes.append(
            f"domain.{name}: dropped {dropped} prompts that leave no room for "
            f"rollout.max_new_tokens={longest}"
        )
    return kept


def _repeated(requests: Sequence[Request], prompts: dict[str, list[Example]]) -> list[str]:
    """Domains whose prompts are asked more than once."""
    counts = {name: sum(each.domain == name for each in requests) for name in prompts}
    return [
        f"domain.{name} has {len(each)} prompts for {counts[name]} requests: they come again"
        for name, each in prompts.items()
        if counts[name] > len(each)
    ]
