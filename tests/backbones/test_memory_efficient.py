"""What training does not store, against the plain layers: equal outputs, gradients and statistics."""

import copy

import pytest
import torch
from torch import nn

from backbones.layers import Activation, BatchNorm2d, ConvNormAct
from backbones.memory_efficient import PIECE, gate, norm_act
from heads.detection.focal import dense_quality_focal_loss, focal_loss


def norm_of(channels):
    torch.manual_seed(1)
    norm = BatchNorm2d(channels, eps=1e-3, momentum=0.1)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    return norm


def both(norm, act, x, dtype=torch.float32):
    """(output, gradients of x, weight, bias) and the layer itself, for the lean and the plain way."""
    found = []
    for way in (norm_act, lambda norm, act, x: act(norm(x))):
        layer, given = copy.deepcopy(norm), x.clone().to(dtype).requires_grad_()
        out = way(layer, act, given * 1)  # not a leaf, as behind a convolution
        (out.float() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append((out.detach().float(), given.grad.float(), layer.weight.grad, layer.bias.grad, layer))
    return found


@pytest.mark.parametrize("name", ["silu", "relu6", "relu", "hard_swish", "identity"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_equal_to_the_plain_layers(name, layout):
    x = torch.randn(2, 5, 7, 3).mul(3).contiguous(memory_format=layout)
    lean, plain = both(norm_of(5), Activation(name), x)
    for mine, other in zip(lean[:4], plain[:4], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
    for key, value in plain[4].state_dict().items():
        assert torch.equal(lean[4].state_dict()[key], value), key


def test_pieces_are_the_whole(monkeypatch):
    monkeypatch.setitem(PIECE, "cpu", 8)
    lean, plain = both(norm_of(3), Activation("silu"), torch.randn(2, 3, 4, 5))
    torch.testing.assert_close(lean[1], plain[1])


def test_one_cell_one_image_and_a_channel_without_scale():
    norm = norm_of(4)
    with torch.no_grad():
        norm.weight[1] = 0
    for shape in ((1, 4, 2, 3), (2, 4, 1, 1), (1, 4, 1, 1)):
        lean, plain = both(norm, Activation("silu"), torch.randn(shape))
        torch.testing.assert_close(lean[0], plain[0])
        torch.testing.assert_close(lean[1], plain[1], rtol=1e-4, atol=1e-4)


def test_bf16():
    lean, plain = both(norm_of(6), Activation("silu"), torch.randn(2, 6, 8, 8), torch.bfloat16)
    for mine, other in zip(lean[:4], plain[:4], strict=True):
        torch.testing.assert_close(mine, other, rtol=0.05, atol=0.05)


def test_gradcheck():
    norm, act = norm_of(3).double(), Activation("silu")
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm_act(norm, act, x * 1), x, atol=1e-4)
    weights = torch.randn(2, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gate, (x, weights))


def test_second_derivatives():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(gate, (x, weights))
    norm, act = norm_of(3).double(), Activation("silu")
    assert torch.autograd.gradgradcheck(lambda x: norm_act(norm, act, x * 1), x, atol=1e-4)
    logits, labels = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True), torch.tensor([[0, -1, 2, 2]] * 2)
    factor = torch.tensor([1.0, 0.5])
    assert torch.autograd.gradgradcheck(lambda x: focal_loss(x, labels, label_smoothing=0.1, weight=factor), logits)
    (quick,) = torch.autograd.grad(focal_loss(logits, labels), logits)
    (slow,) = torch.autograd.grad(focal_loss(logits, labels), logits, create_graph=True)
    torch.testing.assert_close(quick, slow)
    soft = torch.randn(2, 4, 3, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda x: dense_quality_focal_loss(x, soft, weight=factor.double()), logits)
    ours = {kind.__name__ for kind in torch.autograd.Function.__subclasses__() if _is_ours(kind)}
    assert ours == {"_Gate", "_NormSilu", "_Focal", "_DenseQuality"}, "a new one is to be checked here"


def test_a_frozen_scale_has_no_gradient_in_a_second_derivative():
    norm = norm_of(3).double().requires_grad_(False)
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: norm_act(norm, Activation("silu"), x * 1), x, atol=1e-4)


def _is_ours(kind):
    return kind.__module__.split(".")[0] in ("backbones", "heads", "effdet")


def test_evaluation_frozen_statistics_and_hooks_take_the_plain_way():
    layer = ConvNormAct(3, 4, 3)
    x = torch.randn(2, 3, 8, 8)
    seen = []
    handle = layer.norm.register_forward_hook(lambda *found: seen.append(found))
    layer(x)
    handle.remove()
    assert len(seen) == 1
    layer.eval()
    before = copy.deepcopy(layer.norm.state_dict())
    torch.testing.assert_close(layer(x), layer.act(layer.norm(layer.conv(x))))
    assert all(torch.equal(value, before[key]) for key, value in layer.norm.state_dict().items())


def test_what_is_stored():
    """One tensor of the map's size where the plain layers keep two: the convolution's output."""
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    norm, x = norm_of(4), torch.randn(2, 4, 16, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        norm_act(norm, Activation("silu"), x * 1)
        assert sum(size == x.numel() for size in kept.values()) == 1
        kept.clear()
        gate(x * 1, torch.randn(2, 4, 1, 1))
        assert sum(size == x.numel() for size in kept.values()) == 1  # the product, which the next convolution keeps


@pytest.mark.parametrize("name", ["silu", "relu6", "relu", "hard_swish", "gelu", "identity"])
def test_prediction_writes_over_a_convolutions_output(name):
    """Only where BatchNorm is folded away and nobody wants a gradient."""
    act, given = Activation(name), torch.randn(2, 3, 4, 5)
    expected = act(given)
    for grad, folded in ((True, True), (False, False), (False, True)):
        x = given.clone()
        norm = nn.Identity() if folded else nn.BatchNorm2d(3, eps=0).eval()
        with torch.set_grad_enabled(grad):
            out = norm_act(norm, act, x)
        torch.testing.assert_close(out, expected, rtol=0, atol=0)
        written = folded and not grad and name not in ("gelu", "identity")
        assert torch.equal(x, given) is not written


def test_whoever_watches_an_activation_sees_its_input():
    act, seen = Activation("relu"), []
    act.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    x = torch.tensor([[[[-1.0, 2.0]]]])
    with torch.no_grad():
        assert norm_act(nn.Identity(), act, x).flatten().tolist() == [0, 2]
        assert norm_act(nn.Identity(), nn.ReLU(), x).flatten().tolist() == [0, 2]  # anyone's own layer
    assert seen[0].flatten().tolist() == [-1, 2] == x.flatten().tolist()
