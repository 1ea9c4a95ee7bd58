import pytest
import torch

from effdet.evaluation import EvalBatch, ModelPredictFn
from heads.structures import Detections, UserError
from tests.evaluation_fakes import FakeModel, FakeSet


def batch(count=3):
    data = FakeSet(count)
    return EvalBatch.of([(index, data[index]) for index in range(count)])


def test_boxes_come_back_in_original_pixels():
    found = ModelPredictFn(FakeModel("detection"))(batch())["detection"]
    assert isinstance(found, Detections)
    for index in range(3):
        boxes, scores, labels = found.picture(index)
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
        torch.testing.assert_close(alone["detection"].picture(0), together["detection"].picture(index))
        assert (alone["semantic"][0] == together["semantic"][index]).all()


def test_errors():
    with pytest.raises(UserError, match="precision must be one of fp32, bf16, fp16 or null, got 'half'"):
        ModelPredictFn(FakeModel(), precision="half")
    with pytest.raises(UserError, match="score: this model has no detection head"):
        ModelPredictFn(FakeModel("semantic"), postprocess={"score": 0.5})
    with pytest.raises(UserError, match="has no setting 'scoer'; it has score, max_detections"):
        ModelPredictFn(FakeModel(), postprocess={"scoer": 0.5})


def test_overrides_on_a_real_model_leave_it_as_it_was():
    from effdet.model import build, fold, spec_for

    torch.manual_seed(0)
    model = build(spec_for(task="detection", backbone="b0", num_classes=3, image_size=64)).eval()
    own = model.heads["detection"].postprocess
    data = FakeSet(2, preprocess=model.preprocess)
    pictures = EvalBatch.of([(index, data[index]) for index in range(2)])
    everything = ModelPredictFn(model)(pictures)["detection"]
    threshold = float(everything.scores.max()) * 0.9
    for network in (model, fold(model)):
        few = ModelPredictFn(network, postprocess={"score": threshold, "max_detections": 3})(pictures)["detection"]
        assert 0 < few.counts.max() <= 3
        assert (few.scores[few.scores > 0] >= threshold * 0.999).all()
    assert model.heads["detection"].postprocess is own
