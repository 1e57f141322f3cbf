from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from places import GIVE_MAPS

from backbones import build_backbone
from backbones.attention import CATALOGUE
from backbones.pretrained import WeightsError, load_pretrained, load_state


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    """A state dict as torchvision saves it, classifier included."""
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.fixture(scope="module")
def imagenet_file(imagenet: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(imagenet, path)
    return path


@pytest.mark.parametrize("attention", [name for name in GIVE_MAPS if not CATALOGUE[name].seat.replaces_convolution])
def test_torchvision_weights_load_into_every_variant(attention: str, imagenet: dict[str, torch.Tensor]) -> None:
    backbone = build_backbone("resnet18", attention)
    report = load_state(backbone, imagenet, "torchvision")
    assert report.loaded == len(imagenet) - 2
    assert report.unused == ("fc.weight", "fc.bias")
    own = backbone.state_dict()
    assert set(report.fresh) == set(own) - set(imagenet)
    assert all(key.startswith(backbone.attention_paths) for key in report.fresh)
    raised = {f"{path.rpartition('.')[0]}.bn2" for path in report.opened}
    as_in_the_file = [key for key in own if key in imagenet and key.rpartition(".")[0] not in raised]
    assert len(as_in_the_file) > 60
    assert all(torch.equal(own[key], imagenet[key]) for key in as_in_the_file)


@pytest.mark.parametrize("attention", ["se", "srm", "emca-se", "emca-srm", "ba", "concat-gap"])
def test_a_fresh_gate_leaves_a_pretrained_network_as_it_was(attention: str, imagenet: dict[str, torch.Tensor]) -> None:
    plain, gated = build_backbone("resnet18", "none"), build_backbone("resnet18", attention)
    load_state(plain, imagenet, "file")
    assert len(load_state(gated, imagenet, "file").opened) == 4
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for there, here in zip(plain.eval()(images), gated.eval()(images), strict=True):
            assert torch.cosine_similarity(there.flatten(1), here.flatten(1)).min() > 0.95
            assert there.norm() / here.norm() == pytest.approx(1, abs=0.1)


def test_gates_that_the_file_trained_stay_as_they_are() -> None:
    """Its norms go with its gates, of this kind or another."""
    for there, here in (("se", "se"), ("se", "emca-se"), ("emca-se", "eca")):
        assert (
            load_state(build_backbone("resnet18", here), build_backbone("resnet18", there).state_dict(), "").opened
            == ()
        )


def test_the_classifier_loads_where_there_is_one(imagenet_file: Path, imagenet: dict[str, torch.Tensor]) -> None:
    classifier = build_backbone("resnet18", "none", num_classes=1000)
    report = load_pretrained(classifier, imagenet_file)
    assert (report.fresh, report.unused) == ((), ())
    assert torch.equal(classifier.fc.weight, imagenet["fc.weight"])


def test_the_report_names_what_was_left(imagenet_file: Path) -> None:
    report = str(load_pretrained(build_backbone("resnet18", "eca:placement=first"), imagenet_file))
    assert "120 tensors loaded" in report
    assert "layer1.0.attention.conv.weight" in report
    assert "fc.weight" in report
    assert "\n" not in report


def test_a_detector_checkpoint_gives_its_backbone_to_another_variant(tmp_path: Path) -> None:
    trained, other = build_backbone("resnet18", "se"), build_backbone("resnet18", "emca-eca")
    model = {f"backbone.{key}": tensor for key, tensor in trained.state_dict().items()}
    torch.save({"model": {**model, "head.bias": torch.zeros(3)}, "metrics": {"mAP": 0.5}}, tmp_path / "best.pt")
    report = load_pretrained(other, tmp_path / "best.pt")
    assert torch.equal(other.layer3[1].conv2.weight, trained.layer3[1].conv2.weight)
    assert "layer1.0.attention.mab.weight" in report.fresh
    assert "layer1.0.attention.fc.0.weight" in report.unused


def test_attention_of_another_shape_starts_fresh() -> None:
    few, many = (build_backbone("resnet18", f"emca-se:coverage={coverage}") for coverage in ("1,1", "1,N"))
    report = load_state(many, few.state_dict(), "few")
    assert report.fresh == tuple(f"layer{stage}.0.attention.mab.weight" for stage in (2, 3, 4))
    torch.testing.assert_close(many.layer2[0].attention.mab.weight.detach(), torch.full((3,), 1 / 3))


def test_older_torchvision_files_without_batch_counters_load(imagenet: dict[str, torch.Tensor]) -> None:
    old = {key: tensor for key, tensor in imagenet.items() if not key.endswith("num_batches_tracked")}
    assert load_state(build_backbone("resnet18", "se"), old, "old").loaded == 100


def one_line_error(backbone: torch.nn.Module, path: Path) -> str:
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_pretrained(backbone, path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items()), "half loaded"
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_weights_of_another_depth_name_the_file_and_the_first_keys(tmp_path: Path, imagenet_file: Path) -> None:
    assert "layer1.2.conv1.weight" in one_line_error(build_backbone("resnet34", "none"), imagenet_file)
    deeper = tmp_path / "resnet34.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), deeper)
    message = one_line_error(build_backbone("resnet18", "se"), deeper)
    assert "unknown" in message and "layer1.2.conv1.weight" in message and "more" in message


def test_another_shape_names_both_shapes(tmp_path: Path, imagenet: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "thin.pth"
    torch.save({**imagenet, "conv1.weight": torch.zeros(32, 3, 7, 7)}, path)
    message = one_line_error(build_backbone("resnet18", "none"), path)
    assert "conv1.weight is [32, 3, 7, 7] in the file, [64, 3, 7, 7] here" in message


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("a_folder_made_by_a_weight_file",)


def test_files_that_are_no_weights_are_refused_and_nothing_in_them_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backbone = build_backbone("resnet18", "none")
    assert "no such weight file" in one_line_error(backbone, tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not weights")
    one_line_error(backbone, tmp_path / "text.pth")
    (tmp_path / "empty.pth").touch()
    one_line_error(backbone, tmp_path / "empty.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(RunsCode(), protocol=2))
    one_line_error(backbone, tmp_path / "evil.pth")
    torch.save(RunsCode(), tmp_path / "evil2.pth")
    one_line_error(backbone, tmp_path / "evil2.pth")
    assert not (tmp_path / "a_folder_made_by_a_weight_file").exists()
    torch.save({"model": [1, 2]}, tmp_path / "list.pth")
    assert "no state dict" in one_line_error(backbone, tmp_path / "list.pth")


def test_imagenet_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(WeightsError, match=r"resnet18.*\.pth: cannot be downloaded.*give the file's path"):
        load_pretrained(build_backbone("resnet18", "se"), "imagenet")
