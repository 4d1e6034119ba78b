"""A graph of ONNX operators that is being built, and the file that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqdigits.core.errors import UserError

OPSET, IR_VERSION = 18, 9
"""Versions that ONNX Runtime has read since 1.15, of 2023."""

Value = str | np.ndarray | np.generic
"""The name of a tensor of the graph, or a constant."""


class OnnxGraph:
    """Operators in the order of their evaluation, and their constants.

    Constants are deduplicated, and stay in numpy until `to_bytes`, so that only that needs the library onnx.
    """

    def __init__(self) -> None:
        self._nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], tuple[str, np.ndarray]] = {}

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> str:
        """Adds an operator with one output, and returns its name.

        Args:
          kind: the name of the operator.
          inputs: tensors; "" leaves an optional one out.
          attributes: of the operator.
        """
        return self.split(kind, 1, *inputs, **attributes)[0]

    def split(self, kind: str, outputs: int, *inputs: Value, **attributes: Any) -> list[str]:
        """Adds an operator with several outputs, and returns their names."""
        names = [f"{kind.lower()}_{len(self._nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        inputs_by_name = [x if isinstance(x, str) else self._constant(np.asarray(x)) for x in inputs]
        self._nodes.append((kind, inputs_by_name, names, attributes))
        return names

    def weights(self, array: np.ndarray, dtype: type[np.floating]) -> str:
        """Adds f32 weights that the file stores as `dtype`, and returns their name as f32."""
        stored = np.ascontiguousarray(array, dtype)
        if dtype == np.float32:
            return self._constant(stored)
        return self.op("Cast", stored, to=_FLOAT)

    def cast(self, x: Value, dtype: type[np.generic]) -> str:
        """Adds a conversion to another dtype, one of f32 and i64."""
        return self.op("Cast", x, to=_FLOAT if dtype == np.float32 else _INT64)

    def shape(self, x: str, axis: int) -> str:
        """Adds the size of an axis, i64 [1]."""
        return self.op("Shape", x, start=axis, end=axis + 1)

    def range(self, end: str) -> str:
        """Adds the integers 0 .. end - 1, of an end i64 [1]: i64 [end]."""
        scalar = self.op("Squeeze", end)
        return self.op("Range", np.int64(0), scalar, np.int64(1))

    def to_bytes(
        self,
        inputs: Mapping[str, tuple[str, Sequence[str | int]]],
        outputs: Mapping[str, tuple[str, str, Sequence[str | int]]],
        metadata: Mapping[str, str],
    ) -> bytes:
        """Returns the content of the file.

        Args:
          inputs: dtype and axes of each input, by name; the name of an axis stands for any size.
          outputs: tensor, dtype and axes of each output, by name.
          metadata: texts that the file contains, by key.

        Raises:
          UserError: the library onnx is not installed.
        """
        onnx = library()
        helper, types = onnx.helper, onnx.TensorProto
        named: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
            ("Identity", [tensor], [name], {}) for name, (tensor, _, _) in outputs.items()
        ]
        graph = helper.make_graph(
            [
                helper.make_node(kind, given, made, name=made[0], **attributes)
                for kind, given, made, attributes in (*self._nodes, *named)
            ],
            "seqdigits",
            [
                helper.make_tensor_value_info(name, getattr(types, dtype), axes)
                for name, (dtype, axes) in inputs.items()
            ],
            [
                helper.make_tensor_value_info(name, getattr(types, dtype), axes)
                for name, (_, dtype, axes) in outputs.items()
            ],
            [onnx.numpy_helper.from_array(array, name) for name, array in self._constants.values()],
        )
        model = helper.make_model(
            graph,
            producer_name="seqdigits",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _constant(self, array: np.ndarray) -> str:
        key = (str(array.dtype), array.shape, array.tobytes())
        return self._constants.setdefault(key, (f"constant_{len(self._constants)}", array))[0]


_FLOAT, _INT64 = 1, 7
"""The numbers of dtypes in ONNX."""


def library() -> Any:
    """Returns the library onnx, which writes the files.

    Raises:
      UserError: it is not installed.
    """
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as e:
        raise UserError(
            f"the library onnx, which writes the file, cannot be imported: {e}. Install it: pip install 'seqdigits[export]'."
        ) from e
    return onnx
