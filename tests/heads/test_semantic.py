"""The semantic head in both designs."""

import pytest
import torch
import torch.nn.functional as F

from heads.protocol import Context
from heads.semantic import AuxiliaryHead, AuxiliaryOptions, Merge, SemanticHead, SemanticOptions
from heads.semantic_losses import SemanticLoss
from heads.structures import Geometry, Targets, UserError

HERE = Context((64, 96))

FINE = ("P2", "P3", "P4")
COARSE = ("P3", "P4", "P5")


def pyramid(levels, size=(64, 96), batch=2, channels=8):
    torch.manual_seed(0)
    height, width = size
    shapes = {level: (-(-height // 2 ** int(level[1:])), -(-width // 2 ** int(level[1:]))) for level in levels}
    return {level: torch.randn(batch, channels, *shape) for level, shape in shapes.items()}


def head(levels=FINE, merge="finest", **options):
    torch.manual_seed(1)
    return SemanticHead(8, 5, SemanticOptions(levels=levels, merge=merge, **{"repeats": 1, **options}))


@pytest.mark.parametrize(
    ("levels", "merge", "stride"), [(FINE, "finest", 4), (COARSE, "sum", 8), (COARSE, "weighted", 8)]
)
@pytest.mark.parametrize("batch", [1, 2])
def test_logits_have_the_size_of_the_finest_level(levels, merge, stride, batch):
    model = head(levels, merge)
    logits = model(pyramid(levels, batch=batch), Context((64, 96)))
    assert logits.shape == (batch, 5, 64 // stride, 96 // stride)
    classes = model.predict(logits, HERE)
    assert classes.shape == (batch, 64, 96) and classes.dtype == torch.uint8 and classes.max() < 5


def test_the_fine_design_reads_one_level():
    assert head().in_levels == ("P2",) and head(COARSE, "sum").in_levels == COARSE


def test_merge_sums_what_was_enlarged():
    """Bilinear steps in turn are linear: the cascade equals the sum of each level enlarged by the same steps."""
    levels = list(pyramid(COARSE).values())
    up = lambda x, y: F.interpolate(x, size=y.shape[2:], mode="bilinear", align_corners=False)
    expected = levels[0] + up(levels[1], levels[0]) + up(up(levels[2], levels[1]), levels[0])
    assert torch.allclose(Merge(3, "sum")(levels), expected, atol=1e-5)
    weighted = Merge(3, "weighted")
    assert torch.allclose(weighted(levels), expected / 3, atol=1e-3)


def test_the_first_loss_is_that_of_guessing():
    model, targets = head(), Targets(semantic=torch.randint(0, 5, (2, 64, 96), dtype=torch.uint8))
    loss = model.loss(model(pyramid(FINE), Context((64, 96))), targets, HERE)
    assert list(loss) == ["cross_entropy"]
    assert loss["cross_entropy"].item() == pytest.approx(torch.tensor(5.0).log().item(), abs=0.05)


def test_a_batch_without_masks_is_zero_but_connected():
    model = head(loss=SemanticLoss(dice=1.0))
    terms = model.loss(model(pyramid(FINE), Context((64, 96))), Targets(), HERE)
    assert set(terms) == {"cross_entropy", "dice"}
    sum(terms.values()).backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


def test_auxiliary_loss_is_weighed():
    side = AuxiliaryHead(8, 5, SemanticOptions(auxiliary=AuxiliaryOptions("P4", 0.4)))
    output = side(pyramid(FINE))
    target = torch.randint(0, 5, (2, 64, 96), dtype=torch.uint8)
    larger = F.interpolate(output, size=(64, 96), mode="bilinear", align_corners=False)
    expected = 0.4 * F.cross_entropy(larger, target.long())
    settings = SemanticLoss(dice=1.0, ohem=0.7)  # the auxiliary loss is plain cross-entropy all the same
    assert torch.allclose(side.loss(output, Targets(semantic=target), settings), expected)
    assert side.loss(output, Targets(), settings).item() == 0


def test_each_image_in_its_own_size():
    model = head()
    logits = model(pyramid(FINE), Context((64, 96))) * 100
    geometries = [Geometry((64, 96), (64, 96)), Geometry((32, 48), (64, 96), (2.0, 2.0))]
    maps = model.class_maps(logits, geometries)
    assert [tuple(found.shape) for found in maps] == [(64, 96), (32, 48)]
    assert torch.equal(maps[0], model.predict(logits, HERE)[0])


def test_batches_equal_single_images():
    model = head(COARSE, "sum").eval()
    features = pyramid(COARSE)
    both = model(features, Context((64, 96)))
    one = model({level: x[:1] for level, x in features.items()}, Context((64, 96)))
    assert torch.allclose(both[:1], one, atol=1e-6)


def test_bf16():
    model = head(COARSE, "weighted").bfloat16()
    features = {level: x.bfloat16() for level, x in pyramid(COARSE).items()}
    logits = model(features, Context((64, 96)))
    loss = model.loss(logits, Targets(semantic=torch.zeros(2, 64, 96, dtype=torch.uint8)), HERE)["cross_entropy"]
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"merge": "mean"}, "merge='mean'"),
        ({"levels": ("P4", "P3")}, "finest first"),
        ({"levels": ("C3",)}, "levels such as P3"),
        ({"repeats": -1}, "repeats=-1"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"loss": SemanticLoss(class_weights=(1.0, 2.0))}, "2 numbers for 5 classes"),
    ],
)
def test_arguments_are_checked(wrong, text):
    with pytest.raises(UserError, match=text):
        head(**wrong)


def test_missing_levels_are_named():
    with pytest.raises(UserError, match="there is no P5 among P3, P4"):
        head(COARSE, "sum")(pyramid(("P3", "P4")), Context((64, 96)))
