"""The maps are the formula's, nothing in them is overwritten, and the measures are what their names say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_detector import awake
from torch import nn

from data.annotation import Annotation
from data.resize import fit
from insight import gradcam
from insight.maps import Watch, channel_weights, class_map, normalised, on_picture
from insight.measures import area, curves, energy, order, pointing
from insight.subject import DetectorSubject, short_names


def test_one_layer_gives_the_formula() -> None:
    """y = Σ_c v_c Σ_p A_cp: every ∂y/∂A_c is v_c, so the map is ReLU(Σ_c v_c A_c)."""
    layer, v = nn.Conv2d(1, 3, 1, bias=False), torch.tensor([2.0, -1.0, 0.5])
    layer.weight.data = torch.tensor([1.0, 3.0, -4.0]).view(3, 1, 1, 1)
    x = torch.tensor([[1.0, -2.0], [0.0, 3.0]]).view(1, 1, 2, 2)
    with Watch(layer) as watch:
        y = (v.view(1, 3, 1, 1) * layer(x)).sum()
    weights = channel_weights(y, watch.maps[0])
    assert weights.tolist() == [2.0, -1.0, 0.5]
    # 2·1·x − 1·3·x + .5·(−4)·x = −3x
    assert class_map(weights, watch.maps[0]).tolist() == [[0.0, 6.0], [0.0, 0.0]]


def test_the_weights_average_over_positions() -> None:
    """y = Σ_p p · A_p: gradients 0, 1, 2, 3, mean 1.5."""
    layer = nn.Identity()
    with Watch(layer) as watch:
        y = (torch.arange(4.0).view(1, 1, 2, 2) * layer(torch.ones(1, 1, 2, 2))).sum()
    assert channel_weights(y, watch.maps[0]).item() == 1.5


@pytest.mark.parametrize("factor", [0.0, None])
def test_no_gradient_gives_a_map_of_zeros(factor: float | None) -> None:
    """Zero, or no connection at all."""
    layer, other = nn.Conv2d(1, 2, 1), torch.ones(1, requires_grad=True)
    with Watch(layer) as watch:
        out = layer(torch.ones(1, 1, 3, 4))
    y = other.sum() if factor is None else factor * out.sum()
    raw = class_map(channel_weights(y, watch.maps[0]), watch.maps[0])
    over = on_picture(raw, fit((6, 8), (6, 8), "stretch"))
    assert not over.any() and over.shape == (6, 8)
    assert pointing(over, (0, 0, 8, 6)) == energy(over, (0, 0, 8, 6)) == 0


def test_a_relu_in_place_behind_the_module_overwrites_nothing() -> None:
    layer = nn.Identity()
    network = nn.Sequential(layer, nn.ReLU(inplace=True))
    with Watch(layer) as watch:
        y = network(torch.tensor([[[[-1.0, 2.0]]]])).sum()
    assert watch.maps[0].flatten().tolist() == [-1.0, 2.0]
    assert channel_weights(y, watch.maps[0]).item() == 0.5


def test_the_attentions_map_is_what_came_before_the_blocks_relu() -> None:
    subject = DetectorSubject(awake(), "emca", "cpu")
    with Watch(gradcam.watched_module(subject, "attention")[0]) as watch, torch.enable_grad():
        subject.network(torch.randint(0, 256, (1, 3, 64, 128), dtype=torch.uint8))
    assert subject.backbone.attention_paths[-1] == "layer4.0.attention"
    assert (watch.maps[0] < 0).any()


def test_a_finding_is_the_prediction_that_has_its_score() -> None:
    subject = DetectorSubject(awake(), "emca", "cpu")
    batch, geometry = subject.place(np.full((60, 120, 3), 90, np.uint8))
    outputs = subject.network(batch)
    findings = subject.findings(outputs, geometry, 0.3, 0.45)
    _, scores = subject.network.decode(outputs)
    assert len(findings) > 3 and len({finding.level for finding in findings}) > 1
    sizes = np.cumsum([raw.shape[2] * raw.shape[3] * 3 for raw in outputs])
    for finding in findings:
        assert scores[0, finding.row, finding.label].item() == pytest.approx(finding.score, abs=1e-6)
        assert ([0, *sizes])[finding.level] <= finding.row < sizes[finding.level]


def test_the_map_of_a_class_is_that_of_the_sum_of_its_logits() -> None:
    subject = DetectorSubject(awake(), "emca", "cpu")
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 3), dtype=np.uint8)
    explained = gradcam.explain(subject, image, "C4", (), 0.3, 0.45)
    batch, geometry = subject.place(image)
    with Watch(subject.backbone) as watch, torch.enable_grad():
        findings = subject.findings(subject.network(batch), geometry, 0.3, 0.45)
    label = findings[0].label
    y = torch.stack([finding.logit for finding in findings if finding.label == label]).sum()
    expected = class_map(channel_weights(y, watch.maps[1]), watch.maps[1])
    torch.testing.assert_close(explained.of_class[label], expected)


def test_the_resize_is_undone() -> None:
    """A letterbox of 20 x 80 in 64 x 64 has bars above and below; a peak in its middle stays in the middle."""
    raw = torch.zeros(8, 8)
    raw[0] = 9.0  # all in the bar
    raw[3:5, 2] = 1.0
    over = on_picture(raw, fit((20, 80), (64, 64), "letterbox"))
    assert over.shape == (20, 80) and over.max() == 1
    y, x = np.unravel_index(over.argmax(), over.shape)
    assert x == pytest.approx((2 + 0.5) * 10, abs=1.5) and 5 < y < 15


def test_the_measures_by_hand() -> None:
    over = np.zeros((4, 8), np.float32)
    over[1, 2], over[3, 7] = 1.0, 0.5
    assert pointing(over, (2, 1, 4, 3)) == 1 and pointing(over, (4, 1, 8, 4)) == 0
    assert energy(over, (2, 1, 4, 3)) == pytest.approx(2 / 3)
    assert area(over, (2, 1, 4, 3)) == 4 / 32
    assert normalised(torch.tensor([[2.0, 4.0]])).tolist() == [[0.5, 1.0]]


def test_deletion_and_insertion_by_hand() -> None:
    """The score is the share of white pixels. The map marks the half that is white: it goes, or comes, first."""
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = 255
    over = np.zeros((10, 20), np.float32)
    over[:, :10] = 1.0
    scores = lambda images: (images[..., 0] == 255).mean((1, 2)).astype(np.float32)  # noqa: E731
    geometry = fit((10, 20), (10, 20), "stretch")
    deletion, insertion = curves(image, over, geometry, scores)
    assert deletion == pytest.approx(0.5 * 0.25)  # falls from .5 to 0 over the first half
    assert insertion == pytest.approx(0.5 * 0.25 + 0.5 * 0.5)
    ranks = order(over, geometry)
    assert sorted(ranks[:, :10].flat) == list(range(100)) and sorted(ranks[:, 10:].flat) == list(range(100, 200))
    assert (order(np.ones((64, 64), np.float32), fit((20, 80), (64, 64), "letterbox"))[:24] == -1).all()


def test_the_command(weights: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        str(weights),
        "--data",
        str(root),
        "--max",
        "1",
        "--conf",
        "0.3",
        "--classes",
        "Pedestrian",
        "--output",
        str(tmp_path),
        "--json",
        "-",
    ]
    assert gradcam.main(words) == 0
    report = json.loads(capsys.readouterr().out)
    found = report["networks"]["emca"]["found"]
    assert report["pictures"] == 1 and found > 0
    with np.load(tmp_path / "maps/emca/000002.npz") as maps:
        assert maps["maps"].shape == (found, 60, 120) and set(maps["class_names"]) == {"Pedestrian"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gradcam-dark.png", "gradcam-light.png", "maps"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["W", "--data", "ROOT", "--classes", "Bus"], "has only Car, Pedestrian"),
        (["W", "W", "--data", "ROOT"], "given twice"),
        (["W", "empty"], "no .png or .jpg"),
    ],
)
def test_wrong_words_take_one_line(
    words: list[str], says: str, weights: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    real = {"W": str(weights), "ROOT": str(root), "empty": str(tmp_path / "empty")}
    assert gradcam.main([real.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_map_is_judged_where_the_object_is_annotated() -> None:
    subject = DetectorSubject(awake(), "emca", "cpu")
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 3), dtype=np.uint8)
    explained = gradcam.explain(subject, image, "level", ("Car",), 0.3, 0.45)
    areas = [np.prod(finding.box[2:] - finding.box[:2]) for finding in explained.findings]
    largest = slice(at := int(np.argmax(areas)), at + 1)
    one = replace(explained, findings=explained.findings[largest], each=explained.each[largest])
    box = tuple(one.findings[0].box.tolist())
    (row,) = gradcam.measure(subject, image, one, [Annotation("Car", box)])
    assert row["energy by chance"] == pytest.approx(max(areas) / 7200, rel=0.2)
    assert 0 <= row["deletion"] <= 1 and 0 <= row["energy"] <= 1
    other = [Annotation("Pedestrian", box), Annotation("Car", box, ignore=True), Annotation("Car", (0, 0, 1, 1))]
    assert gradcam.measure(subject, image, one, other) == []


def test_names_are_short_and_differ() -> None:
    paths = [Path("runs/a/best.pt"), Path("runs/b/best.pt"), Path("x/net.pt"), Path("y/net.pt")]
    assert short_names(paths) == ["a", "b", "x/net.pt", "y/net.pt"]
