"""Weights that cannot be used are answered with one line that says what to do."""

from __future__ import annotations

import importlib
import shutil

import onnx
import pytest

from detector.inference.backend import open_backend
from detector.inference.weights import WeightsError


def refused(path, device="auto", precision="auto", threads=1):
    with pytest.raises(ValueError) as caught:
        open_backend(path, device, precision, threads)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_suffix_and_a_missing_file(tmp_path):
    assert "expected weights that end in .pt, .onnx or .xml" in refused(tmp_path / "a.h5")
    for name in ("a.onnx", "a.xml"):
        assert "no such file; make it with: python -m detector.export" in refused(tmp_path / name)


def test_another_makers_file(exported, tmp_path):
    import openvino

    model = onnx.load(exported["onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "b.onnx")
    openvino.save_model(openvino.convert_model(tmp_path / "b.onnx"), tmp_path / "b.xml")
    for name in ("b.onnx", "b.xml"):
        assert "not exported by this version of this project" in refused(tmp_path / name)


def test_damaged_metadata(exported, tmp_path):
    model = onnx.load(exported["onnx"])
    for entry in model.metadata_props:
        if entry.key in ("size", "checksum"):
            entry.value = "[64]"
    onnx.save(model, tmp_path / "c.onnx")
    assert "its metadata is damaged" in refused(tmp_path / "c.onnx")


def test_a_damaged_file(exported, tmp_path):
    for name in ("d.onnx", "d.xml"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
    (tmp_path / "d.bin").write_bytes(b"")
    assert "not an ONNX model that ONNX Runtime can load" in refused(tmp_path / "d.onnx")
    assert "not a model that OpenVINO can read" in refused(tmp_path / "d.xml")


def test_openvino_weights_left_behind(exported, tmp_path):
    shutil.copy(exported["openvino"], tmp_path / "e.xml")
    assert "its weights e.bin are missing" in refused(tmp_path / "e.xml")


def test_openvino_weights_cut_short(exported, tmp_path):
    shutil.copy(exported["openvino"], tmp_path / "e.xml")
    (tmp_path / "e.bin").write_bytes(exported["openvino"].with_suffix(".bin").read_bytes()[:1000])
    assert "damaged, or changed since it was exported" in refused(tmp_path / "e.xml")


@pytest.mark.parametrize("kind", ["onnx", "onnx-fp16", "onnx-int8", "openvino", "openvino-bf16", "openvino-int8"])
def test_a_flipped_bit_of_an_exported_file_is_told(exported, tmp_path, kind):
    source = exported[kind]
    files = [source, source.with_suffix(".bin")] if source.suffix == ".xml" else [source]
    for file in files:
        shutil.copy(file, tmp_path / file.name)
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / file.name).write_bytes(content)
        assert "damaged, or changed since it was exported" in refused(tmp_path / source.name)
        shutil.copy(file, tmp_path / file.name)


@pytest.mark.parametrize(
    ("kind", "precision", "words"),
    [
        ("onnx", "int8", "computes in fp32, not in int8"),
        ("onnx", "bf16", "computes in fp32, not in bf16"),
        ("onnx-int8", "fp32", "computes in int8, not in fp32"),
        ("openvino", "int8", "computes in fp32, not in int8"),
        ("openvino", "fp16", "OpenVINO's CPU arithmetic is fp32 or bf16"),
        ("openvino-int8", "bf16", "computes in int8, not in bf16"),
        ("openvino", "fp64", "expected one of auto, fp32, bf16, fp16, int8"),
    ],
)
def test_a_precision_that_the_file_cannot_do(exported, kind, precision, words):
    assert words in refused(exported[kind], precision=precision)


def test_int8_of_a_checkpoint(weights):
    assert "python -m detector.export" in refused(weights, precision="int8")


def test_a_gpu_for_an_exported_file(exported):
    assert "give the .pt for a GPU" in refused(exported["openvino"], device="cuda")
    assert "built without cuda" in refused(exported["onnx"], device="cuda")


def test_no_threads(exported):
    assert "--threads 0: give 1 or more" in refused(exported["onnx"], threads=0)


@pytest.mark.parametrize(("kind", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_runtime_that_is_not_installed(exported, kind, package, monkeypatch):
    real = importlib.import_module

    def without(name, *rest):
        if name == package:
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(WeightsError, match=rf"needs {package}.*pip install {package}"):
        open_backend(exported[kind], "auto", "auto", 1)
