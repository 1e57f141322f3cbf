"""A network as a file for other runtimes: ONNX first, OpenVINO made from that. Normalisation and decoding go along."""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detector.inference.card import Card
from detector.inference.fuse import fuse
from detector.inference.openvino_runtime import RT_INFO
from detector.inference.seal import seal
from detector.network.model import DetectionModel


class ImagesToBoxes(nn.Module):
    """images [B, H, W, 3] uint8 RGB -> boxes [B, N, 4] xyxy input px, scores [B, N, K]. BatchNorm is folded."""

    def __init__(self, network: DetectionModel) -> None:
        super().__init__()
        self.network = fuse(network.cpu())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.decode(self.network(images.permute(0, 3, 1, 2)))


def write_onnx(graph: ImagesToBoxes, card: Card, batch: int | None, path: Path) -> None:
    """One float32 file. batch None leaves the batch free."""
    images = torch.zeros(batch or 2, *card.size, 3, dtype=torch.uint8)  # torch takes a batch of 1 for a fixed one
    with torch.no_grad():
        graph(images[:1, :64, :64])  # a network that cannot be exported says so; within the tracer that fills pages
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own deprecations
        torch.onnx.export(
            graph,
            (images,),
            path,
            dynamo=True,
            input_names=["images"],
            output_names=["boxes", "scores"],
            dynamic_shapes=None if batch else ({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    write_card(path, card)


def write_card(path: Path, card: Card) -> None:
    """Puts the card into an ONNX file's metadata_props, and seals the file."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, card.to_properties())
    onnx.save(model, path)
    seal(path)


def halve_weights(path: Path, card: Card) -> None:
    """Kernels of convolutions in an ONNX file stored in fp16: half the size. A Cast, which the runtime folds when it
    loads the file, brings them back, because ONNX Runtime has no 16-bit convolutions on CPUs.
    """
    import onnx

    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        kernel = values.ndim == 4 and values.dtype == np.float32
        if not kernel or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    onnx.save(model, path)
    write_card(path, card)


def to_openvino(onnx_path: Path) -> Any:
    """The ONNX graph as an OpenVINO model."""
    import openvino

    return openvino.convert_model(onnx_path)


def save_openvino(model: Any, card: Card, path: Path) -> None:
    """Writes `path` (.xml) and its .bin. bf16 stores fp16, half the size and exact enough for what bf16 keeps of it."""
    import openvino

    for name, value in card.to_properties().items():
        model.set_rt_info(value, [RT_INFO, name])
    try:
        openvino.save_model(model, path, compress_to_fp16=card.precision == "bf16")
    except RuntimeError as fault:  # all that it says of a full disk is "iostream error"
        raise OSError(errno.EIO, f"cannot be written ({fault}); is the disk full?", str(path)) from None
    seal(path)


def onnx_decoding(path: Path) -> list[str]:
    """Names of the nodes behind the last convolutions of an ONNX graph: the decoding."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph
    producer = {name: node for node in nodes.node for name in node.output}
    return _behind_convolutions(
        [producer[output.name] for output in nodes.output],
        inputs=lambda node: [producer[name] for name in node.input if name in producer],
        kind=lambda node: node.op_type,
        name=lambda node: node.name,
    )


def openvino_decoding(model: Any) -> list[str]:
    """The same of an OpenVINO model."""
    return _behind_convolutions(
        [result.get_node() for result in model.outputs],
        inputs=lambda node: [value.get_source_output().get_node() for value in node.inputs()],
        kind=lambda node: node.get_type_name(),
        name=lambda node: node.get_friendly_name(),
    )


def _behind_convolutions(outputs: Iterable[Any], inputs: Any, kind: Any, name: Any) -> list[str]:
    """Walks from the outputs towards the input and stops at convolutions."""
    found: dict[str, None] = {}
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if kind(node) in ("Conv", "Convolution") or name(node) in found:
            continue
        found[name(node)] = None
        waiting += inputs(node)
    return list(found)
