"""The four commands look into classifiers as they do into detectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from coloured_pictures import make_pictures

from backbones.pretrained import load_pretrained
from classifier.config import Config
from classifier.evaluation.verdicts import judge
from classifier.network import build_classifier
from classifier.trained import Trained, load_trained
from data.images import read_image
from data.pictures import open_pictures
from insight import gradcam, prune, rotation, scales
from insight.maps import normalised
from insight.subject import ClassifierSubject
from insight.top import top
from training.config import ConfigError
from training.distributed import World

CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("colours"), train=2, val=3)


@pytest.fixture(scope="module")
def namer(pictures: Path) -> Trained:
    """Untrained: its statistics are not the identity, and no class is likelier than another."""
    torch.manual_seed(0)
    values = {"network": {"attention": "se"}, "phases": [{"size": 64}], "data": {"crop": "padded"}}
    config = Config.parse({"task": "classification", **values}, "here")
    network = build_classifier(config.network, len(CLASSES))
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(buffer, std=0.1)
    torch.nn.init.normal_(network.backbone.fc.weight, std=0.3)
    trained = Trained(config, CLASSES, network.state_dict(), "namer")
    subject = subject_of(trained)
    seen = torch.cat([subject.place(image)[0] for _, image in subject.frames(pictures, "val", None)])
    trained.weights["backbone.fc.bias"].sub_(subject.logits(seen).mean(0))
    return trained


@pytest.fixture(scope="module")
def weights(namer: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "namer.pt"
    namer.save(path)
    return path


def subject_of(trained: Trained) -> ClassifierSubject:
    return ClassifierSubject(trained, "namer", "cpu")


def first_of(pictures: Path) -> np.ndarray:
    return read_image(pictures / "val/green/0.png")


def test_its_finding_is_the_class_that_it_names_or_those_asked_for(namer: Trained, pictures: Path) -> None:
    subject = subject_of(namer)
    batch, geometry = subject.place(first_of(pictures))
    logits = subject.network(batch)
    (found,) = subject.findings(logits, geometry, 0.25, 0.45)
    assert (found.label, found.score) == (int(logits.argmax()), pytest.approx(float(logits.softmax(1).max())))
    asked = subject.findings(logits, geometry, 0.25, 0.45, ("red", "blue"))
    assert {item.label for item in asked} == {0, 2} and asked[0].score >= asked[1].score
    assert subject.scores(batch, asked[1]).item() == pytest.approx(asked[1].score, abs=1e-6)


@pytest.mark.parametrize("layer", ["C5", "level"])
def test_at_the_last_stage_grad_cam_is_the_class_activation_map(layer: str, namer: Trained, pictures: Path) -> None:
    """y = Σ_c w_c · mean of A_c, so α_c = w_c / positions (Zhou et al., CVPR 2016)."""
    subject, image = subject_of(namer), first_of(pictures)
    explained = gradcam.explain(subject, image, layer, ("green",), 0.25, 0.45)
    seen = {}
    subject.backbone.avgpool.register_forward_hook(lambda module, inputs, output: seen.update(a=inputs[0]))
    subject.network(subject.place(image)[0])
    a, w = seen["a"][0], subject.backbone.fc.weight[1]
    expected = torch.relu((w[:, None, None] * a).sum(0)) / a[0].numel()
    assert a[0].numel() == 4 and expected.any()
    torch.testing.assert_close(explained.each[0], expected)


def test_maps_lie_over_what_is_judged(namer: Trained, pictures: Path) -> None:
    cropping = replace(namer, config=namer.config.override(["data.crop=resized"]))
    subject, image = subject_of(cropping), first_of(pictures)
    explained = gradcam.explain(subject, image, "C5", (), 0.25, 0.45)
    assert image.shape == (32, 40, 3) and subject.seen(image).shape == (64, 64, 3)
    assert gradcam.overlaid(subject, image, explained).shape == (64, 64, 3)
    assert normalised(explained.each[0]).max() in (0, 1)


def test_top_is_that_of_an_evaluation_and_turns_come_after_the_crop(namer: Trained, pictures: Path) -> None:
    subject = subject_of(namer)
    frames = subject.frames(pictures, "val", None)
    data = open_pictures(pictures, "val", CLASSES)
    verdicts = judge(subject.network, data, namer.config.data, namer.config.size, "fp32", World())
    assert len(set(verdicts.said)) > 1 and top(subject, frames) == {"top1": verdicts.top(1), "top5": verdicts.top(5)}
    batch = torch.cat([subject.place(image)[0] for _, image in frames])
    said = subject.logits(torch.rot90(batch, -1, (2, 3))).argmax(1).numpy()
    assert rotation.rotate(subject, frames, 4)[90]["top1"] == pytest.approx(100 * (said == data.labels).mean())


def test_the_commands(weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(pictures), "--device", "cpu", "--json", "-"]

    def answer(command: Callable[[list[str]], int], *words: str) -> dict:
        assert command([str(weights), *data, *words]) == 0
        return json.loads(capsys.readouterr().out)

    maps = answer(gradcam.main, "--max", "3", "--classes", "green", "--output", str(tmp_path / "maps"))
    measured = maps["networks"]["namer"]
    assert measured["found"] == 3 and measured["objects"] == 1  # one is green
    assert {"deletion", "insertion"} < measured["measures"].keys()
    assert "pointing" not in measured["measures"]  # nobody says where in the picture
    with np.load(tmp_path / "maps/maps/namer/val_blue_0.png.npz") as file:
        assert file["maps"].shape == (1, 64, 64) and file["names"].tolist() == ["green"]
    assert (tmp_path / "maps/gradcam-dark.png").is_file()

    gates = answer(scales.main, "--output", str(tmp_path / "scales"))
    assert gates["frames"] == 9 and len(gates["networks"]["namer"]["stages"]) == 4
    turned = answer(rotation.main, "--split", "train")["networks"]["namer"]
    assert list(turned) == ["0", "90", "180", "270"] and turned["0"].keys() == {"top1", "top5"}


@pytest.fixture(scope="module")
def sleepy(namer: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In stage 4 every second gate is shut, whatever comes."""
    state = {name: tensor.clone() for name, tensor in namer.weights.items()}
    first, last = "backbone.layer4.0.attention.fc.0.weight", "backbone.layer4.0.attention.fc.2.weight"
    state[first], state[last] = state[first].abs(), state[last].abs()
    state[last][::2] = -400.0
    state["backbone.layer4.0.bn2.bias"] = state["backbone.layer4.0.bn2.bias"].abs() + 20
    path = tmp_path_factory.mktemp("sleepy") / "sleepy.pt"
    replace(namer, weights=state).save(path)
    return path


def test_a_pruned_classifier_is_an_ordinary_checkpoint(
    sleepy: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pruned.pt"
    assert prune.main([str(sleepy), "--data", str(pictures), "--output", str(output), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "256 channels cut" in printed and "top1" in printed and "ms an image before" in printed
    whole, cut = load_trained(sleepy), load_trained(output)
    assert cut.config.network.pruned == {"layer4.0": tuple(range(0, 512, 2))}
    image = torch.from_numpy(first_of(pictures)[:32, :32]).permute(2, 0, 1)[None]
    with torch.no_grad():
        torch.testing.assert_close(cut.build()(image), whole.build()(image), rtol=1e-5, atol=1e-4)
    to_train_on = Config.load(tmp_path / "pruned.yaml")
    fresh = build_classifier(to_train_on.network, len(CLASSES))
    assert to_train_on.network.pretrained == str(output) and not load_pretrained(fresh.backbone, output).fresh


def test_one_data_set_serves_one_task(weights: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rotation.main([str(weights), "kitti", "--data", str(pictures)]) == 2
    error = capsys.readouterr().err
    assert "give them one at a time" in error and error.count("\n") == 1


def test_a_vector_has_no_map(namer: Trained) -> None:
    config = namer.config.override(["network.attention=concat-gap-classifier"])
    network = build_classifier(config.network, len(CLASSES))
    subject = subject_of(replace(namer, config=config, weights=network.state_dict()))
    with pytest.raises(ValueError, match="use --layer C5"):
        gradcam.watched_module(subject, "attention")


def test_a_config_that_cuts_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such block"):
        Config.parse({"task": "classification", "network": {"pruned": {"layer9.0": [1]}}}, "here")
