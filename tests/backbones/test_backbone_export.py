"""Every variant is one graph: for torch.compile, and for ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from places import GIVE_MAPS, off_its_start, smallest
from torch import nn

from backbones import build_backbone

FAST = ("emca-srm",)  # aggregation, statistics and a local gate in one; the others take the same road
EACH = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in GIVE_MAPS]


def off_its_starting_values(attention: str) -> nn.Module:
    torch.manual_seed(0)
    return off_its_start(build_backbone(smallest(attention), attention)).eval()


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch.compiler.reset()


@pytest.mark.parametrize("attention", GIVE_MAPS)
def test_no_graph_break(attention: str) -> None:
    backbone = off_its_starting_values(attention)
    images = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(backbone, fullgraph=True, backend="eager")  # traces; generating code is the slow test's
    with torch.no_grad():
        for ours, expected in zip(compiled(images), backbone(images), strict=True):
            torch.testing.assert_close(ours, expected)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["cbam", "emca-srm"])  # spatial and aggregated; a minute each
def test_compiled_code_gives_the_same_maps_and_gradients(attention: str) -> None:
    backbone = off_its_starting_values(attention)
    images = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(backbone, fullgraph=True)
    results = []
    for network in (backbone, compiled):
        backbone.zero_grad()
        maps = network(images)
        sum(m.square().mean() for m in maps).backward()
        results.append((maps, [p.grad for p in backbone.parameters()]))
    for ours, expected in zip(results[1][0] + tuple(results[1][1]), results[0][0] + tuple(results[0][1]), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)


def exported(backbone: nn.Module, folder: Path) -> Path:
    """The ONNX file, made from 2 images of 64 x 96, for any number of them."""
    path = folder / "backbone.onnx"
    free_batch = ({0: torch.export.Dim("batch")},)
    images = torch.randn(2, 3, 64, 96)
    torch.onnx.export(backbone, (images,), path, dynamo=True, verbose=False, dynamic_shapes=free_batch)
    return path


@pytest.mark.parametrize("attention", EACH)
def test_onnx_export_gives_the_same_maps_for_any_number_of_images(attention: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the exporter is in requirements-export.txt")
    runtime = pytest.importorskip("onnxruntime", reason="the runtime is in requirements-export.txt")
    backbone = off_its_starting_values(attention)
    session = runtime.InferenceSession(exported(backbone, tmp_path), providers=["CPUExecutionProvider"])
    for images in torch.randn(1, 3, 64, 96), torch.randn(3, 3, 64, 96):
        maps = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.no_grad():
            for ours, expected in zip(maps, backbone(images), strict=True):
                torch.testing.assert_close(torch.from_numpy(ours), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["fca", "bam"])  # averaging to another size, and a module after a stage
def test_openvino_gives_the_same_maps_for_any_number_of_images(attention: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the exporter is in requirements-export.txt")
    openvino = pytest.importorskip("openvino", reason="the runtime is in requirements-export.txt")
    backbone = off_its_starting_values(attention)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.convert_model(exported(backbone, tmp_path)), "CPU", exact)
    for images in torch.randn(1, 3, 64, 96), torch.randn(3, 3, 64, 96):
        maps = compiled(images.numpy())
        with torch.no_grad():
            for k, expected in enumerate(backbone(images)):
                torch.testing.assert_close(torch.from_numpy(maps[k]), expected, atol=1e-4, rtol=1e-3)
