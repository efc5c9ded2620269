"""Processes joined by gloo that give one command of the real command line after the other."""

import json
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import load
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from transformers import AutoModelForCausalLM

from distillkit.models import library
from distillkit.models.library import Library
from tests.conftest import Start
from tests.forking import ROOT

USUAL = (
    *("debug=smoke", "tracker=none", "steps=1", "checkpoint.every=1", "loop.max_grad_norm=1e9"),
    *("evaluation.every=0", "evaluation.test=0", "rollout.max_new_tokens=8", "loop.batch_size=5"),
)
"""One update on few tokens, whose gradient can be read in its checkpoint."""

CALLS = (
    *("all_reduce", "all_gather_object", "broadcast_object_list", "broadcast", "barrier"),
    *("all_gather_into_tensor", "reduce_scatter_tensor", "all_gather", "scatter", "gather"),
)
"""Collectives that torch.distributed is asked for by name."""


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells one of its processes."""
    return {
        **{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"},
        **{"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def the_mean() -> None:
    """Gradients as FSDP has them unless it is told otherwise."""
    patch("distillkit.distributed.sharded.sum_gradients", lambda _: None).start()


def no_idle_pass() -> None:
    """As many passes as a process has rows for."""
    patch("distillkit.distributed.sharded.Sharded.IN_STEP", _OnlyWhenLoading()).start()


class _OnlyWhenLoading:
    """True to those who load models, so that they are dealt out all the same."""

    def __get__(self, *_: object) -> bool:
        return sys._getframe(1).f_code.co_name == "load"


def one_library() -> None:
    """MKL, which is quicker for products so small, rounds a row by how many stand beside it."""
    alike = dict.fromkeys(library.NAMES, Library.onednn)
    patch.object(library, "_kept", lambda: alike).start()


MUTATIONS = {each.__name__: each for each in (the_mean, no_idle_pass)}
"""What would be wrong, by name."""


def run_ranks(
    started: Start,
    size: int,
    folder: Path,
    commands: Sequence[Sequence[str]],
    *,
    mutation: str = "",
    rounded_alike: bool = False,
    patience: float = 400,
) -> list[list[dict[str, Any]]]:
    """Give the commands in so many processes; by rank, what came of each.

    Each has ``error``, a sentence or None, and ``calls``, the collectives it asked for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "commands.json").write_text(json.dumps(commands))
    port = free_port()
    ranks = [
        started(
            *(rank, folder, mutation, "alike" if rounded_alike else ""),
            folder=ROOT,
            module=__name__,
            environment=environment(rank, size, port) if size > 1 else {},
        )
        for rank in range(size)
    ]
    said = [rank.communicate(patience)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * size, said
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(size)]


def gradient(run: Path) -> dict[str, torch.Tensor]:
    """The gradient of a run's first update, from the first moment that it left behind."""
    moments = read_moments(run, "exp_avg")
    return {name: tensor / (1 - 0.9) for name, tensor in moments.items()}


def read_moments(run: Path, kind: str) -> dict[str, torch.Tensor]:
    """A kind of moment by the name of its weight, whatever layout wrote the one checkpoint."""
    (checkpoint,) = (run / "checkpoints").iterdir()
    if (checkpoint / "optimizer.pt").is_file():
        # Matrices first, as the optimiser has them, each group in the order of the model.
        named = dict(AutoModelForCausalLM.from_pretrained(run / "student").named_parameters())
        order = sorted(named, key=lambda name: named[name].ndim < 2)
        state = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"]
        if len(state) != len(order):
            return {str(place): found[kind] for place, found in state.items()}
        return {order[place]: found[kind] for place, found in state.items()}
    parts = str(checkpoint / "parts")
    reader = HuggingFaceStorageReader(parts)
    told = reader.read_metadata().state_dict_metadata
    flat = {name: torch.zeros(each.size) for name, each in told.items() if name.endswith(kind)}
    load(flat, storage_reader=HuggingFaceStorageReader(parts), no_dist=True)
    return {name.removesuffix(f"//{kind}"): tensor for name, tensor in flat.items()}


def work(rank: int, folder: Path) -> None:
    """What each process does; it leaves what came of its commands in the folder."""
    from distillkit import cli

    torch.set_num_threads(1)
    results = []
    for arguments in json.loads((folder / "commands.json").read_text()):
        calls: list[str] = []
        with ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(patch.object(dist, name, _noted(getattr(dist, name), calls)))
            error = None
            try:
                cli.app(arguments, standalone_mode=False)
            except Exception as found:
                error = f"{type(found).__name__}: {str(found)[-800:]}"
        results.append({"error": error, "calls": calls})
    (folder / f"rank-{rank}.json").write_text(json.dumps(results))
    if dist.is_initialized():
        dist.destroy_process_group()


def _noted(function: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def noted(*arguments: Any, **named: Any) -> Any:
        calls.append(function.__name__)
        return function(*arguments, **named)

    return noted


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    MUTATIONS.get(sys.argv[3], lambda: None)()
    if sys.argv[4]:
        one_library()
    work(int(sys.argv[1]), Path(sys.argv[2]))
