"""The merging of cells into candidates as ONNX operators: inference/jax_engine.py and decoding/cells.py, steps 1 to 3.

ONNX's NonMaxSuppression selects the seeds, and the candidates that are kept, in place of unrolled rounds.
"""

from __future__ import annotations

import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.export.onnx_graph import OnnxGraph

_LAST = np.array([-1])
_I64 = np.int64


def add_candidates(
    graph: OnnxGraph,
    box: str,
    probability: str,
    *,
    cells: int,
    min_cell_score: float,
    count: int,
    min_score: float,
    max_overlap: float,
    target: str,
) -> tuple[str, str]:
    """Adds the merging of the cells of each image.

    Args:
      graph: that it is added to.
      box: f32 [B, n, 4], cxcywh in pixels.
      probability: f32 [B, n, 10], of each digit.
      cells: only so many cells with the highest scores are merged.
      min_cell_score: cells with a lower score are left out.
      count: M.
      min_score: of a candidate.
      max_overlap: largest IoU of two candidates; cells that overlap more are merged.
      target: see decoding.cells.merge_cells.

    Returns:
      f32 [B, M, 4] and f32 [B, M, 10], as decoding.cells.best_candidates.
    """
    op = graph.op
    sure = op("GreaterOrEqual", op("ReduceSum", probability, _LAST), np.float32(min_cell_score))
    probability = op("Where", sure, probability, np.float32(0))
    score = op("ReduceSum", probability, _LAST, keepdims=0)
    most = op("Min", graph.shape(probability, 1), np.array([cells]))
    score, index = graph.split("TopK", 2, score, most)  # [B, k]
    table = op("Concat", box, probability, axis=2)
    table = op("GatherND", table, op("Unsqueeze", index, _LAST), batch_dims=1)
    box, probability = graph.split("Split", 2, table, np.array([4, NO_DIGIT]), axis=2)

    seed, present = _select(graph, box, score, count, max_overlap)
    cluster = op("Greater", _iou_with_seeds(graph, box, seed), np.float32(max_overlap))
    cell = graph.range(graph.shape(box, 1))
    cluster = op("Or", cluster, op("Equal", op("Unsqueeze", seed, _LAST), cell))
    cluster = op("And", cluster, op("Unsqueeze", present, _LAST))  # [B, M, k]
    merged_score, merged_box, merged_probability = _merge(
        graph, cluster, seed, present, score, box, probability, target
    )

    high_enough = op("GreaterOrEqual", merged_score, np.float32(min_score))  # [B, M]
    order = np.arange(count, 0, -1, dtype=np.float32)
    # Low candidates come last and are left out below: NonMaxSuppression must select some, see _select.
    kept, is_kept = _select(graph, merged_box, op("Where", high_enough, order, np.float32(0)), count, max_overlap)
    one_hot = op("Equal", op("Unsqueeze", kept, _LAST), np.arange(count))
    one_hot = graph.cast(op("And", one_hot, op("Unsqueeze", is_kept, _LAST)), np.float32)
    is_kept = op("Greater", op("ReduceMax", one_hot, np.array([1]), keepdims=0), np.float32(0))
    is_kept = op("And", is_kept, high_enough)
    is_kept = op("Unsqueeze", is_kept, _LAST)
    return tuple(op("Where", is_kept, x, np.float32(0)) for x in (merged_box, merged_probability))  # type: ignore[return-value]


def _select(graph: OnnxGraph, box: str, score: str, count: int, max_overlap: float) -> tuple[str, str]:
    """Selects boxes greedily: the highest score among those that overlap no selected one.

    There is no lowest score: ONNX Runtime 1.30 gives an empty selection a shape with which its other operators fail.

    Returns:
      i64 [B, M], their indices, and bool [B, M], whether there is one; the indices are 0 where not.
    """
    op = graph.op
    selected = op(
        "NonMaxSuppression",
        box,
        op("Unsqueeze", score, np.array([1])),
        np.array([count]),
        np.array([max_overlap], np.float32),
        center_point_box=1,
    )  # [selected, 3]: image, class, index; of each image together, by score
    image, _, index = graph.split("Split", 3, selected, np.array([1, 1, 1]), axis=1)
    batch = graph.shape(score, 0)
    earlier = op("Less", op("Transpose", image, perm=[1, 0]), op("Unsqueeze", graph.range(batch), _LAST))
    first = op("ReduceSum", graph.cast(earlier, _I64), _LAST, keepdims=0)  # [B], the row of its first one
    row = graph.range(graph.shape(selected, 0))
    position = op("Sub", op("Unsqueeze", row, _LAST), op("Gather", first, image))
    place = op("Concat", image, position, axis=1)  # [selected, 2]
    none = op("Expand", _I64(-1), op("Concat", batch, np.array([count]), axis=0))
    found = op("ScatterND", none, place, op("Squeeze", index, np.array([1])))
    return op("Max", found, _I64(0)), op("GreaterOrEqual", found, _I64(0))


def _iou_with_seeds(graph: OnnxGraph, box: str, seed: str) -> str:
    """Adds the IoU of seeds i64 [B, M] with all boxes f32 [B, k, 4]: f32 [B, M, k]."""
    op = graph.op
    center, size = graph.split("Split", 2, box, np.array([2, 2]), axis=2)
    half = op("Div", size, np.float32(2))
    low, high = op("Sub", center, half), op("Add", center, half)
    sides = op("Max", op("Sub", high, low), np.float32(0))
    area = op("ReduceProd", sides, _LAST)
    corners = op("Concat", low, high, area, axis=2)  # [B, k, 5]
    of_cell = [op("Transpose", x, perm=[0, 2, 1]) for x in graph.split("Split", 5, corners, np.ones(5, _I64), axis=2)]
    of_seed = graph.split(
        "Split", 5, op("GatherND", corners, op("Unsqueeze", seed, _LAST), batch_dims=1), np.ones(5, _I64), axis=2
    )
    overlap = []
    for side in range(2):
        end = op("Min", of_seed[2 + side], of_cell[2 + side])
        start = op("Max", of_seed[side], of_cell[side])
        overlap.append(op("Max", op("Sub", end, start), np.float32(0)))
    intersection = op("Mul", *overlap)
    union = op("Sub", op("Add", of_seed[4], of_cell[4]), intersection)
    union = op("Where", op("Greater", union, np.float32(0)), union, np.float32(1))
    return op("Div", intersection, union)


def _merge(
    graph: OnnxGraph, cluster: str, seed: str, present: str, score: str, box: str, probability: str, target: str
) -> tuple[str, str, str]:
    """Adds the merging of clusters bool [B, M, k]: scores f32 [B, M], boxes [B, M, 4], probabilities [B, M, 10]."""
    op = graph.op
    weight = op("Where", cluster, op("Unsqueeze", score, np.array([1])), np.float32(0))  # [B, M, k]
    total = op("ReduceSum", weight, _LAST)
    scores = op("Unsqueeze", score, _LAST)
    table = op("Concat", box, probability, scores, axis=2)  # [B, k, 15]
    mean = op("Div", op("MatMul", weight, table), op("Max", total, np.float32(1e-6)))
    merged_box, merged_probability, merged_score = graph.split("Split", 3, mean, np.array([4, NO_DIGIT, 1]), axis=2)
    if target == "cell":
        merged_score = total
        summed = op("MatMul", graph.cast(cluster, np.float32), probability)
        merged_probability = op("Div", summed, op("Max", total, np.float32(1)))
    elif target == "heatmap":
        alone = op("GatherND", op("Concat", probability, scores, axis=2), op("Unsqueeze", seed, _LAST), batch_dims=1)
        alone = op("Where", op("Unsqueeze", present, _LAST), alone, np.float32(0))
        merged_probability, merged_score = graph.split("Split", 2, alone, np.array([NO_DIGIT, 1]), axis=2)
    return op("Squeeze", merged_score, _LAST), merged_box, merged_probability
