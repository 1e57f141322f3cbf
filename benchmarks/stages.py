"""What does each stage of a video cost on one core, and how near is that to what the machine can do?

    python -m benchmarks.stages CLIP --weights W.xml

Milliseconds of processor time a frame, of all threads together, so that a busy neighbour counts little; medians of
the rounds. Beside them the limits: a large int8 product for the network, swscale for colour, x264 by preset.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from data.resize import fit, resize
from detector.inference.card import read_card
from detector.inference.detections import Detections
from detector.inference.drawing import draw
from detector.inference.exported import require
from detector.inference.openvino_runtime import RT_INFO
from detector.inference.predictor import Predictor
from detector.video.container import to_rgb
from detector.video.encoder import X264

Image = NDArray[np.uint8]
VARIANTS = {
    "as it is": X264,
    "ultrafast, crf 25": {"preset": "ultrafast", "crf": "25", "bf": "0"},
    "superfast, crf 24": {"preset": "superfast", "crf": "24", "bf": "0"},
    "veryfast, crf 23": {"preset": "veryfast", "crf": "23", "bf": "0"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="processor time of each stage of a video, and the machine's limits")
    parser.add_argument("clip", type=Path, help="a video file")
    parser.add_argument("--weights", type=Path, required=True, help="an OpenVINO file")
    parser.add_argument("--frames", type=int, default=78, help="of the clip (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    decoded = _decode(args.clip, args.frames)
    pictures = [to_rgb(frame) for frame in decoded]
    _stages(args, decoded, pictures)
    _encoders([_to_yuv(picture) for picture in pictures], args.rounds)
    _network(args.weights, args.rounds)


def _decode(clip: Path, count: int) -> list[av.VideoFrame]:
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return [frame for frame, _ in zip(container.decode(video=0), range(count), strict=False)]


def _to_yuv(picture: Image) -> Image:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)


def _spent(work: Callable[[], object], frames: int, rounds: int) -> float:
    """Median milliseconds of processor time a frame; one round more, uncounted, warms up."""
    spent = []
    for _ in range(rounds + 1):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return 1000 * statistics.median(spent[1:]) / frames


def _stages(args: argparse.Namespace, decoded: Sequence[av.VideoFrame], pictures: Sequence[Image]) -> None:
    predictor = Predictor(args.weights, "cpu", threads=1)
    (height, width), policy = predictor.backend.size, predictor.backend.policy
    geometry = fit(pictures[0].shape[:2], (height, width), policy)
    inputs = [resize(picture, geometry)[None] for picture in pictures]
    outputs = [predictor.backend.run(image) for image in inputs]
    found = [predictor.predict(picture) for picture in pictures]
    yuv = [_to_yuv(picture) for picture in pictures]
    canvas, out = pictures[0].copy(), np.empty((height, width, 3), np.uint8)
    stages: dict[str, Callable[[], object]] = {
        "decode": lambda: _decode(args.clip, len(decoded)),
        "YUV to RGB, swscale": lambda: [to_rgb(frame) for frame in decoded],
        "YUV to RGB, OpenCV": lambda: [cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420) for planes in yuv],
        "resize": lambda: [resize(picture, geometry, out) for picture in pictures],
        "YUV to the input, swscale": lambda: [frame.reformat(width, height, "rgb24", threads=1) for frame in decoded],
        "network": lambda: [predictor.backend.run(image) for image in inputs],
        "suppress": lambda: [
            predictor.backend.finish(output, [geometry], predictor.conf, predictor.iou) for output in outputs
        ],
        "draw": lambda: _draw(canvas, found, predictor.classes),
        "RGB to YUV": lambda: [_to_yuv(picture) for picture in pictures],
        "copy into a frame": lambda: [av.VideoFrame.from_ndarray(planes, format="yuv420p") for planes in yuv],
    }
    size = pictures[0].shape
    print(f"{args.clip.name}: {len(pictures)} frames of {size[1]}x{size[0]}, network input {width}x{height}")
    print(f"{sum(map(len, found)) / len(found):.1f} objects a frame\n\n| stage | ms of one core |\n|---|---|")
    for name, work in stages.items():
        print(f"| {name} | {_spent(work, len(pictures), args.rounds):.2f} |", flush=True)


def _draw(canvas: Image, found: Sequence[Detections], classes: Sequence[str]) -> None:
    for one in found:
        draw(canvas, one, classes)


def _encoders(frames: Sequence[Image], rounds: int) -> None:
    rows, columns = frames[0].shape[0] * 2 // 3, frames[0].shape[1]
    if rows % 2 or columns % 2:
        print("\nencoders: not measured, the picture has an odd side")
        return
    print("\n| x264 | ms of one core | kB | PSNR, dB |\n|---|---|---|---|")
    for name, options in VARIANTS.items():

        def work(settings: dict[str, str] = options) -> io.BytesIO:
            return _encode(frames, (rows, columns), settings)

        file = work()
        quality = _psnr(file, frames, rows)
        spent = _spent(work, len(frames), rounds)
        print(f"| {name} | {spent:.2f} | {len(file.getvalue()) // 1000} | {quality:.2f} |", flush=True)


def _encode(frames: Sequence[Image], size: tuple[int, int], options: dict[str, str]) -> io.BytesIO:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for number, planes in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def _psnr(file: io.BytesIO, frames: Sequence[Image], rows: int) -> float:
    """Of the brightness, over all frames together."""
    file.seek(0)
    with av.open(file) as container:
        errors = [
            np.square(frame.to_ndarray()[:rows].astype(np.int32) - planes[:rows]).mean()
            for frame, planes in zip(container.decode(video=0), frames, strict=True)
        ]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def _network(weights: Path, rounds: int) -> None:
    """OpenVINO's own counters of one image on one thread, by kind of layer and arithmetic."""
    core = require("openvino", weights).Core()
    model = core.read_model(weights)
    section = {name: str(value) for name, value in model.get_rt_info(RT_INFO).value.items()}
    shape = [1, *read_card(section, weights).size, 3]
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for _ in range(10 * rounds):
        request.infer([images])
        for node in request.get_profiling_info():
            times[node.node_name, node.node_type, node.exec_type].append(node.real_time.total_seconds())
    kinds: dict[tuple[str, str], float] = defaultdict(float)
    for (_, kind, arithmetic), seconds in times.items():
        kinds[kind, arithmetic.rpartition("_")[2]] += 1000 * statistics.median(seconds)
    total, convolutions = sum(kinds.values()), sum(ms for (kind, _), ms in kinds.items() if kind == "Convolution")
    print("\n| layers | arithmetic | ms | share |\n|---|---|---|---|")
    for (kind, arithmetic), ms in sorted(kinds.items(), key=lambda row: -row[1]):
        if ms > total / 500:
            print(f"| {kind} | {arithmetic} | {ms:.2f} | {ms / total:.1%} |")
    model.reshape({"images": shape})  # for counting alone
    macs, peak = _macs(model), _int8_peak()
    print(f"\n{macs / 1e9:.2f} G multiply-adds in convolutions, {macs / convolutions / 1e6:.0f} G/s; ", end="")
    print(f"a 2048³ product in int8: {peak / 1e9:.0f} G/s; at that rate they would take {1000 * macs / peak:.1f} ms")


def _macs(model: Any) -> float:
    """Multiply-adds of all convolutions for one image."""
    return float(
        sum(
            np.prod(node.input_value(1).shape) * np.prod(node.output(0).shape[2:])
            for node in model.get_ops()
            if node.get_type_name() == "Convolution"
        )
    )


def _int8_peak() -> float:
    side = 2048
    a = torch.ones(side, side, dtype=torch.int8)
    return side**3 / (min(_spent(lambda: torch._int_mm(a, a), 1, 1) for _ in range(5)) / 1000)


if __name__ == "__main__":
    main()
