"""Exports a SequenceModel to ONNX: images in, a prediction out, as the predict step gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.decoding.options import DecodeOptions, decode_options
from seqdigits.export.onnx import DTYPES
from seqdigits.export.onnx_graph import OnnxGraph, Value
from seqdigits.export.onnx_layers import OnnxStack, add_flattening, add_normalization
from seqdigits.export.program import Program, Runtime
from seqdigits.inference.onnx_engine import INPUT, open_session
from seqdigits.models.layer_spec import Layer, largest_stride, output_size, parse

FORMAT = "prediction 1"
"""Names what a file takes and returns; another one has another name."""

_LAST = np.array([-1])


def sequence_to_onnx(program: Program, dtype: str) -> bytes:
    """Returns the ONNX file of a SequenceModel.

    Its input `images` is u8 [B, H, W, C], of any B, and of the H and W of training; its outputs are the fields of the Prediction,
    by name.

    Args:
      program: the trained network.
      dtype: a key of export.onnx.DTYPES.

    Raises:
      UserError: the network has a layer that cannot be exported; or the library onnx is not installed.
    """
    if program.config.model.name == "glimpses":
        raise UserError("model.name = glimpses cannot be exported to ONNX. Use --to stablehlo.")
    graph = OnnxGraph()
    network = _Network(graph, program, DTYPES[dtype])
    outputs = _decoded(graph, *network.add(), decode_options(program.config, program.spec))
    length = program.spec.max_length
    axes = {"digits": (length,), "digit_confidence": (length,), "box": (4,)}
    return graph.to_bytes(
        inputs={INPUT: ("UINT8", ("B", *program.spec.image))},
        outputs={
            name: (tensor, "INT32" if name in ("length", "digits") else "FLOAT", ("B", 1, *axes.get(name, ())))
            for name, tensor in outputs.items()
        },
        metadata={"format": FORMAT},
    )


def onnx_runtime(content: bytes, out: Path) -> Runtime:
    """Returns the runtime of such a file, with one thread; `out` is its name for messages.

    Raises:
      UserError: ONNX Runtime is not installed.
    """
    session = open_session(out, content)
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))


class _Network:
    """Adds models.sequence.SequenceModel to a graph."""

    def __init__(self, graph: OnnxGraph, program: Program, dtype: type[np.floating]) -> None:
        self._graph, self._dtype = graph, dtype
        self._variables, self._model, self._spec = program.variables, program.config.model, program.spec

    def add(self) -> tuple[str, str | None, str | None]:
        """Returns the logits of the heads f32 [B, L, K], of the length f32 [B, L + 2] and the box f32 [B, 4], where there are such heads."""
        height, width, channels = self._spec.image
        encoder = parse(self._model.encoder, "model.encoder")
        multiple = largest_stride(encoder)
        if any(layer.kind == "concat" for layer in encoder) and (height % multiple or width % multiple):
            raise UserError(
                f"model.encoder: 'concat' cannot be exported to ONNX for images of {height}x{width}: allowed are multiples of "
                f"{multiple}. Use --to stablehlo."
            )
        stats = self._variables["input_stats"].get("pixels", {})
        x = add_normalization(self._graph, INPUT, self._model.pixels, stats)
        stack = self._stack("encoder")
        x, features = stack.apply(x, channels, encoder)
        if self._model.name in ("attention", "row_gru"):
            size = output_size(encoder, height, width, "model.encoder")
            add = self._attention if self._model.name == "attention" else self._row_gru
            vectors = add(self._graph.op("Transpose", x, perm=[0, 2, 3, 1]), size, features)
        flat = x if stack.flat else add_flattening(self._graph, x)
        if self._model.name == "heads":
            vectors = [flat] * self._spec.max_length
        elif self._model.name == "gru":
            params = self._params("gru")
            projected = self._projected(flat, params["input"])
            vectors = self._states([projected] * self._spec.max_length, params["recurrent"])
        length = box = None
        if self._model.length_head:
            length = self._head("length_head", flat, (), self._spec.max_length + 2)
        if self._model.localize:
            box = self._head("box_head", flat, parse(self._model.box_head, "model.box_head", flat=True), 4)
        return self._logits(vectors), length, box

    def _row_gru(self, x: str, size: tuple[int, int], features: int) -> list[str]:
        """Adds a GRU over the rows of a feature map [B, h, w, F]; returns the L parts of its last state."""
        op, length, params = self._graph.op, self._spec.max_length, self._params("gru")
        rows = op("Reshape", x, np.array([0, size[0], size[1] * features]))
        projected = self._projected(rows, params["input"])
        steps = self._graph.split("Split", size[0], projected, np.ones(size[0], np.int64), axis=1)
        last = self._states([op("Squeeze", step, np.array([1])) for step in steps], params["recurrent"])[-1]
        return self._graph.split("Split", length, last, np.full(length, self._model.gru_units // length), axis=1)

    def _attention(self, x: str, size: tuple[int, int], features: int) -> list[str]:
        """Adds models.recurrent.AttentionGRU on a feature map [B, h, w, F]; returns its L states."""
        graph, op, params = self._graph, self._graph.op, self._params("attention")
        steps, cells = params["steps"], size[0] * size[1]
        columns, rows = np.meshgrid(np.linspace(-1, 1, size[1]), np.linspace(-1, 1, size[0]))
        coordinates = np.stack([columns, rows], -1).reshape(1, cells, 2).astype(np.float32)
        shape = op("Concat", graph.shape(x, 0), np.array([cells, 2]), axis=0)
        values = op("Reshape", x, np.array([0, cells, features]))
        values = op("Concat", values, op("Expand", coordinates, shape), axis=2)
        keys = self._projected(values, params["keys"])
        query, score = (graph.weights(steps[name]["kernel"], self._dtype) for name in ("query", "score"))
        state: Value = np.zeros((1, self._model.gru_units), np.float32)
        states = []
        for _ in range(self._spec.max_length):
            asked = op("Unsqueeze", op("MatMul", state, query), np.array([1]))
            weights = op("Softmax", op("MatMul", op("Tanh", op("Add", keys, asked)), score), axis=1)  # [B, h*w, 1]
            attended = op("ReduceSum", op("Mul", weights, values), np.array([1]), keepdims=0)
            state = self._step(state, self._projected(attended, steps["input"]), steps["recurrent"])
            states.append(state)
        return states

    def _states(self, projected: list[str], params: dict[str, Any]) -> list[str]:
        """Adds the steps of a GRU, whose inputs are projected f32 [B, 3u]; returns the states after them, f32 [B, u]."""
        state: Value = np.zeros((1, self._model.gru_units), np.float32)
        states = []
        for one in projected:
            state = self._step(state, one, params)
            states.append(state)
        return states

    def _step(self, state: Value, projected: str, params: dict[str, Any]) -> str:
        """Adds the cell of models.recurrent: a state [B, u] and a projected input [B, 3u] -> the next state."""
        graph, op, units = self._graph, self._graph.op, self._model.gru_units
        of_gates, of_candidate = graph.split("Split", 2, projected, np.array([2 * units, units]), axis=1)
        is_keras = self._model.gru_cell == "keras2"
        kernels = (
            np.split(params["kernel"], [2 * units], axis=1)
            if is_keras
            else [params[name]["kernel"] for name in ("gates", "candidate")]
        )
        gates_kernel, candidate_kernel = (graph.weights(kernel, self._dtype) for kernel in kernels)
        given = op("Add", of_gates, op("MatMul", state, gates_kernel))
        gates = op("HardSigmoid", given, alpha=0.2, beta=0.5) if is_keras else op("Sigmoid", given)
        reset, update = graph.split("Split", 2, gates, np.array([units, units]), axis=1)
        reset_state = op("MatMul", op("Mul", reset, state), candidate_kernel)
        candidate = op("Tanh", op("Add", of_candidate, reset_state))
        return op("Add", op("Mul", update, state), op("Mul", op("Sub", np.float32(1), update), candidate))

    def _logits(self, vectors: list[str]) -> str:
        """Adds the heads on one vector [B, F] for each position: f32 [B, L, K]."""
        op, model = self._graph.op, self._model
        classes = NO_DIGIT if model.length_head else self._spec.num_classes
        head = parse(model.head, "model.head", flat=True)
        names = ["head"] * len(vectors) if model.shared_head else [f"head_{i}" for i in range(len(vectors))]
        logits = [self._head(name, x, head, classes) for name, x in zip(names, vectors, strict=True)]
        return op("Concat", *(op("Unsqueeze", x, np.array([1])) for x in logits), axis=1)

    def _head(self, name: str, x: str, layers: tuple[Layer, ...], features: int) -> str:
        """Adds a head on flat features: its layers, and a dense layer."""
        stack = self._stack(name, flat=True)
        return stack.apply(x, 0, (*layers, Layer("dense", features=features)))[0]

    def _stack(self, name: str, flat: bool = False) -> OnnxStack:
        variables = {kind: self._variables[kind].get(name, {}) for kind in ("params", "batch_stats")}
        return OnnxStack(self._graph, variables, self._dtype, flat)

    def _params(self, name: str) -> dict[str, Any]:
        params: dict[str, Any] = self._variables["params"][name]
        return params

    def _projected(self, x: str, params: dict[str, np.ndarray]) -> str:
        """Adds a dense layer over the last axis."""
        product = self._graph.op("MatMul", x, self._graph.weights(params["kernel"], self._dtype))
        return self._graph.op("Add", product, params["bias"].astype(np.float32))


def _decoded(
    graph: OnnxGraph, logits: str, length: str | None, box: str | None, options: DecodeOptions
) -> dict[str, str]:
    """Adds decoding.decode: the fields of the Prediction by name, N = 1.

    Args:
      graph: that it is added to.
      logits: of the heads of the positions, f32 [B, L, K].
      length: of the length head, f32 [B, L + 2], or None.
      box: f32 [B, 4], or None.
      options: of decoding.
    """
    op = graph.op
    found = _decoded_length(graph, logits, length, options) if length else _decoded_positions(graph, logits, options)
    confidence = found["confidence"]
    if (options.platt_scale, options.platt_bias) != (1, 0):
        clipped = op("Clip", confidence, np.float32(1e-6), np.float32(1 - 1e-6))
        logit = op("Sub", op("Log", clipped), op("Log", op("Sub", np.float32(1), clipped)))
        scaled = op("Add", op("Mul", logit, np.float32(options.platt_scale)), np.float32(options.platt_bias))
        is_zero = op("Equal", confidence, np.float32(0))
        found["confidence"] = op("Where", is_zero, confidence, op("Sigmoid", scaled))
    found |= {name: op("Cast", found[name], to=_INT32) for name in ("length", "digits")}
    found |= {"box": box} if box else {}
    return {name: op("Unsqueeze", x, np.array([1])) for name, x in found.items()}


def _decoded_length(graph: OnnxGraph, logits: str, length: str, options: DecodeOptions) -> dict[str, str]:
    """Adds decoding.decode._decode_length, on the logits of the ten digits."""
    op, positions = graph.op, options.max_length
    log_digits, log_length = op("LogSoftmax", logits, axis=2), op("LogSoftmax", length, axis=1)
    best = op("ReduceMax", log_digits, _LAST, keepdims=0)  # [B, L]
    before = np.tri(positions + 2, positions, -1, dtype=np.float32).T  # [L, L + 2], whether a length has a position
    scores = op("Add", log_length, op("MatMul", best, before))
    number = op("ArgMax", scores, axis=1, keepdims=1)  # [B, 1]
    is_digit = op("Less", np.arange(positions), number)
    lengths = op("Softmax", length, axis=1)
    ended = op("Unsqueeze", op("MatMul", lengths, np.tri(positions, positions + 2, dtype=np.float32).T), np.array([2]))
    longer = op(
        "Unsqueeze", op("MatMul", lengths, 1 - np.tri(positions, positions + 2, dtype=np.float32).T), np.array([2])
    )
    joint = op("Concat", op("Mul", op("Softmax", logits, axis=2), longer), ended, axis=2)  # [B, L, 11]
    tempered = op("Softmax", op("Div", op("Log", joint), np.float32(options.temperature)), axis=2)
    of_digits, of_end = graph.split("Split", 2, tempered, np.array([NO_DIGIT, 1]), axis=2)
    certain = op("Where", is_digit, op("ReduceMax", of_digits, _LAST, keepdims=0), op("Squeeze", of_end, np.array([2])))
    return {
        "length": op("Squeeze", number, np.array([1])),
        "digits": op("Where", is_digit, op("ArgMax", logits, axis=2, keepdims=0), np.int64(NO_DIGIT)),
        "digit_confidence": certain,
        "confidence": op("Exp", op("ReduceMax", scores, _LAST, keepdims=0)),
    }


def _decoded_positions(graph: OnnxGraph, logits: str, options: DecodeOptions) -> dict[str, str]:
    """Adds decoding.decode._decode_positions."""
    op = graph.op
    digits = op("ArgMax", logits, axis=2, keepdims=0)  # [B, L]
    is_digit = graph.cast(op("Not", op("Equal", digits, np.int64(NO_DIGIT))), np.int64)
    tempered = op("Div", logits, np.float32(options.temperature))
    digit_confidence, untempered = (
        op("ReduceMax", op("Softmax", x, axis=2), _LAST, keepdims=0) for x in (tempered, logits)
    )
    return {
        "length": op("ReduceSum", is_digit, _LAST, keepdims=0),
        "digits": digits,
        "digit_confidence": digit_confidence,
        "confidence": op("ReduceProd", untempered, _LAST, keepdims=0),  # [B]
    }


_INT32 = 6
"""The number of the dtype in ONNX."""
