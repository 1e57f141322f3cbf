"""Runs Ultralytics' networks for the benchmarks, in the Python environment that has them.

A process of its own, because its packages and its licence (AGPL) stay outside. It reads one JSON request a line and
answers each with one line. All have "model": NAME and "size": [h, w], and one of

    "runs": N                                  -> {"seconds": [...]}: the network alone on one image
    "onnx": PATH                               -> {}: the network is written there
    "int8": DATA.yaml                          -> {"path": ...}: its own export to OpenVINO, which later is a "model"
    "clip": PATH, "save": BOOL, "frames": N    -> {"seconds": S, "frames": N}: its own predict loop over a video

An answer with "error" says what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any


def main() -> None:
    answers = sys.stdout
    threads = int(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):  # what the packages print must not mix with the answers
        import torch
        from ultralytics import YOLO

        torch.set_num_threads(threads)
        models: dict[str, Any] = {}
        networks: dict[str, Any] = {}
        for line in sys.stdin:
            request = json.loads(line)
            try:
                name = request["model"]
                if name not in models:
                    models[name] = YOLO(name, task="detect")
                if "int8" in request:
                    size, data = request["size"], request["int8"]
                    path = YOLO(name).export(format="openvino", int8=True, imgsz=size, data=data, verbose=False)
                    answer = {"path": str(path)}
                elif "clip" in request:
                    answer = _predict(models[name], request)
                else:
                    if name not in networks:
                        networks[name] = YOLO(name).model.eval().fuse()  # as its own predict does
                    answer = _answer(torch, networks[name], request)
            except Exception as fault:
                answer = {"error": f"{type(fault).__name__}: {fault}"[:200]}
            print(json.dumps(answer), file=answers, flush=True)


def _predict(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    started, frames = time.perf_counter(), 0
    options = {"imgsz": request["size"], "save": request["save"], "project": "runs", "name": "video"}
    for _ in model.predict(request["clip"], stream=True, verbose=False, device="cpu", exist_ok=True, **options):
        frames += 1
        if frames == request["frames"]:
            break
    return {"seconds": time.perf_counter() - started, "frames": frames}


def _answer(torch: Any, network: Any, request: dict[str, Any]) -> dict[str, Any]:
    images = torch.rand(1, 3, *request["size"])
    if "onnx" in request:

        class Boxes(torch.nn.Module):
            """The network's first output: decoded boxes and scores."""

            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, images: Any) -> Any:
                return self.network(images)[0]

        with torch.inference_mode():
            torch.onnx.export(
                Boxes().eval(), (images,), request["onnx"], dynamo=False, input_names=["images"], opset_version=17
            )
        return {}
    seconds = []
    with torch.inference_mode():
        for _ in range(request["runs"]):
            started = time.perf_counter()
            network(images)
            seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


if __name__ == "__main__":
    main()
