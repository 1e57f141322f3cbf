"""detector/inference/suppression.py once more, in ONNX operators: a graph that turns boxes and scores into detections.

Two things say so much of each other that a loop is not needed. The operator NonMaxSuppression says which boxes are
kept; every other box then falls to the best of those that overlap it enough.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnx import compose, inliner
from onnxscript import BOOL, FLOAT, INT64, opset20, script

from detector.export.graph import save_openvino, to_openvino, write_card
from detector.inference.card import Card
from detector.inference.suppression import CANDIDATES, LIMIT

op: Any = opset20  # its own types know nothing of numbers and lists, which `script` takes for constants
array: Any = FLOAT
COLUMNS = 7  # of a detection: index of its image, x1, y1, x2, y2, score, label


def suppress_onnx(path: Path, out: Path, card: Card) -> None:
    """Reads an ONNX file that gives boxes and scores, writes one that gives detections."""
    model = onnx.load(path)
    rows = {output.name: output.type.tensor_type.shape.dim[1].dim_value for output in model.graph.output}["boxes"]
    tail = compose.add_prefix(_tail(rows, card), "suppression.", rename_inputs=False, rename_outputs=False)
    tail.ir_version = model.ir_version
    onnx.save(compose.merge_models(model, tail, [("boxes", "boxes"), ("scores", "scores")]), out)
    write_card(out, card)


def suppress_openvino(path: Path, out: Path, card: Card) -> None:
    """The same of an OpenVINO model."""
    import openvino

    model = openvino.Core().read_model(path)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(_tail(model.output("boxes").get_partial_shape()[1].get_length(), card), Path(folder) / "tail.onnx")
        tail = to_openvino(Path(folder) / "tail.onnx")
    for port in tail.inputs:
        port.replace(model.output(port.get_any_name()).get_node().input_value(0))
    save_openvino(openvino.Model(tail.get_results(), model.get_parameters()), card, out)


def _tail(rows: int, card: Card) -> onnx.ModelProto:
    assert card.suppressed is not None
    return suppression(rows, len(card.classes), *card.suppressed, average=card.averages)


def suppression(
    rows: int, classes: int, conf: float, iou: float, limit: int = LIMIT, average: bool = True
) -> onnx.ModelProto:
    """boxes [B, rows, 4], scores [B, rows, classes] -> detections [M, 7], image by image, best first.

    Of what scores above `conf`. The letters in the comments: C candidates, L boxes that are kept, K classes.
    """
    reach = iou if average else 1.0  # what overlaps a kept box by more counts in its average
    candidates = min(CANDIDATES, rows * classes)
    every = list(range(classes))

    @script(default_opset=op)
    def stay(boxes: FLOAT, score: FLOAT, label: INT64) -> BOOL:
        """Of boxes [B, n, 4], best first, those that overlap no better one that stays, of their class: bool [B, n]."""
        of_class = op.Equal(op.Unsqueeze(label, [1]), op.Unsqueeze(op.Constant(value_ints=every), [1]))
        by_class = op.Where(of_class, op.Unsqueeze(score, [1]), -1.0)  # [B, K, n]
        kept = op.NonMaxSuppression(boxes, by_class, limit, iou, conf)  # [m, 3]: image, class, box
        ones = op.Expand(True, op.Shape(kept, start=0, end=1))
        return op.ScatterND(op.Expand(False, op.Shape(score)), op.Gather(kept, [0, 2], axis=1), ones)

    @script(default_opset=op)
    def most(chosen: BOOL) -> INT64:
        """How many of [B, n] are chosen in the image that has most, and 1 at least: [1]."""
        counts = op.ReduceSum(op.Cast(chosen, to=7), [1], keepdims=0)
        return op.Max(op.ReduceMax(counts, keepdims=1), [1])

    @script(default_opset=op)
    def overlap(a: FLOAT, b: FLOAT) -> FLOAT:
        """IoU of boxes [B, L, 4] with boxes [B, C, 4]: [B, L, C]."""
        ax1, ay1, ax2, ay2 = op.Split(op.Unsqueeze(a, [2]), axis=3, num_outputs=4)
        bx1, by1, bx2, by2 = op.Split(op.Unsqueeze(b, [1]), axis=3, num_outputs=4)
        width = op.Relu(op.Min(ax2, bx2) - op.Max(ax1, bx1))
        height = op.Relu(op.Min(ay2, by2) - op.Max(ay1, by1))
        common = width * height
        return op.Squeeze(common / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - common), [3])

    @script(default_opset=op)
    def graph(boxes: FLOAT, scores: FLOAT) -> FLOAT:
        best, place = op.TopK(op.Reshape(scores, [0, -1]), op.Constant(value_ints=[candidates]))
        counts = most(best > conf)
        score = op.Slice(best, [0], counts, [1])  # [B, C], best first
        place = op.Slice(place, [0], counts, [1])
        label = op.Mod(place, classes)
        box = op.GatherND(boxes, op.Unsqueeze(place / classes, [2]), batch_dims=1)

        kept = stay(box, score, label)
        kept_scores, slot = op.TopK(op.Where(kept, score, -1.0), op.Min(most(kept), limit))  # [B, L]
        kept_labels = op.GatherElements(label, slot, axis=1)
        kept_boxes = op.GatherND(box, op.Unsqueeze(slot, [2]), batch_dims=1)

        itself = op.Equal(op.Unsqueeze(slot, [2]), op.Range(0, op.Squeeze(counts), 1))  # [B, L, C]
        shared = overlap(kept_boxes, box)
        near = op.And(op.Greater(shared, reach), op.Equal(op.Unsqueeze(kept_labels, [2]), op.Unsqueeze(label, [1])))
        real = op.And(op.Unsqueeze(kept_scores, [2]) > conf, op.Unsqueeze(score, [1]) > conf)
        falls = op.And(op.Or(itself, near), real)
        first = op.Equal(op.CumSum(op.Cast(falls, to=6), 1), 1)
        weight = op.Where(op.And(falls, first), op.Where(itself, 1.0, shared) * op.Unsqueeze(score, [1]), 0.0)
        share = op.Unsqueeze(weight / op.ReduceSum(weight, [2]), [3])
        averages = op.ReduceSum(share * op.Unsqueeze(box, [1]), [2], keepdims=0)  # no MatMul, which bf16 would round

        apart = stay(averages, kept_scores, kept_labels)
        index = op.Transpose(op.NonZero(apart))  # [M, 2]: image, place among those that are kept
        detections = op.Concat(
            op.Cast(op.Gather(index, [0], axis=1), to=1),
            op.GatherND(averages, index),
            op.Unsqueeze(op.GatherND(kept_scores, index), [1]),
            op.Cast(op.Unsqueeze(op.GatherND(kept_labels, index), [1]), to=1),
            axis=1,
        )
        return detections  # noqa: RET504  the output is called by this name

    model = graph.to_model_proto(
        input_types=[array["B", rows, 4], array["B", rows, classes]], output_types=[array["M", COLUMNS]]
    )
    model = inliner.inline_local_functions(model)
    del model.opset_import[1:]  # the home of the functions that were inlined
    return model
