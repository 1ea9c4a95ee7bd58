from onnx import TensorProto, helper

from effdet.export.quantise import inner_nodes


def test_only_what_lies_between_layers_is_quantised():
    """normalise -> stem -> activation -> add -> last layer -> decode, by hand."""
    nodes = [
        helper.make_node("Mul", ["x", "s"], ["n"], name="normalise"),
        helper.make_node("Conv", ["n", "w"], ["a"], name="stem"),
        helper.make_node("Clip", ["a"], ["b"], name="relu6"),
        helper.make_node("Exp", ["b"], ["e"], name="no operator for it"),
        helper.make_node("Conv", ["e", "w"], ["c"], name="block"),
        helper.make_node("Add", ["b", "c"], ["d"], name="skip"),
        helper.make_node("MatMul", ["d", "w"], ["logits"], name="logits"),
        helper.make_node("Conv", ["d", "w"], ["f"], name="other head's last"),
        helper.make_node("MatMul", ["f", "places"], ["g"], name="moves box deltas"),
        helper.make_node("Mul", ["g", "s"], ["y"], name="decode"),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    places = helper.make_tensor("places", TensorProto.FLOAT, [4, 4], [0.0] * 16)
    model = helper.make_model(helper.make_graph(nodes, "g", [value], [], [places]))
    assert inner_nodes(model) == ["stem", "relu6", "block", "skip"]
    assert inner_nodes(model, in_float=("Clip", "Mul")) == ["stem", "block", "skip"]
