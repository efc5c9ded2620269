"""Who multiplies is measured once and kept for the processor; results differ by rounding alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from distillkit.models import library
from distillkit.models.library import NAMES, Kind, Library
from distillkit.models.linear import Linear, laid_out, quicken, times_transposed, transposed_times

pytestmark = pytest.mark.skipif(not library.HERE, reason="torch was built without oneDNN")


@pytest.fixture(autouse=True)
def afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that was never measured, and this process's own choice afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library._kept.cache_clear()
    yield
    library._kept.cache_clear()
    monkeypatch.undo()
    library.settle()


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "distillkit").glob("*.json"))


def all_of(chosen: Library) -> dict[str, str]:
    return dict.fromkeys(NAMES, str(chosen))


def test_what_was_measured_is_kept_and_taken_again(tmp_path: Path) -> None:
    first = library.settle()
    assert set(first) == set(NAMES)
    (file,) = kept(tmp_path)
    told = json.loads(file.read_text())
    assert told["chosen"] == first
    # Whoever measured first is right for all: what the file says is taken.
    told["chosen"] = all_of(Library.blas)
    file.write_text(json.dumps(told))
    library._kept.cache_clear()
    assert library.settle() == all_of(Library.blas)


def test_what_a_run_recorded_goes_before_what_is_kept() -> None:
    own = library.settle()
    for chosen in Library:
        assert library.settle(all_of(chosen)) == all_of(chosen)
        assert library.onednn(Kind.forward, 1) == (chosen is Library.onednn)
    assert library.settle() == own
    # Of a version that knew other kinds, or other libraries, nothing can be taken.
    assert library.settle({"forward": "onednn"}) == own
    assert library.settle({**all_of(Library.blas), NAMES[0]: "cutlass"}) == own


@pytest.mark.parametrize("wide", Library)
def test_a_step_over_wide_weights_has_a_library_of_its_own(wide: Library) -> None:
    other = next(each for each in Library if each is not wide)
    library.settle({**all_of(other), "step of decoding, wide": str(wide)})
    widths = [8 * 16 * 32, 8 * 256 * 512, 8 * 256 * 2048, 8 * 256 * 4096, 8 * 49152 * 576]
    steps = [library.onednn(Kind.step, each) for each in widths]
    assert steps == [each is Library.onednn for each in (other, other, other, wide, wide)]
    assert {library.onednn(Kind.forward, each) for each in widths} == {other is Library.onednn}


@pytest.mark.parametrize("words", ["", "{", "[]", '{"chosen": {}}', '{"chosen": {"a": "blas"}}'])
def test_a_file_that_says_nothing_is_no_obstacle(words: str, tmp_path: Path) -> None:
    library.settle()
    (file,) = kept(tmp_path)
    file.write_text(words)
    library._kept.cache_clear()
    measured = library.settle()
    assert set(measured) == set(NAMES)
    # The next process takes what this one measured.
    assert json.loads(file.read_text())["chosen"] == measured


def test_where_nothing_can_be_kept_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert set(library.settle()) == set(NAMES)


@pytest.mark.parametrize(("kind", "size"), library.TIMED.values(), ids=NAMES)
def test_both_ways_that_are_timed_make_the_same_product(kind: Kind, size: str) -> None:
    ways = library._ways(kind, *library.SIZES[size])
    assert set(ways) == set(Library)
    torch.testing.assert_close(ways[Library.onednn](), ways[Library.blas]())


@pytest.mark.parametrize("chosen", Library)
def test_layers_give_the_same_with_either(chosen: Library) -> None:
    library.settle(all_of(chosen))
    torch.manual_seed(0)
    plain, holder = nn.Linear(40, 70), nn.Sequential(nn.Linear(40, 70))
    holder[0].load_state_dict(plain.state_dict())
    quicken(holder)
    states = torch.randn(3, 11, 40)
    found = []
    for layer in (plain, holder[0]):
        leaf = states.clone().requires_grad_()
        layer(leaf).square().sum().backward()
        found.append([layer(leaf), leaf.grad, layer.weight.grad, layer.bias.grad])
    assert isinstance(holder[0], Linear)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(times_transposed(states, plain.weight), states @ plain.weight.T)
        few = laid_out(plain.weight, plain.bias, torch.float32)(states[:1])
        torch.testing.assert_close(few, plain(states[:1]))


@pytest.mark.parametrize("chosen", Library)
@pytest.mark.parametrize(("height", "width"), [(7, 50), (50, 7), (300, 4)])
def test_gradients_of_weights_are_laid_out_on_either_side(
    chosen: Library, height: int, width: int
) -> None:
    library.settle(all_of(chosen))
    torch.manual_seed(0)
    left, right = torch.randn(20, height + 3), torch.randn(20, width)
    # A slice of columns, as a tile of the head has them.
    found = transposed_times(left[:, 1:-2], right)
    torch.testing.assert_close(found, left[:, 1:-2].T @ right)
    assert found.is_contiguous()


def test_the_number_of_threads_is_what_it_was() -> None:
    before = torch.get_num_threads()
    library.settle()
    assert torch.get_num_threads() == before


class Operands(TorchDispatchMode):
    """Whether the factors of oneDNN's products lie in memory without gaps, transposed or not."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[bool] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.mkldnn._linear_pointwise.default:
            self.whole += [each.is_contiguous() or each.T.is_contiguous() for each in args[:2]]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("width", [8, 400], ids=["right is laid out", "left is laid out"])
def test_pieces_of_wider_rows_are_taken_out_before_they_are_multiplied(width: int) -> None:
    library.settle(all_of(Library.onednn))
    left, right = torch.randn(64, 600)[:, :200], torch.randn(64, 900)[:, :width]
    with Operands() as seen:
        found = transposed_times(left, right)
    assert seen.whole == [True, True]
    torch.testing.assert_close(found, left.T @ right, rtol=1e-4, atol=1e-4)
