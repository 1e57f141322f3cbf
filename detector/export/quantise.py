"""int8 after training: ranges of activations are measured on frames, weights get a scale for each channel.

OpenVINO models go through NNCF. ONNX files go through ONNX Runtime's own quantiser, since NNCF leaves no pair of
quantisers around a convolution that a LeakyReLU follows, and ONNX Runtime then computes most of them in float32
(measured: as slow as float32, against 3.3 times as fast).

Decoding stays in float32 in both: a box side of 448 px in 256 steps would be off by a pixel from the start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.export.graph import onnx_decoding, openvino_decoding, write_card
from detector.inference.card import Card

Inputs = Sequence[NDArray[np.uint8]]  # network inputs, each [B, H, W, 3]
ONNX_OPERATORS = ("Conv", "LeakyRelu", "Relu", "Concat", "Resize", "Add", "Mul", "MaxPool")


def quantise_openvino(model: Any, inputs: Inputs) -> Any:
    """The model with 8-bit convolutions."""
    os.environ.setdefault("NNCF_CI", "1")  # NNCF reports its use to its maker otherwise
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA, loudly
    import nncf

    nncf.set_log_level(logging.ERROR)
    scope = nncf.IgnoredScope(names=openvino_decoding(model))
    # mixed: LeakyReLU's outputs are lopsided, weights are not
    preset = nncf.QuantizationPreset.MIXED
    with contextlib.redirect_stdout(sys.stderr):  # its progress bars
        return nncf.quantize(
            model, nncf.Dataset(list(inputs)), preset=preset, subset_size=len(inputs), ignored_scope=scope
        )


def quantise_onnx(path: Path, out: Path, card: Card, inputs: Inputs) -> None:
    """Reads the float32 file `path`, writes `out`."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(inputs)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            images = next(self._left, None)
            return None if images is None else {"images": images}

    logging.getLogger().setLevel(logging.ERROR)  # it advises a preprocessing that the exporter has done
    quantize_static(
        path,
        out,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(ONNX_OPERATORS),
        nodes_to_exclude=onnx_decoding(path),
    )
    write_card(out, card)
