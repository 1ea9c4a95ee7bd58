from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from effdet.evaluation import EvalBatch, ModelPredictFn
from effdet.evaluation.predict_fn import _strips
from heads.semantic_inference import SemanticInference
from heads.structures import Detections, UserError
from tests.evaluation_fakes import FakeModel, FakeSet


def batch(count=3):
    data = FakeSet(count)
    return EvalBatch.of([(index, data[index]) for index in range(count)])


def test_boxes_come_back_in_original_pixels():
    found = ModelPredictFn(FakeModel("detection"))(batch())["detection"]
    assert isinstance(found, Detections)
    for index in range(3):
        boxes, scores, labels = found.image(index)
        left = FakeSet.left(index)
        assert boxes[0].tolist() == pytest.approx([left, 10, left + 10, 20], abs=1)
        assert scores.tolist() == [pytest.approx(0.9)] and labels.tolist() == [0]


def test_mode_is_restored_module_by_module():
    model = FakeModel().train()
    model.norm.eval()  # frozen
    ModelPredictFn(model)(batch())
    assert model.modes == [False]
    assert model.training and model.heads.training and not model.norm.training


def test_no_gradients():
    model = FakeModel("classification")
    assert not ModelPredictFn(model)(batch())["classification"].requires_grad


@pytest.mark.parametrize(
    ("precision", "dtype"), [(None, torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision(precision, dtype):
    model = FakeModel()
    found = ModelPredictFn(model, precision=precision)(batch())
    assert model.dtypes == [dtype]
    assert found["detection"].boxes.dtype == torch.float32
    assert found["semantic"][0].shape == (40, 60)


@pytest.mark.parametrize("channels_last", [True, False])
def test_layout(channels_last):
    seen = []
    model = FakeModel()
    model.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    ModelPredictFn(model, channels_last=channels_last)(batch())
    assert seen == [channels_last]


def test_single_against_batched():
    fn, data = ModelPredictFn(FakeModel()), FakeSet(3)
    together = fn(batch())
    for index in range(3):
        alone = fn(EvalBatch.of([(index, data[index])]))
        torch.testing.assert_close(alone["detection"].image(0), together["detection"].image(index))
        assert (alone["semantic"][0] == together["semantic"][index]).all()


def test_errors():
    with pytest.raises(UserError, match="precision must be one of fp32, bf16, fp16 or null, got 'half'"):
        ModelPredictFn(FakeModel(), precision="half")
    with pytest.raises(UserError, match="score_threshold: this model has no detection head"):
        ModelPredictFn(FakeModel("semantic"), postprocess={"score_threshold": 0.5})
    with pytest.raises(UserError, match="postprocess\\.scoer is not a setting; postprocess has score, max_detections"):
        ModelPredictFn(FakeModel(), postprocess={"scoer": 0.5})


def test_overrides_on_a_real_model_leave_it_as_it_was():
    from effdet.model import build, fold, spec_for

    torch.manual_seed(0)
    model = build(spec_for(task="detection", backbone="b0", num_classes=3, image_size=64)).eval()
    own = model.heads["detection"].postprocess
    data = FakeSet(2, preprocess=model.preprocess)
    images = EvalBatch.of([(index, data[index]) for index in range(2)])
    everything = ModelPredictFn(model)(images)["detection"]
    threshold = float(everything.scores.max()) * 0.9
    for network in (model, fold(model)):
        few = ModelPredictFn(network, postprocess={"score_threshold": threshold, "max_detections": 3})(images)[
            "detection"
        ]
        assert 0 < few.counts.max() <= 3
        assert (few.scores[few.scores > 0] >= threshold * 0.999).all()
    assert model.heads["detection"].postprocess is own


@pytest.mark.parametrize(("width", "least"), [(64, 0.999), (40, 0.98), (37, 0.92)])
def test_mirror_images_under_padding_on_one_side(width, least):
    """37 columns are no multiple of the stride: cells are mixed from two, which moves borders of a model of noise.

    Against the image and its mirror image, each laid on the canvas by itself; averaged in the image's own pixels."""
    from effdet.model import build, spec_for

    torch.manual_seed(0)
    spec = spec_for(task="segmentation", phi=-4, num_classes=3, image_size=64)
    model = build(spec.replace(preprocess=replace(spec.preprocess, resize="letterbox"))).eval()
    for parameter in model.heads["semantic"].parameters():
        parameter.data *= 3  # a decided model
    rng = np.random.default_rng(0)
    images = [np.array(Image.fromarray(rng.integers(0, 256, (8, 7, 3), np.uint8)).resize((w, 64))) for w in (width, 52)]

    def laid(*pixels):
        canvases, places = zip(*(model.preprocess.geometry(values) for values in pixels), strict=True)
        stacked = torch.from_numpy(np.stack(canvases)).permute(0, 3, 1, 2)
        return EvalBatch(stacked, places, (None,) * len(pixels), tuple(range(len(pixels))))

    def likely(pixels):
        """(K, h, w) probabilities of the image in its own pixels, of one pass."""
        batch = laid(pixels)
        with torch.no_grad():
            logits = model(model.preprocess.normalise(batch.images))["semantic"]
        return torch.cat([*_strips(logits[0].softmax(0), batch.geometries[0], 512)], dim=1)

    flipped = ModelPredictFn(model, semantic=SemanticInference(flip=True))
    found = flipped(laid(*images))["semantic"]
    for image, both in zip(images, found, strict=True):
        expected = (likely(image) + likely(np.ascontiguousarray(image[:, ::-1])).flip(2)).argmax(0).numpy()
        assert (both == expected).mean() > (least if image is images[0] else 0.98)
        assert (flipped(laid(image))["semantic"][0] == both).mean() > 0.999, "single against batched"
