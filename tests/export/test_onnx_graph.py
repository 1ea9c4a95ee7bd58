import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from effdet.export.onnx_graph import fold_pads


def padded(op: str, value: float, pads=(0, 0, 0, 1, 0, 0, 1, 2), own=(1, 0, 0, 0)) -> onnx.ModelProto:
    """Pad, then `op` with kernel 3, stride 2 and its own padding."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    constants = [
        numpy_helper.from_array(np.array(pads, np.int64), "pads"),
        numpy_helper.from_array(np.array(value, np.float32), "value"),
    ]
    inputs = ["padded"]
    if op == "Conv":
        constants.append(numpy_helper.from_array(weight, "weight"))
        inputs.append("weight")
    nodes = [
        helper.make_node("Pad", ["x", "pads", "value"], ["padded"], name="pad"),
        helper.make_node(op, inputs, ["y"], name="layer", kernel_shape=[3, 3], strides=[2, 2], pads=list(own)),
    ]
    graph = helper.make_graph(
        nodes,
        "padded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 9, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "c", "h", "w"])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(1, 3, 9, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(("op", "value"), [("Conv", 0.0), ("MaxPool", -np.inf)])
def test_the_padding_moves_into_the_node(op, value):
    model = padded(op, value)
    before = run(model)
    assert fold_pads(model) == 1
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == [op]
    assert not {"pads", "value"} & {tensor.name for tensor in model.graph.initializer}
    np.testing.assert_allclose(run(model), before, rtol=1e-5, atol=1e-6)


STAYS = [("Conv", 1.0, 1), ("MaxPool", 0.0, 1), ("Conv", 0.0, -1)]


@pytest.mark.parametrize(("op", "value", "left"), STAYS, ids=["other value", "zeros for a maximum", "a crop"])
def test_other_paddings_stay(op, value, left):
    model = padded(op, value, (0, 0, 0, left, 0, 0, 1, 2))
    assert fold_pads(model) == 0
    assert [node.op_type for node in model.graph.node] == ["Pad", op]
