import pytest

from effdet.export import FORMATS, ExportSettings
from effdet.inference.runtimes import RUNTIMES, require
from heads.structures import UserError


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"format": "tflite"}, r"format=tflite: must be onnx \| openvino"),
        ({"format": "onnx", "precision": "bf16"}, "bf16 is for format=openvino or torch_export"),
        ({"format": "torch_export", "precision": "int8"}, "int8 is for format=onnx or openvino"),
        ({"format": "executorch", "nms": True}, "nms=false"),
        ({"format": "executorch", "batch_size": None}, "batch_size=1"),
        ({"format": "torchscript", "dynamic_size": True}, "torch_export"),
        ({"precision": "int8", "dynamic_size": True}, "dynamic_size=false"),
        ({"batch_size": 0}, r"batch_size=0: must be int ≥ 1 \| null"),
    ],
)
def test_what_a_format_cannot_hold_is_said_at_once(values, said):
    with pytest.raises(UserError, match=said):
        ExportSettings(**values)


def test_every_format_can_be_read():
    assert {kind.suffix for kind in FORMATS.values()} == set(RUNTIMES)


def test_a_missing_package_names_the_extra():
    with pytest.raises(
        UserError, match=r"format=executorch needs no_such_package: pip install 'effdet-lightning\[executorch\]'"
    ):
        require(("torch", "no_such_package"), "executorch", "format=executorch")
