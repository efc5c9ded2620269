"""Which GPU a process takes."""

import pytest
import torch

from distillkit.core.errors import ConfigError
from distillkit.distributed.replicas import Replicas
from tests.conftest import CommandLine


@pytest.mark.parametrize(("shown", "taken"), [(8, 3), (1, 0)])
def test_a_process_takes_its_own_gpu_or_the_only_one_that_it_is_shown(
    shown: int, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: under Slurm's gpus_per_task each process sees one device, number 0, whatever its own
    number is."""
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: shown)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    assert Replicas(3, 8).device(torch.device("cuda")) == torch.device("cuda", taken)


def test_one_gpu_is_not_named_for_several_processes() -> None:
    with pytest.raises(ConfigError, match="device=cuda:1 is one device, and 8 processes"):
        Replicas(3, 8).device(torch.device("cuda", 1))


@pytest.mark.parametrize("verb", [["undo-iterate"], ["osd"], ["eval", "run=x"], ["study", "order"]])
def test_what_one_process_does_has_no_placement(verb: list[str], distillkit: CommandLine) -> None:
    result = distillkit(*verb, "placement=replicas")
    assert result.code == 2
    assert "placement=replicas has no meaning here: distillkit train alone" in result.err


@pytest.mark.parametrize("verb", [["eval", "run=x"], ["doctor"], ["sweep"], ["train", "-m"]])
def test_what_one_process_does_is_refused_to_several(
    verb: list[str], distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    result = distillkit(*verb)
    assert result.code == 2
    assert "runs in one process, and 2 were started" in result.err
