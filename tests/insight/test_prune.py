"""A pruned network computes what the whole one does where gates are shut, and is an ordinary checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_detector import CLASSES, awake
from torch import Tensor, nn

from backbones import build_backbone
from backbones.counting import count_macs
from backbones.pruned import ConvolvedMeans, is_prunable, prune
from data.resize import fit, resize
from data.scenes.write import still
from detector.config import Config
from detector.inference.backend import open_backend
from detector.inference.predictor import Predictor
from detector.inference.trained import Trained, load_trained
from detector.network.start import start_from
from insight import prune as command
from training.config import ConfigError

CUT = {"layer2.0": (0, 5, 127), "layer4.0": tuple(range(100, 400))}


class Shut(nn.Module):
    """An excitation whose gate is exactly zero for some channels."""

    def __init__(self, channels: int, cut: tuple[int, ...], excite: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.mask = torch.ones(channels)
        self.mask[list(cut)] = 0
        self.excite = excite

    def __call__(self, squeezed: Tensor) -> Tensor:
        return self.excite(squeezed) * self.mask


def shut_gates(backbone: nn.Module, cut: dict[str, tuple[int, ...]]) -> None:
    for name, channels in cut.items():
        attention = backbone.get_submodule(name).attention
        gate = getattr(attention, "excitation", attention)
        width = backbone.get_submodule(name).get_submodule("bn2").num_features
        gate.__dict__["excite"] = Shut(width, channels, gate.excite)


@pytest.mark.parametrize("attention", ["emca-se", "eca"])
def test_where_gates_are_zero_the_outputs_are_equal(attention: str) -> None:
    """Means of cut channels are read by other gates, and by EMCA's later stages: they must still be right."""
    trained = awake(attention=attention, coverage="i-1,N") if "emca" in attention else awake(attention=attention)
    whole, smaller = trained.build(), trained.build()
    for network in (whole, smaller):
        shut_gates(network.backbone, CUT)
    prune(smaller.backbone, CUT)
    images = torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8)
    with torch.no_grad():
        for a, b in zip(whole(images), smaller(images), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5 * float(a.abs().max()))
    assert count_macs(smaller, (64, 128)) < count_macs(whole, (64, 128))


def test_a_bottleneck_and_a_last_block_can_be_cut_too() -> None:
    torch.manual_seed(0)
    whole, smaller = (build_backbone("resnet50", "se:placement=last").eval() for _ in range(2))
    smaller.load_state_dict(whole.state_dict())
    cut = {"layer1.2": (3, 255)}
    for backbone in (whole, smaller):
        gate = backbone.layer1[2].attention
        gate.__dict__["excite"] = Shut(256, cut["layer1.2"], gate.excite)
    prune(smaller, cut)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(whole(x), smaller(x), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5 * float(a.abs().max()))


@pytest.mark.parametrize(("kernel", "height", "width"), [(3, 5, 7), (3, 1, 4), (3, 2, 1), (1, 5, 7)])
def test_the_mean_of_a_convolution_needs_no_map(kernel: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(4, 6, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(6).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.data.uniform_(0.5, 2)
    x = torch.randn(2, 4, height, width)
    with torch.no_grad():
        torch.testing.assert_close(ConvolvedMeans(conv, norm, [4, 1])(x), norm(conv(x)).mean((2, 3))[:, [4, 1]])


def test_the_error_of_an_open_gate_is_at_most_tau_times_the_residual() -> None:
    backbone = awake().build().backbone
    block, cut = backbone.layer1[0], (2, 7)
    inner, shortcut = torch.randn(1, 64, 8, 8), torch.randn(1, 64, 8, 8)
    taps = [torch.rand(1, 64)]
    with torch.no_grad():
        residual = block.bn2(block.conv2(inner))
        gate = block.attention.gate(residual.mean((2, 3)), list(taps))
        before = block.attention(residual, shortcut, list(taps))
        prune(backbone, {"layer1.0": cut})
        error = (block.attention(inner, shortcut, list(taps)) - before).abs()
    tau = float(gate[0, list(cut)].max())
    assert (error[:, list(cut)] <= tau * residual[:, list(cut)].abs() + 1e-5).all() and error[:, list(cut)].max() > 1e-3
    assert error[:, [0, 1, 3]].max() < 1e-5


def test_what_cannot_be_pruned_says_so() -> None:
    unable = ("srm", "emca-srm", "cbam", "fca", "none", "emca-se:residual_gate=true", "emca-se:spatial=cbam")
    with torch.device("meta"):
        able, others = ([prunable_of(name) for name in names] for names in (("se", "emca-eca"), unable))
    assert all(able) and not any(others)


def prunable_of(attention: str) -> bool:
    return is_prunable(build_backbone("resnet18", attention).layer2[0].attention)


@pytest.mark.parametrize(
    ("pruned", "says"),
    [
        ({"layer9.0": [1]}, "no such block"),
        ({"layer1.0": [64]}, "0 to 63"),
        ({"layer1.0": list(range(64))}, "not all"),
        ({"layer1.0": [1, 1]}, "each once"),
        ({"layer1.1": [1]}, "gates no channel"),
    ],
)
def test_a_config_that_cuts_what_is_not_there_is_refused(pruned: dict[str, list[int]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Config.parse({"network": {"pruned": pruned}}, "here")


def test_shut_channels_are_those_that_no_image_opens() -> None:
    first = np.array([[-9.0, 1.0, -9.0], [-9.0, -9.0, -200.0]], np.float32)
    logits = {"layer1.0": first, "layer2.0": np.array([[-4.0, -5.0]], np.float32)}
    assert command.shut(logits, 0.0) == {}
    assert command.shut(logits, 0.001) == {"layer1.0": (0, 2)}
    assert command.shut(logits, 0.1) == {"layer1.0": (0, 2), "layer2.0": (1,)}  # one of a block stays


@pytest.fixture(scope="module")
def sleepy(save: Callable[[Trained, str], Path]) -> Path:
    """SE in the first blocks; in stage 4 the last weights are so negative that half the gates hardly open."""
    trained = awake(attention="se")
    weights = {name: tensor.clone() for name, tensor in trained.weights.items()}
    first, last = "backbone.layer4.0.attention.fc.0.weight", "backbone.layer4.0.attention.fc.2.weight"
    weights[first], weights[last] = weights[first].abs(), weights[last].abs()
    weights[last][::2] = -400.0
    weights["backbone.layer4.0.bn2.bias"] = weights["backbone.layer4.0.bn2.bias"].abs() + 20
    return save(replace(trained, weights=weights), "sleepy")


def test_the_command_writes_an_ordinary_checkpoint(
    sleepy: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pruned.pt"
    words = [str(sleepy), "--data", str(root), "--output", str(output), "--device", "cpu"]
    assert command.main(words) == 0
    printed = capsys.readouterr().out
    assert "256 channels cut" in printed and "ms an image before" in printed
    trained = load_trained(output)
    assert trained.config.network.pruned == {"layer4.0": tuple(range(0, 512, 2))}
    to_train_on = Config.load(tmp_path / "pruned.yaml")
    assert to_train_on.train.start == str(output) and to_train_on.network == trained.config.network
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 3), dtype=np.uint8)
    before, after = (Predictor(open_backend(path, "cpu", "fp32", 1)).predict(image) for path in (sleepy, output))
    np.testing.assert_allclose(after.boxes, before.boxes, atol=0.01)  # folded, and in channels_last
    np.testing.assert_allclose(after.scores, before.scores, atol=1e-4)
    assert command.main([str(output), "--data", str(root)]) == 2
    assert "pruned already" in capsys.readouterr().err


def test_a_pruned_detector_is_trained_on_and_exported(tmp_path: Path) -> None:
    trained = command.without(awake(), CUT)
    fresh = awake(pruned=CUT).build()
    report = start_from(fresh, CLASSES, trained.weights, CLASSES, "pruned.pt")
    assert not report.fresh
    outputs = fresh.train()(torch.randint(0, 256, (2, 3, 64, 128), dtype=torch.uint8))
    sum(output.square().mean() for output in outputs).backward()
    moved = fresh.backbone.layer4[0].attention
    assert moved.means_of_cut.linear.weight.grad.abs().sum() > 0 and moved.conv.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_a_pruned_detector_exports(tmp_path: Path, save: Callable[[Trained, str], Path]) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    from detector.export.__main__ import main as export

    weights = save(command.without(awake(), CUT), "cut")
    made = tmp_path / "cut.onnx"
    assert export([str(weights), "--to", "onnx", "--output", str(made), "--batch", "1"]) == 0
    assert made.is_file()  # the export itself compares with PyTorch, and refuses to write what differs


@pytest.mark.slow
def test_gates_forced_to_zero_in_the_shipped_detector_make_it_smaller_and_no_other() -> None:
    """100 drawn frames: every second gate of all four blocks is shut."""
    trained = load_trained("kitti-light")
    whole, smaller = trained.build(), trained.build()
    cut = {f"layer{stage}.0": tuple(range(0, 64 << (stage - 1), 2)) for stage in (1, 2, 3, 4)}
    for network in (whole, smaller):
        shut_gates(network.backbone, cut)
    prune(smaller.backbone, cut)
    size = trained.config.size
    with torch.inference_mode():
        for index in range(100):
            frame = still(0, index).image
            geometry = fit((frame.shape[0], frame.shape[1]), size, trained.config.data.resize)
            batch = torch.from_numpy(resize(frame, geometry)[None]).permute(0, 3, 1, 2)
            for a, b in zip(whole(batch), smaller(batch), strict=True):
                assert (a - b).abs().max() <= 1e-5 * a.abs().max()
    assert count_macs(smaller, size) < 0.95 * count_macs(whole, size)
