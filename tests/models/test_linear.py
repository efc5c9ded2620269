"""Linear layers through oneDNN: the numbers and gradients of torch's own."""

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from distillkit.models import library, products
from distillkit.models.head import Head
from distillkit.models.linear import Linear, laid_out, quicken, suits, times_transposed
from distillkit.models.pretrained import Teacher
from tests.tiny import build

MEETING_SHAPES = """
import torch
from distillkit.models import library
from distillkit.models.linear import Linear

library.settle(dict.fromkeys(library.NAMES, "onednn"))

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

layer = Linear(256, 256)

def meet(lengths):
    for rows in lengths:
        layer(torch.ones(rows, 256, requires_grad=True)).sum().backward()

meet(range(200, 400))
before = resident()
meet(range(400, 500))
print(resident() - before)
"""

NAMES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def pair(*, bias: bool) -> tuple[nn.Linear, nn.Linear]:
    """The same layer, plain and quick."""
    torch.manual_seed(0)
    plain = nn.Linear(5, 7, bias=bias)
    holder = nn.Sequential(nn.Linear(5, 7, bias=bias))
    holder[0].load_state_dict(plain.state_dict())
    quicken(holder)
    assert type(holder[0]) is Linear
    return plain, holder[0]


def run(layer: nn.Linear, inputs: Tensor) -> list[Tensor]:
    """Output, and gradients of the input and the parameters."""
    leaf = inputs.clone().requires_grad_()
    output = layer(leaf)
    output.square().sum().backward()
    return [output, leaf.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (2, 3, 5)], ids=str)
def test_outputs_and_gradients_are_those_of_torch(bias: bool, shape: tuple[int, ...]) -> None:
    plain, quick = pair(bias=bias)
    inputs = torch.randn(*shape)
    for found, expected in zip(run(quick, inputs), run(plain, inputs), strict=True):
        torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(quick(inputs), plain(inputs))


def test_frozen_parameters_and_inputs_get_no_gradient() -> None:
    _, quick = pair(bias=True)
    quick.requires_grad_(False)
    leaf = torch.randn(3, 5, requires_grad=True)
    quick(leaf).sum().backward()
    assert leaf.grad is not None
    assert quick.weight.grad is None
    quick.requires_grad_(True)
    quick(torch.randn(3, 5)).sum().backward()
    assert quick.weight.grad is not None


def test_what_stands_for_a_tensor_is_left_to_torch() -> None:
    """Nothing is timed by an estimate, whose tensors have no numbers."""
    with FakeTensorMode():
        left, right = torch.empty(300, 128), torch.empty(256, 128)
        assert not suits(left, right)
        assert times_transposed(left, right).shape == (300, 256)
    assert suits(torch.ones(3, 5), nn.Parameter(torch.ones(7, 5))) == library.HERE


def test_other_types_and_autocast_are_left_to_torch() -> None:
    plain, quick = pair(bias=True)
    inputs = torch.randn(3, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not suits(inputs, quick.weight)
        assert quick(inputs).dtype == torch.bfloat16
        assert torch.equal(quick(inputs), plain(inputs))
    for dtype in (torch.bfloat16, torch.float64):
        plain, quick = plain.to(dtype), quick.to(dtype)
        assert torch.equal(quick(inputs.to(dtype)), plain(inputs.to(dtype)))
        found = times_transposed(inputs.to(dtype), plain.weight)
        assert torch.equal(found, inputs.to(dtype) @ plain.weight.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_laid_out_layer_gives_the_same_for_any_number_of_rows(
    dtype: torch.dtype, bias: bool
) -> None:
    plain, _ = pair(bias=bias)
    quick = laid_out(plain.weight, plain.bias, dtype)
    for rows in (1, 8, 33):
        inputs = torch.randn(rows, 5)
        expected = plain.to(dtype)(inputs.to(dtype))
        torch.testing.assert_close(quick(inputs.to(dtype)), expected)


def test_gradients_survive_a_second_layer_class_in_the_same_model() -> None:
    class Other(nn.Linear):
        """Not a plain linear layer: an adapter, say."""

    holder = nn.Sequential(Other(2, 2), nn.Linear(2, 2))
    quicken(holder)
    assert [type(layer) for layer in holder] == [Other, Linear]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_weights_that_are_laid_out_for_many_calls_give_what_a_layer_gives(
    dtype: torch.dtype, bias: bool
) -> None:
    torch.manual_seed(0)
    weight, more = torch.randn(70, 40), torch.randn(70) if bias else None
    for rows in (1, 8):
        state = torch.randn(rows, 1, 40)
        with torch.inference_mode():
            found = laid_out(weight, more, dtype)(state)
        narrow = None if more is None else more.to(dtype)
        expected = nn.functional.linear(state.to(dtype), weight.to(dtype), narrow)
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
def test_a_narrow_head_scores_many_small_batches_as_it_scores_one(stored: torch.dtype) -> None:
    """Logits are fp32 sums of exact products, never rounded to bf16 and widened."""
    torch.manual_seed(0)
    weight, hidden = torch.randn(300, 40).to(stored), torch.randn(6, 40)
    head = Head(weight=weight, bias=None, vocabulary=290, narrow=stored == torch.float32)
    with torch.inference_mode():
        found, expected = head.scorer()(hidden), head.prepared().logits(hidden)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)
    exact = hidden.bfloat16().double() @ weight.bfloat16().double()[:290].T
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_a_large_head_is_laid_out_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = Head(weight=torch.randn(301, 40), bias=torch.randn(301), vocabulary=290)
    hidden = torch.randn(6, 40)
    with torch.inference_mode():
        whole = head.scorer()(hidden)
        monkeypatch.setattr(products, "TILE", 7 * 40)
        pieces = head.scorer()(hidden)
    torch.testing.assert_close(whole, head.logits(hidden), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(pieces, whole, rtol=1e-6, atol=1e-5)


@pytest.mark.skipif(not library.HERE, reason="torch was built without oneDNN")
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_weights_that_only_read_lie_as_they_are_read(tied: bool) -> None:
    """The same teacher, and a student whose weights learn as they are."""
    student, teacher = build("qwen2", tied=tied), build("qwen2", tied=tied, side=Teacher)
    ours, theirs = (dict(model.module.named_parameters()) for model in (student, teacher))
    turned = {name for name, weight in theirs.items() if not weight.is_contiguous()}
    assert turned == {
        name for name in theirs if "layers" in name and "proj" in name and "weight" in name
    }
    assert all(theirs[name].T.is_contiguous() for name in turned)
    assert all(weight.is_contiguous() for weight in ours.values())
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with torch.no_grad():
        batch = student.batch([[5, 6, 7], [8]], [[9], [4, 3]])
        read = [model.hidden(batch) for model in (student, teacher)]
        torch.testing.assert_close(*read, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_text_of_ever_new_lengths_takes_no_ever_new_memory() -> None:
    """Where all is kept that a shape asked for, these hundred take 210 MB; now 45."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    ours, unbounded = (
        subprocess.run(
            [sys.executable, "-c", MEETING_SHAPES],
            env=environment | dict.fromkeys(NAMES if kept else (), "100000"),
            capture_output=True,
            check=True,
        )
        for kept in (False, True)
    )
    assert int(ours.stdout) < 0.5 * int(unbounded.stdout)


@pytest.mark.parametrize(("asked", "expected"), [({}, "512 128"), ({NAMES[0]: "7"}, "7 7")])
def test_a_large_model_keeps_fewer_products_unless_told_otherwise(
    asked: dict[str, str], expected: str
) -> None:
    """Each of a large one's takes megabytes, and none takes long to make beside the product."""
    source = (
        "import os; from distillkit.models.linear import keep_fewer_products as fewer; "
        f"found = lambda: os.environ[{NAMES[0]!r}]; "
        "fewer(1_000_000); small = found(); fewer(100_000_000); print(small, found())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    result = subprocess.run(
        [sys.executable, "-c", source], env=environment | asked, capture_output=True, text=True
    )
    assert result.stdout.strip() == expected, result.stderr
