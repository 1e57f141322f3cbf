from __future__ import annotations

import shutil

import numpy as np
import onnx
import openvino
import pytest
from small_network import pictures

from data.formats.kitti import Label
from detector.export import __main__ as export
from detector.export import convert
from detector.export.agreement import Difference, ap_before_and_after, compare
from detector.export.calibration import evenly, network_inputs
from detector.export.graph import openvino_decoding
from detector.inference.backend import open_backend


def door(*arguments):
    return export.main([str(argument) for argument in arguments])


def test_int8_through_the_door_says_what_it_costs(weights, dataset, tmp_path, capfd):
    out = tmp_path / "new" / "small.xml"
    options = ["--calibrate", dataset, "--precision", "int8", "--output", out, "--threads", 1]
    assert door(weights, "--to", "openvino", *options) == 0
    said = capfd.readouterr().out
    assert "computes in int8" in said and "largest difference from PyTorch" in said
    assert "percent on 2 frames of split val" in said
    for word in ("fp32", "int8", "change", "mAP50"):
        assert word in said
    assert sorted(path.name for path in out.parent.iterdir()) == ["small.bin", "small.xml"]
    assert open_backend(out, "auto", "auto", 1).precision == "int8"


def test_another_size_and_a_fixed_batch_filled_up(weights, tmp_path):
    """Three images through a graph that takes two are those of three calls of one."""
    out = tmp_path / "two.onnx"
    assert door(weights, "--to", "onnx", "--size", 64, 32, "--batch", 2, "--output", out, "--threads", 1) == 0
    backend = open_backend(out, "auto", "auto", 1)
    assert (backend.size, backend.batch) == ((64, 32), 2)
    images = np.stack(pictures(3, 64, 32))
    boxes, scores = backend.run(images)
    assert boxes.shape == (3, 126, 4) and scores.shape == (3, 126, 3)  # 3 anchors * (8*4 + 4*2 + 2*1) places
    alone = [backend.run(image[None]) for image in images]
    np.testing.assert_allclose(boxes, np.concatenate([output[0] for output in alone]), atol=1e-3)
    np.testing.assert_allclose(scores, np.concatenate([output[1] for output in alone]), atol=1e-5)
    assert np.abs(scores[0] - scores[2]).max() > 0.01


def test_a_graph_that_computes_something_else_is_not_kept(weights, exported, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(convert, "write_onnx", lambda graph, card, batch, path: shutil.copy(exported["onnx"], path))
    wrong = Difference(10, 3.0, 0.2, 1, 3.0, 0.2, close=False)
    monkeypatch.setattr(convert, "compare", lambda *_: wrong)
    assert door(weights, "--to", "onnx", "--output", tmp_path / "a.onnx") == 2
    assert "does not compute what PyTorch does" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_compare_sees_a_shifted_box_and_a_changed_score(graph, exported, inputs):
    backend = open_backend(exported["onnx"], "auto", "auto", 1)
    same = compare(graph, backend, inputs[0])
    assert same.close and same.boxes < 0.01 and same.scores < 1e-5 and same.seen > 0
    run = backend.run

    def moved(images):
        boxes, scores = (output.copy() for output in run(images))
        boxes[0, 5, 2] += 7
        scores[0, 9, 1] += 0.125
        return boxes, scores

    backend.run = moved
    other = compare(graph, backend, inputs[0])
    assert not other.close
    assert other.boxes == pytest.approx(7, abs=0.01) and other.scores == pytest.approx(0.125, abs=1e-4)


def test_decoding_stays_out_of_int8(exported):
    """Behind the last convolutions nothing is rounded: neither in the OpenVINO nor in the ONNX graph."""
    model = openvino.Core().read_model(exported["openvino-int8"])
    kinds = {op.get_friendly_name(): op.get_type_name() for op in model.get_ordered_ops()}
    assert "FakeQuantize" in kinds.values()
    assert "FakeQuantize" not in {kinds[name] for name in openvino_decoding(model)}
    nodes = onnx.load(exported["onnx-int8"]).graph.node
    makers = {name: node for node in nodes for name in node.output}
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) > 20
    decoding, waiting = set(), [makers["boxes"], makers["scores"]]
    while waiting:
        node = waiting.pop()
        # the convolution's own output may be rounded: that pair ends the walk
        if node.op_type not in ("Conv", "DequantizeLinear") and node.name not in decoding:
            decoding.add(node.name)
            waiting += [makers[name] for name in node.input if name in makers]
    operators = {node.name: node.op_type for node in nodes}
    assert {"Exp", "Sigmoid", "Concat"} <= {operators[name] for name in decoding}


def test_what_int8_costs_in_ap_by_hand():
    truth = {f"{k}": [Label("Car", (10.0, 10.0, 60.0, 50.0))] for k in range(4)}
    perfect = {k: [Label("Car", (10.0, 10.0, 60.0, 50.0), score=0.9)] for k in truth}
    half = {k: found if k in "01" else [] for k, found in perfect.items()}
    said = ap_before_and_after(truth, perfect, half, ("Car",))
    rows = {line.split()[0]: line.split()[1:3] for line in said.splitlines()[1:4]}
    # Recall reaches 0.5: of COCO's 101 recall levels, 0.00 to 0.50, 51 have precision 1.
    assert rows == {"fp32": ["100.00", "100.00"], "int8": ["50.50", "50.50"], "change": ["-49.50", "-49.50"]}
    assert "int8 costs mAP50 on these frames (-49.50 points); it loses most in mAP50 (-49.50)." in said
    better = ap_before_and_after(truth, half, perfect, ("Car",))
    assert "int8 does not cost mAP50 on these frames (+49.50 points)." in better
    assert "says nothing about int8" in ap_before_and_after(truth, {k: [] for k in truth}, half, ("Car",))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["net.onnx", "--to", "onnx"], "only a .pt checkpoint can be exported"),
        (["net.pt", "--to", "onnx"], "net.pt: no such checkpoint"),
        (["net.pt", "--to", "openvino", "--precision", "int8"], "--calibrate ROOT"),
        (["net.pt", "--to", "onnx", "--precision", "bf16"], "ONNX Runtime has no bf16"),
        (["net.pt", "--to", "onnx", "--batch", "0"], "--batch 0: give 1 or more"),
        (
            ["net.pt", "--to", "openvino", "--precision", "int8", "--calibrate", "a.mp4", "--batch", "1"],
            "leave --batch out",
        ),
        (["{weights}", "--to", "onnx", "--size", "100"], "--size 100: give height and width"),
        (["{weights}", "--to", "onnx", "--output", "a.xml"], "must end in .onnx"),
        (["{weights}", "--to", "onnx", "--precision", "int8", "--calibrate", "no.mp4"], "no.mp4: no such file"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, words, weights, capsys):
    assert door(*(argument.format(weights=weights) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_missing_package_is_told_before_anything_is_loaded(monkeypatch, capsys):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "nncf" else object())
    options = ["--precision", "int8", "--calibrate", "somewhere"]
    assert door("net.pt", "--to", "openvino", *options) == 2
    assert "needs nncf: pip install nncf" in capsys.readouterr().err


def test_the_name_of_the_file_says_its_precision(weights):
    def name(*options):
        return export._output(export.parse([str(weights), *options])).name

    assert name("--to", "onnx") == "net.onnx"
    assert name("--to", "onnx", "--half") == "net-fp16.onnx"
    assert name("--to", "openvino", "--half") == "net-bf16.xml"
    assert name("--to", "openvino", "--precision", "int8") == "net-int8.xml"


def test_calibration_frames_are_spread_and_fill_batches(card):
    assert evenly("abcdefghi", 3) == ("a", "e", "i")
    assert evenly("ab", 3) == ("a", "b")
    frames = {str(k): image for k, image in enumerate(pictures(5))}
    inputs = network_inputs(frames, card, 2)
    assert [batch.shape for batch in inputs] == [(2, 64, 96, 3)] * 2
    with pytest.raises(ValueError, match="do not fill one batch of 8"):
        network_inputs(frames, card, 8)
