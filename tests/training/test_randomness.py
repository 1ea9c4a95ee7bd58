"""No kind of dropout acts inside `without_dropout`; all of it acts again afterwards."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backbones.layers import DropPath
from effdet.model import build, spec_for
from effdet.training.randomness import dropouts, without_dropout


class Function(nn.Module):
    """A user's head that calls a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def timm_drop_path(x):
    """As timm and torchvision write stochastic depth."""
    mask = x.new_empty((len(x),) + (1,) * (x.dim() - 1)).bernoulli_(0.5)
    mask.div_(0.5)
    return x * mask


def attention(x):
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens, dropout_p=0.5)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.MultiheadAttention(64, 2, dropout=0.5)

    def forward(self, x):
        tokens = x.flatten(2)
        return self.layer(tokens, tokens, tokens)[0]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(64, 4, num_layers=2, dropout=0.5)

    def forward(self, x):
        return self.layer(x.flatten(2))[0]


LAYERS = {
    "Dropout": nn.Dropout(0.5),
    "Dropout1d": nn.Sequential(nn.Flatten(2), nn.Dropout1d(0.5)),
    "Dropout2d": nn.Dropout2d(0.5),
    "Dropout3d": nn.Sequential(nn.Unflatten(1, (4, 2)), nn.Dropout3d(0.5)),
    "AlphaDropout": nn.AlphaDropout(0.5),
    "FeatureAlphaDropout": nn.FeatureAlphaDropout(0.5),
    "DropPath": DropPath(0.5),
    "F.dropout": Function(lambda x: F.dropout(x, 0.5, training=True)),
    "F.dropout in place": Function(lambda x: F.dropout(x.clone(), 0.5, True, True)),
    "F.dropout2d": Function(lambda x: F.dropout2d(x, p=0.5)),
    "torch.dropout": Function(lambda x: torch.dropout(x, 0.5, True)),
    "stochastic depth": Function(timm_drop_path),
    "attention": Function(attention),
    "MultiheadAttention": SelfAttention(),
    "LSTM": Recurrent(),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_each_kind_is_off_inside_and_on_again(kind):
    torch.manual_seed(0)
    layer, x = LAYERS[kind].train(), torch.randn(16, 8, 8, 8)
    plain = layer.eval()(x) if not isinstance(layer, Function) else None
    layer.train()
    assert not torch.equal(layer(x), layer(x))
    with without_dropout(layer):
        inside = layer(x)
        assert torch.equal(inside, layer(x))
        assert plain is None or torch.allclose(inside, plain, atol=1e-6)
        if kind in ("F.dropout", "F.dropout2d", "torch.dropout", "stochastic depth"):
            torch.testing.assert_close(inside, x)
    assert not torch.equal(layer(x), layer(x))


def test_the_semantic_head_and_the_classifier():
    torch.manual_seed(0)
    options = {"semantic": {"dropout": 0.5}}
    model = build(spec_for(task="segmentation", phi=-4, num_classes=3, image_size=64, heads=options)).train()
    assert [layer.p for layer in dropouts(model)] == [0.5]
    images = torch.randn(2, 3, 64, 64)
    state = torch.get_rng_state()
    with without_dropout(model), torch.no_grad():
        assert model.heads["semantic"].dropout.p == 0.0
        assert torch.equal(model(images)["semantic"], model(images)["semantic"])
    assert torch.equal(state, torch.get_rng_state())
    assert model.heads["semantic"].dropout.p == 0.5


def test_rates_come_back_after_an_error():
    model = nn.Sequential(nn.Dropout2d(0.3), DropPath(0.2))
    with pytest.raises(RuntimeError, match="inside"), without_dropout(model):
        raise RuntimeError("inside")
    assert model[0].p == 0.3 and model[1].rate == 0.2
