from __future__ import annotations

import pytest
import torch
import torchvision
from places import GIVE_MAPS, off_its_start, smallest

from backbones import build_backbone
from backbones.attention import CATALOGUE
from backbones.names import COVERAGES, PLACEMENTS
from backbones.resnet import ARCHS

torch.manual_seed(0)


def test_without_attention_it_is_torchvisions_resnet() -> None:
    reference = torchvision.models.resnet18(weights=None).eval()
    classifier = build_backbone("resnet18", "none", num_classes=1000).eval()
    backbone = build_backbone("resnet18", "none").eval()
    classifier.load_state_dict(reference.state_dict())  # strict: the same names, all of them
    backbone.load_state_dict(reference.state_dict(), strict=False)
    x = torch.randn(2, 3, 64, 96)
    stem = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
    c3 = reference.layer2(reference.layer1(stem))
    c4 = reference.layer3(c3)
    with torch.no_grad():
        assert torch.equal(classifier(x), reference(x))
        for ours, theirs in zip(backbone(x), (c3, c4, reference.layer4(c4)), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("arch", "channels"),
    [(arch, (128, 256, 512) if arch in ("resnet18", "resnet34") else (512, 1024, 2048)) for arch in ARCHS],
)
def test_maps_have_the_channels_and_strides_it_tells(arch: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(arch, "emca-se")
        maps = backbone(torch.zeros(1, 3, 224, 224))
    assert backbone.channels == channels
    assert backbone.strides == (8, 16, 32)
    assert [tuple(m.shape) for m in maps] == [(1, channels[k], 28 >> k, 28 >> k) for k in range(3)]


@pytest.mark.parametrize("attention", GIVE_MAPS)
def test_any_image_size_works(attention: str) -> None:
    backbone = build_backbone(smallest(attention), attention).eval()
    with torch.no_grad():
        shapes = [tuple(m.shape[2:]) for m in backbone(torch.randn(1, 3, 65, 97))]
        tiny = [tuple(m.shape[2:]) for m in backbone(torch.randn(1, 3, 32, 32))]
    assert shapes == [(9, 13), (5, 7), (3, 4)]  # ceil(65 / stride), ceil(97 / stride)
    assert tiny == [(4, 4), (2, 2), (1, 1)]


def test_a_feature_extractor_carries_no_classifier() -> None:
    names = dict(build_backbone("resnet50", "se").named_parameters())
    assert not any(name.startswith("fc.") for name in names)


@pytest.mark.parametrize("attention", [name for name, entry in CATALOGUE.items() if entry.placements == PLACEMENTS])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_placement_says_which_blocks_carry_attention(attention: str, placement: str) -> None:
    arch = "resnet50" if smallest(attention) == "resnet50" else "resnet34"
    with torch.device("meta"):
        backbone = build_backbone(arch, f"{attention}:placement={placement}")
    chosen = {"all": range, "first": lambda depth: [0], "last": lambda depth: [depth - 1]}[placement]
    blocks = [f"layer{s}.{b}" for s, stage in enumerate(backbone.stages(), start=1) for b in chosen(len(stage))]
    assert [path.rpartition(".")[0] for path in backbone.attention_paths] == blocks


@pytest.mark.parametrize("attention", GIVE_MAPS)
def test_each_image_is_seen_alone_and_batch_size_1_works(attention: str) -> None:
    backbone = off_its_start(build_backbone(smallest(attention), attention)).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        together, alone = backbone(images), backbone(images[1:])
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[1:], one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention", GIVE_MAPS)
def test_channels_last_gives_the_same_maps_and_stays_channels_last(attention: str) -> None:
    backbone = off_its_start(build_backbone(smallest(attention), attention)).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
        got = backbone.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    for ours, plain in zip(got, expected, strict=True):
        assert ours.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention", GIVE_MAPS)
def test_bfloat16_autocast_trains_and_stays_near_float32(attention: str) -> None:
    backbone = off_its_start(build_backbone(smallest(attention), attention))
    images = torch.randn(4, 3, 64, 64)
    backbone.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = backbone(images)
    with torch.no_grad():
        full = backbone(images)
    for h, f in zip(half, full, strict=True):
        assert h.dtype == torch.bfloat16  # the gate must not widen the map
        assert (h.float() - f).abs().mean() < 0.02 * f.abs().mean() + 1e-3
    backbone.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(m.float().square().mean() for m in backbone(images))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize("attention", GIVE_MAPS)
def test_weights_cast_to_bfloat16_stay_near_float32(attention: str) -> None:
    backbone = off_its_start(build_backbone(smallest(attention), attention)).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        full = backbone(images)
        half = backbone.bfloat16()(images.bfloat16())
    for h, f in zip(half, full, strict=True):
        assert h.dtype == torch.bfloat16
        assert (h.float() - f).abs().mean() < 0.02 * f.abs().mean() + 1e-3


@pytest.mark.parametrize(
    ("arguments", "choice", "name", "nearest", "all_valid"),
    [
        (("ResNet-50", "none"), "arch", "ResNet-50", "resnet50", ARCHS),
        (("resnet18", "emca_se"), "attention", "emca_se", "emca-se", tuple(CATALOGUE)),
        (("resnet18", "se:placement=frist"), "placement", "frist", "first", PLACEMENTS),
        (("resnet18", "emca-se:coverage=1,n"), "coverage", "1,n", "1,N", COVERAGES),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_valid_names(
    arguments: tuple[str, str], choice: str, name: str, nearest: str, all_valid: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as caught:
        build_backbone(*arguments)
    message = str(caught.value)
    assert f"unknown {choice} {name!r}: did you mean {nearest!r}?" in message
    assert message.endswith(" | ".join(all_valid))
    assert "\n" not in message


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
WEIGHTS_OF_VERSION_0_1 = {  # of the first block or stage, beside torchvision's
    "none": [],
    "se": ["fc.0.weight", "fc.2.weight"],
    "eca": ["conv.weight"],
    "srm": ["cfc", *(f"bn.{name}" for name in NORM)],
    "fca": ["fc.0.weight", "fc.2.weight"],
    "emca-se": ["excitation.fc.0.weight", "excitation.fc.2.weight", "mab.weight"],
    "emca-eca": ["excitation.conv.weight", "mab.weight"],
    "emca-srm": ["excitation.cfc", *(f"excitation.bn.{name}" for name in NORM), "mab.weight"],
}


@pytest.mark.parametrize("attention", WEIGHTS_OF_VERSION_0_1)
def test_weights_keep_the_names_that_they_had_in_version_0_1(attention: str) -> None:
    with torch.device("meta"):
        plain, attended = (build_backbone("resnet18", name).state_dict() for name in ("none", attention))
    added = [key for key in attended if key not in plain and key.startswith("layer1.")]
    assert sorted(added) == sorted(f"layer1.0.attention.{name}" for name in WEIGHTS_OF_VERSION_0_1[attention])
    assert not any(key.startswith("stem_squeeze") for key in attended)


def test_bam_keeps_its_names_after_stages_1_to_3() -> None:
    with torch.device("meta"):
        plain, attended = (build_backbone("resnet18", name).state_dict() for name in ("none", "bam"))
    added = {".".join(key.split(".")[:3]) for key in attended if key not in plain}
    assert added == {f"stage_attention.{k}.{branch}" for k in (0, 1, 2) for branch in ("channel", "spatial")}


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_levels_say_which_maps_it_gives(arch: str) -> None:
    torch.manual_seed(0)
    images = torch.randn(1, 3, 64, 96)
    backbone = build_backbone(arch, "bam", levels=(2, 3, 4, 5)).eval()
    usual = build_backbone(arch, "bam").eval()
    usual.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        maps = backbone(images)
        assert all(torch.equal(ours, same) for ours, same in zip(maps[1:], usual(images), strict=True))
    assert backbone.strides == (4, 8, 16, 32) and usual.strides == (8, 16, 32)
    assert [m.shape[1] for m in maps] == list(backbone.channels) == [k * usual.channels[0] // 2 for k in (1, 2, 4, 8)]
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert len(build_backbone(arch, "none", levels=(5,))(images)) == 1


@pytest.mark.parametrize("levels", [(), (1, 5), (3, 4), (4, 3, 5), (3, 3, 5)])
def test_levels_that_no_stage_gives_or_that_leave_a_stage_idle_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"levels .*: give some of \(2, 3, 4, 5\), upwards and ending with 5"):
        build_backbone("resnet18", "none", levels=levels)
