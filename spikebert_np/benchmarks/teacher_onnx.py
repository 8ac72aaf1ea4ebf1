"""The teacher under onnxruntime: the same weights in a graph of its own fused operators.

`Attention` (of com.microsoft) makes q, k and v in one product and knows how long each sentence is,
so that a batch padded to its longest sentence gives what each gives alone.

Letters: N packed tokens, B sentences, L tokens of the longest, D width.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ..errors import InputError
from ..models.bert import bert_forward

BOUND = 1e-3  # norm-wise distance of the last hidden states from ours, float32 both


class _Graph:
    """Nodes and weights, gathered by name."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, name, value):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator, *inputs, domain="", **attributes):
        """The name of the one output of a new node."""
        output = f"{operator}{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], domain=domain, **attributes)
        )
        return output


def teacher_graph(config, params):
    """An ONNX model: ids (B, L), positions (B, L) and lengths (B,), int32 -> hidden (B, L, D)."""
    graph = _Graph()

    def weight(name):
        return graph.weight(name, params[name])

    def norm(x, name):
        gain, bias = weight(f"{name}.gain"), weight(f"{name}.bias")
        return graph.node("LayerNormalization", x, gain, bias, epsilon=config.norm_eps)

    def linear(x, name):
        product = graph.node("MatMul", x, weight(f"{name}.weight"))
        return graph.node("Add", product, weight(f"{name}.bias"))

    words = graph.node("Gather", weight("embeddings.word"), "ids")
    positions = params["embeddings.position"] + params["embeddings.type"][0]  # all of one type
    places = graph.node("Gather", graph.weight("places", positions), "positions")
    x = norm(graph.node("Add", words, places), "embeddings.norm")
    for i in range(config.depth):
        name = f"blocks.{i}.attention"
        joined = [
            np.concatenate([params[f"{name}.{part}.{kind}"] for part in "qkv"], axis=-1)
            for kind in ("weight", "bias")
        ]
        attended = graph.node(
            "Attention",
            x,
            graph.weight(f"{name}.qkv.weight", joined[0]),
            graph.weight(f"{name}.qkv.bias", joined[1]),
            "lengths",
            domain="com.microsoft",
            num_heads=config.heads,
        )
        x = norm(graph.node("Add", linear(attended, f"{name}.output"), x), f"{name}.norm")
        name = f"blocks.{i}.feed_forward"
        hidden = graph.node("Gelu", linear(x, f"{name}.up"))
        x = norm(graph.node("Add", linear(hidden, f"{name}.down"), x), f"{name}.norm")
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT32, ["B", "L"]),
        helper.make_tensor_value_info("positions", TensorProto.INT32, ["B", "L"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"]),
    ]
    hidden = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["B", "L", config.width])
    return helper.make_model(
        helper.make_graph(graph.nodes, "teacher", inputs, [hidden], graph.weights),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )


def new_teacher_inference(config, params, threads):
    """A function of a packed (ids (N,), offsets (B + 1,)): the last hidden states (B, L, D)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        teacher_graph(config, params).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )

    def infer(ids, offsets):
        lengths = np.diff(offsets).astype(np.int32)  # (B,)
        positions = np.arange(lengths.max(), dtype=np.int32)  # (L,)
        real = positions < lengths[:, None]  # (B, L)
        padded = np.zeros(real.shape, np.int32)
        padded[real] = ids
        positions = np.broadcast_to(positions, real.shape).copy()
        feed = {"ids": padded, "positions": positions, "lengths": lengths}
        return session.run(None, feed)[0]

    return infer


def distance_from_ours(infer, config, params, ids, offsets):
    """How far the last hidden states are from `bert_forward`'s, norm-wise. Raises InputError above
    BOUND: a rival that computes something else is none."""
    hidden = infer(ids, offsets)
    lengths = np.diff(offsets)
    theirs = hidden[np.arange(hidden.shape[1]) < lengths[:, None]]  # (N, D)
    ours = bert_forward(ids, offsets, params, config)[0].hidden[-1]  # (N, D)
    distance = float(np.abs(theirs - ours).max() / np.abs(ours).max())
    if not distance <= BOUND:
        raise InputError(
            f"onnxruntime {onnxruntime.__version__} with onnx {onnx.__version__}: its teacher is "
            f"{distance:.1e} from ours, so that it is no rival; install other versions, or leave "
            "--against out"
        )
    return distance
