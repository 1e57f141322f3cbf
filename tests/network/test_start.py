"""A detector that starts from another: what it keeps, what begins anew, what it says."""

from __future__ import annotations

import torch

from detector.network.build import build_detector
from detector.network.model import DetectionModel
from detector.network.settings import NetworkSettings
from detector.network.start import start_from

OLD, NEW = ("Car", "Truck", "Cyclist"), ("Bus", "Cyclist", "Car")


def detector(classes: int, seed: int, **settings: object) -> DetectionModel:
    torch.manual_seed(seed)
    network = build_detector(NetworkSettings.model_validate({"width": 0.125, **settings}), classes)
    for parameter in network.parameters():  # heads start alike: tell them apart
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def test_a_class_of_the_same_name_scores_as_it_did_wherever_it_stands_in_the_list() -> None:
    old, new = detector(3, seed=0).eval(), detector(3, seed=1).eval()
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    report = start_from(new, NEW, old.state_dict(), OLD, "old.pt")
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        (old_boxes, old_scores), (new_boxes, new_scores) = old.decode(old(image)), new.decode(new(image))
    torch.testing.assert_close(new_boxes, old_boxes)
    for name in ("Car", "Cyclist"):
        torch.testing.assert_close(new_scores[..., NEW.index(name)], old_scores[..., OLD.index(name)])
    for name in new.class_rows():  # the row of Bus in each of the three anchors is as it was before
        rows = range(5 + NEW.index("Bus"), 24, 8)
        torch.testing.assert_close(new.state_dict()[name][rows], before[name][rows], rtol=0, atol=0)
    assert str(report).endswith("classes that begin anew: Bus; classes that it knows: Cyclist, Car")


def test_other_counts_of_classes_and_weights_in_half_precision_fit() -> None:
    old, new = detector(3, seed=0), detector(1, seed=1)
    half = {name: tensor.half() for name, tensor in old.state_dict().items()}
    report = start_from(new, ("Truck",), half, OLD, "old.pt")
    assert (report.fresh, report.new, report.known) == ((), (), ("Truck",))
    weight, there = new.state_dict()["heads.0.1.weight"], old.state_dict()["heads.0.1.weight"]
    torch.testing.assert_close(weight[[0, 4, 5]], there[[0, 4, 6]], rtol=1e-3, atol=1e-3)
    assert weight.dtype == torch.float32


def test_what_does_not_fit_begins_anew_and_is_named() -> None:
    old, new = detector(3, seed=0), detector(3, seed=1, width=0.25, attention="eca")
    neck = new.state_dict()["neck5.0.0.weight"].clone()
    report = start_from(new, OLD, old.state_dict(), OLD, "old.pt")
    torch.testing.assert_close(new.state_dict()["backbone.conv1.weight"], old.state_dict()["backbone.conv1.weight"])
    torch.testing.assert_close(new.state_dict()["neck5.0.0.weight"], neck)
    assert "neck5.0.0.weight" in report.fresh
    assert any("attention" in name for name in report.fresh)
    assert "weights that begin anew" in str(report)


def test_anchors_stay_the_networks_own() -> None:
    anchors = [(8 + k, 9 + k) for k in range(9)]
    old, new = detector(3, seed=0), detector(3, seed=1, anchors=anchors)
    start_from(new, OLD, old.state_dict(), OLD, "old.pt")
    assert new.state_dict()["anchors"].flatten(0, 1).tolist() == [list(pair) for pair in anchors]
