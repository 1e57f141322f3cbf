"""How long does one image take, by runtime and precision, and how does that compare? python -m benchmarks.inference

Every row runs its network on one image of the same size with the same number of threads. All rows take turns, so that
a machine that slows down slows all of them; medians over the rounds are compared. Weights are random: the arithmetic
does not depend on them. Ours: uint8 image to raw maps (PyTorch) or to boxes and scores (exported files), without
suppression. torchvision's detectors include theirs, Ultralytics' do not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from backbones.counting import count_macs
from benchmarks.peers import Peer
from data.formats.kitti import class_set
from detector.config import Config
from detector.export.agreement import sample_images
from detector.export.graph import ImagesToBoxes, save_openvino, to_openvino, write_onnx
from detector.export.quantise import quantise_onnx, quantise_openvino
from detector.inference.backend import open_backend
from detector.inference.card import Card
from detector.inference.cores import thread_count
from detector.inference.onnx_runtime import OnnxBackend
from detector.inference.openvino_runtime import OpenVinoBackend
from detector.inference.pytorch import TorchBackend
from detector.inference.trained import Trained
from detector.network.build import build_detector
from detector.network.model import DetectionModel

ROOT = Path(__file__).resolve().parents[1]
CALLS = 3  # timed calls of a row in each round, after one that is not: it wakes the row's threads and fills caches
COLD = "import sys; from detector.inference.predictor import Predictor; import numpy as np; "
COLD += "Predictor(sys.argv[1], 'cpu', sys.argv[2], threads=int(sys.argv[3])).predict(np.zeros((375, 1242, 3), 'u1'))"
COLD_ULTRALYTICS = "import sys, torch; from ultralytics import YOLO; torch.set_num_threads(int(sys.argv[3])); "
COLD_ULTRALYTICS += "torch.set_grad_enabled(False); YOLO(sys.argv[1]).model.eval().fuse()(torch.zeros(1, 3, 448, 448))"


@dataclass
class Row:
    """`run(calls)` gives the seconds of each call; macs and peak ("fp32", "bf16") where the limit is known."""

    group: str
    name: str
    run: Callable[[int], list[float]]
    macs: float = 0.0
    peak: str = ""
    seconds: list[float] = field(default_factory=list)

    @property
    def ms(self) -> float:
        return 1000 * statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of one image by runtime and precision, peers beside")
    add = parser.add_argument
    add("--config", type=Path, nargs="+", default=[ROOT / "configs/kitti.yaml", ROOT / "configs/kitti-light.yaml"])
    add("--threads", type=int, help="of every row (default: all cores)")
    add("--rounds", type=int, default=7)
    add("--ultralytics-python", type=Path, metavar="PATH", help="a Python that has ultralytics installed")
    add("--no-peers", action="store_true", help="our rows only")
    add("--no-cold", action="store_true", help="without cold starts")
    add("--gpu", action="store_true", help="PyTorch on the GPU by batch instead of the CPU rows")
    args = parser.parse_args()
    configs = [Config.load(path) for path in args.config]
    if args.gpu:
        _gpu(configs[0], args.rounds)
        return
    threads = thread_count(args.threads)
    torch.set_num_threads(threads)
    print(f"{_cpu()}, {threads} threads, load before {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        rows: list[Row] = []
        starts: list[tuple[str, list[str]]] = []
        for config in configs:
            rows += _ours(config, threads, folder, starts)
        if not args.no_peers:
            rows += _torchvision((448, 448))
            rows += _ultralytics(args.ultralytics_python, (448, 448), threads, folder, stack, starts)
        _time(rows, args.rounds)
        _print(rows, _peaks())
        if not args.no_cold:
            _cold(starts, min(args.rounds, 3))


def _ours(config: Config, threads: int, folder: Path, starts: list[tuple[str, list[str]]]) -> Iterator[Row]:
    torch.manual_seed(0)
    classes = class_set(config.data.classes).names
    network = build_detector(config.network, len(classes)).eval()
    macs = count_macs(network, config.size)
    group = f"{config.name} {config.size[1]}x{config.size[0]}"
    weights = folder / f"{config.name}.pt"
    Trained(config, classes, network.state_dict()).save(weights)
    card = Card(classes, config.size, config.data.resize, "fp32")
    onnx, onnx8 = folder / f"{config.name}.onnx", folder / f"{config.name}-int8.onnx"
    xml, xml8 = folder / f"{config.name}.xml", folder / f"{config.name}-int8.xml"
    samples = [image[None] for image in sample_images(config.size, 4)]
    write_onnx(ImagesToBoxes(network).eval(), card, 1, onnx)
    quantise_onnx(onnx, onnx8, replace(card, precision="int8"), samples)
    save_openvino(to_openvino(onnx), card, xml)
    save_openvino(quantise_openvino(to_openvino(onnx), samples), replace(card, precision="int8"), xml8)

    def torch_backend(precision: str) -> TorchBackend:
        return TorchBackend(network, classes, config.data.resize, config.size, "cpu", precision)

    image = samples[0]
    ways: list[tuple[str, str, Callable[[], object]]] = [
        ("PyTorch eager", "fp32", _eager(network, torch.from_numpy(image).permute(0, 3, 1, 2).contiguous()))
    ]
    for name, peak, backend in (
        ("PyTorch fused, channels_last", "fp32", torch_backend("fp32")),
        ("PyTorch fused, channels_last, bf16", "bf16", torch_backend("bf16")),
        ("ONNX Runtime fp32", "fp32", OnnxBackend(onnx, "fp32", threads)),
        ("ONNX Runtime int8", "", OnnxBackend(onnx8, "int8", threads)),
        ("OpenVINO fp32", "fp32", OpenVinoBackend(xml, "fp32", threads)),
        *((("OpenVINO bf16", "bf16", open_backend(xml, "cpu", "bf16", threads)),) if _has_bf16() else ()),
        ("OpenVINO int8", "", OpenVinoBackend(xml8, "int8", threads)),
    ):
        ways.append((name, peak, lambda backend=backend: backend.run(image)))  # type: ignore[misc]
    for name, peak, way in ways:
        yield Row(group, name, _timer(way), macs, peak)
    for kind, path in (("PyTorch", weights), ("ONNX Runtime", onnx), ("OpenVINO", xml), ("OpenVINO int8", xml8)):
        precision = "fp32" if path.suffix == ".pt" else "auto"
        starts.append((f"{group} {kind}", [sys.executable, "-c", COLD, str(path), precision, str(threads)]))


def _eager(network: DetectionModel, images: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return network(images)

    return run


def _timer(way: Callable[[], object]) -> Callable[[int], list[float]]:
    def run(calls: int) -> list[float]:
        seconds = []
        for _ in range(calls):
            started = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - started)
        return seconds

    return run


def _torchvision(size: tuple[int, int]) -> Iterator[Row]:
    from torchvision.models.detection import fasterrcnn_resnet50_fpn, retinanet_resnet50_fpn

    image = torch.rand(3, *size)
    for make in (fasterrcnn_resnet50_fpn, retinanet_resnet50_fpn):
        network = make(weights=None, weights_backbone=None, min_size=size[0], max_size=size[1]).eval()

        def run(network: Any = network) -> object:
            with torch.inference_mode():
                return network([image])

        yield Row(f"torchvision {size[1]}x{size[0]}", make.__name__, _timer(run))


def _ultralytics(
    python: Path | None,
    size: tuple[int, int],
    threads: int,
    folder: Path,
    stack: ExitStack,
    starts: list[tuple[str, list[str]]],
) -> list[Row]:
    """In PyTorch in its own process; and its graph in our OpenVINO, with the same settings as ours."""
    if python is None:
        print("Ultralytics: not measured; pip install it in an environment of its own, then --ultralytics-python PATH")
        return []
    peer = stack.enter_context(Peer(python, threads, folder))

    def ask(**request: object) -> dict[str, Any]:
        return peer.ask(size=size, **request)

    group, rows = f"Ultralytics {size[1]}x{size[0]}", []
    onnx = folder / "ultralytics.onnx"
    for model in ("yolov3.yaml", "yolov3-tiny.yaml"):
        fault = ask(model=model, runs=1).get("error")
        if fault:
            print(f"Ultralytics {model}: not measured ({fault})")
            continue

        def run(calls: int, model: str = model) -> list[float]:
            seconds: list[float] = ask(model=model, runs=calls)["seconds"]
            return seconds

        rows.append(Row(group, f"{model}, PyTorch", run))
        starts.append((f"Ultralytics {model}", [str(python), "-c", COLD_ULTRALYTICS, model, "fp32", str(threads)]))
    fault = ask(model="yolov3.yaml", onnx=str(onnx)).get("error") if rows else "no worker"
    if fault:
        print(f"Ultralytics yolov3.yaml in OpenVINO: not measured ({fault})")
        return rows
    return rows + list(_openvino_of(onnx, group, size, threads))


def _openvino_of(onnx: Path, group: str, size: tuple[int, int], threads: int) -> Iterator[Row]:
    os.environ.setdefault("NNCF_CI", "1")  # NNCF reports its use to its maker otherwise
    import nncf
    import numpy as np
    import openvino

    core, image = openvino.Core(), np.random.default_rng(0).random((1, 3, *size), np.float32)
    for name, hint in (("fp32", "f32"), *((("bf16", "bf16"),) if _has_bf16() else ()), ("int8", "f32")):
        model = core.read_model(onnx)
        if name == "int8":
            with contextlib.redirect_stdout(sys.stderr):  # its progress bars
                model = nncf.quantize(model, nncf.Dataset([image]), preset=nncf.QuantizationPreset.MIXED, subset_size=1)
        settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        request = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": 1}).create_infer_request()
        yield Row(
            group,
            f"yolov3.yaml, OpenVINO {name}",
            _timer(lambda request=request: request.infer([image], share_inputs=True)),  # type: ignore[misc]
        )


def _has_bf16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _time(rows: Sequence[Row], rounds: int) -> None:
    for _ in range(rounds):
        for row in rows:
            row.seconds += row.run(CALLS + 1)[1:]


def _peaks() -> dict[str, float]:
    """Multiply-adds a second of large matrix products: what this machine can do at best."""
    side, peaks = 2048, {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.ones(side, side, dtype=dtype)
        peaks[name] = side**3 / min(_timer(lambda a=a: a @ a)(6)[1:])  # type: ignore[misc]
    return peaks


def _print(rows: Sequence[Row], peaks: dict[str, float]) -> None:
    eager = {row.group: row.ms for row in rows if row.name == "PyTorch eager"}
    other = next((row.ms for row in rows if row.name == "yolov3.yaml, PyTorch"), None)
    for name, peak in peaks.items():
        print(f"best matrix product: {peak / 1e9:.0f} G multiply-adds/s in {name}")
    head = ("network", "runtime", "ms, median", "fastest", "eager / it", "Ultralytics YOLOv3 / it", "of best product")
    print(f"\n| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for row in rows:
        cells = [row.group, row.name, f"{row.ms:.1f}", f"{1000 * min(row.seconds):.1f}"]
        cells.append(f"{eager[row.group] / row.ms:.2f}x" if row.group in eager else "")
        cells.append(f"{other / row.ms:.1f}x" if other else "not measured")
        cells.append(f"{row.macs / min(row.seconds) / peaks[row.peak]:.0%}" if row.peak else "")
        print(f"| {' | '.join(cells)} |")


def _cold(starts: Sequence[tuple[str, list[str]]], rounds: int) -> None:
    """From nothing to the first detections: a new process, imports, loading, compiling, one image."""
    seconds: dict[str, list[float]] = {name: [] for name, _ in starts}
    for _ in range(rounds):
        for name, command in starts:
            started = time.perf_counter()
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if ended.returncode == 0:
                seconds[name].append(time.perf_counter() - started)
            elif not seconds[name]:
                print(f"{name}: cold start failed: {ended.stderr.strip().splitlines()[-1:]}")
    print("\n| cold start | seconds (median) |\n|---|---|")
    for name, spent in seconds.items():
        print(f"| {name} | {statistics.median(spent):.2f} |" if spent else f"| {name} | not measured |")


def _gpu(config: Config, rounds: int) -> None:
    """Images a second of PyTorch on the GPU by batch."""
    print("| batch | PyTorch bf16 | compiled |\n|---|---|---|")
    if not torch.cuda.is_available():
        for batch in (1, 8, 32):
            print(f"| {batch} | not measured | not measured |")
        return
    classes = class_set(config.data.classes).names
    network = build_detector(config.network, len(classes))
    backends = [
        TorchBackend(network, classes, config.data.resize, config.size, "cuda", "bf16") for _ in ("eager", "compiled")
    ]
    backends[1].network.compile()
    for batch in (1, 8, 32):
        images = sample_images(config.size, 1).repeat(batch, 0)
        seconds: list[list[float]] = [[], []]

        def run(backend: TorchBackend, images: Any = images) -> None:
            backend.run(images)
            torch.cuda.synchronize()

        for turn in range(rounds + 1):  # the first one compiles
            for spent, backend in zip(seconds, backends, strict=True):
                timed = _timer(lambda backend=backend: run(backend))(10)  # type: ignore[misc]
                spent += timed if turn else []
        print(f"| {batch} | " + " | ".join(f"{batch / statistics.median(spent):.0f}" for spent in seconds) + " |")
    print(torch.cuda.get_device_name())


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
