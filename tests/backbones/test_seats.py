"""Every seat of the ResNet, each with a toy module."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from toys import TOYS

from backbones import build_backbone
from backbones.attention import CATALOGUE
from backbones.attention.gate import PlainAdd, Taps
from backbones.attention.place import Place, all_places
from backbones.attention.seat import Entry, Seat
from backbones.names import PLACEMENTS
from backbones.pretrained import WeightsError, load_state
from backbones.resnet import ARCHITECTURES, ARCHS

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
EVERY_BLOCK = {arch: [f"layer{s}.{b}" for s in (1, 2, 3, 4) for b in range(d[s - 1])] for arch, d in DEPTHS.items()}
CONV = {"resnet18": "conv1", "resnet50": "conv2"}


@pytest.fixture(autouse=True)
def toys_in_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, entry in TOYS.items():
        monkeypatch.setitem(CATALOGUE, name, entry)
    torch.compiler.reset()


def with_all(name: str) -> str:
    return f"{name}:placement=all" if TOYS[name].placements else name


@pytest.mark.parametrize("arch", ARCHS)
def test_a_place_has_the_numbers_of_the_network_at_224_pixels(arch: str) -> None:
    block_kind, depths = ARCHITECTURES[arch]
    stem, *places = all_places(depths, block_kind.expansion)
    found = []
    with torch.device("meta"):
        backbone = build_backbone(arch, "none")
        shapes: list[tuple[int, ...]] = []
        backbone.maxpool.register_forward_hook(lambda m, i, output: shapes.append(tuple(output.shape)))
        for stage in backbone.stages():
            for block in stage:
                block.register_forward_hook(lambda m, i, output: shapes.append(tuple(output.shape)))
        backbone(torch.zeros(1, 3, 224, 224))
    for s, stage in enumerate(backbone.stages(), start=1):
        for b, block in enumerate(stage, start=1):
            conv = block.conv2 if hasattr(block, "conv3") else block.conv1
            assert conv.kernel_size == (3, 3)
            channels, side = shapes[len(found) + 1][1:3]
            found.append(Place(s, b, depths, conv.in_channels, conv.out_channels, channels, side, conv.stride[0]))
    assert places == found
    assert (stem.stage, stem.channels, stem.side) == (0, *shapes[0][1:3])


@pytest.mark.parametrize("arch", DEPTHS)
def test_each_seat_is_where_its_path_says(arch: str) -> None:
    fourth_stage = [f"layer4.{b}" for b in range(DEPTHS[arch][3])]
    expected = {
        "toy-residual": [f"{block}.attention" for block in EVERY_BLOCK[arch]],
        "toy-inner": [f"{block}.attention" for block in EVERY_BLOCK[arch]],
        "toy-across": ["stem_squeeze", *(f"{b}.attention" for b in EVERY_BLOCK[arch] if b not in fourth_stage)],
        "toy-convolution": [f"{block}.{CONV[arch]}" for block in EVERY_BLOCK[arch]],
        "toy-norm-relu": [f"{block}.{CONV[arch]}" for block in EVERY_BLOCK[arch]],
        "toy-block": [f"layer3.{DEPTHS[arch][2] - 2}.after"],
        "toy-stage": ["stage_attention.3"],
    }
    for name, paths in expected.items():
        with torch.device("meta"):
            backbone = build_backbone(arch, with_all(name))
        assert list(backbone.attention_paths) == paths
        untouched = [b.attention for stage in backbone.stages() for b in stage if not isinstance(b.attention, PlainAdd)]
        assert bool(untouched) == (name in ("toy-residual", "toy-inner", "toy-across"))


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", [name for name, entry in TOYS.items() if entry.placements])
def test_placement_chooses_the_blocks_in_every_seat_of_a_block(name: str, placement: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone("resnet50", f"{name}:placement={placement}")
    chosen = {"all": range, "first": lambda depth: [0], "last": lambda depth: [depth - 1]}[placement]
    blocks = [f"layer{s}.{b}" for s, depth in enumerate(DEPTHS["resnet50"], start=1) for b in chosen(depth)]
    assert [path.rpartition(".")[0] for path in backbone.attention_paths] == blocks


@pytest.mark.parametrize("arch", DEPTHS)
@pytest.mark.parametrize("name", TOYS)
def test_gradients_reach_the_module_in_its_seat(name: str, arch: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(arch, with_all(name))
    maps = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(c, 8 >> k, 12 >> k) for k, c in enumerate(backbone.channels)]
    sum(m.square().mean() for m in maps).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())
    attended = [p for path in backbone.attention_paths for p in backbone.get_submodule(path).parameters()]
    assert attended and all(p.grad.abs().sum() > 0 for p in attended)


@pytest.mark.parametrize("arch", DEPTHS)
@pytest.mark.parametrize("name", TOYS)
def test_no_graph_break_in_any_seat(name: str, arch: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(arch, with_all(name)).eval()
    images = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(backbone, fullgraph=True, backend="eager")
    with torch.no_grad():
        for ours, expected in zip(compiled(images), backbone(images), strict=True):
            torch.testing.assert_close(ours, expected)


class PlainConvolution(nn.Module):
    def __init__(self, place: Place) -> None:
        super().__init__()
        self.conv = nn.Conv2d(place.inputs, place.inner, 3, place.stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class PlainToTheEnd(PlainConvolution):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.norm = nn.BatchNorm2d(place.inner)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(super().forward(x)))


@pytest.mark.parametrize("arch", DEPTHS)
@pytest.mark.parametrize("module", [PlainConvolution, PlainToTheEnd])
def test_a_plain_convolution_in_place_of_the_3x3_gives_the_plain_network(
    module: type[PlainConvolution], arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = Seat.CONVOLUTION if module is PlainConvolution else Seat.CONVOLUTION_NORM_RELU
    monkeypatch.setitem(CATALOGUE, "plain", Entry(seat, module, PLACEMENTS))
    torch.manual_seed(0)
    plain, seated = build_backbone(arch, "none"), build_backbone(arch, "plain:placement=all")
    seated.load_state_dict(plain.state_dict(), strict=False)
    for place in seated.replaced:
        block = f"layer{place.stage}.{place.block - 1}"
        ours, theirs = seated.get_submodule(f"{block}.{CONV[arch]}"), plain.get_submodule(f"{block}.{CONV[arch]}")
        ours.conv.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for ours, expected in zip(seated(images), plain(images), strict=True):
        assert torch.equal(ours, expected)


def test_a_module_after_a_block_or_stage_sees_and_changes_what_the_next_one_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Doubled(nn.Module):
        def __init__(self, place: Place) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            assert x.min() >= 0  # after the last ReLU
            return 2 * x

    torch.manual_seed(0)
    plain = build_backbone("resnet18", "none").eval()
    images = torch.randn(1, 3, 64, 64)
    for seat in (Seat.AFTER_BLOCK, Seat.AFTER_STAGE):
        monkeypatch.setitem(
            CATALOGUE, "doubled", Entry(seat, Doubled, where=lambda p: (p.stage, p.is_last_block) == (2, True))
        )
        doubled = build_backbone("resnet18", "doubled").eval()
        doubled.load_state_dict(plain.state_dict())
        with torch.no_grad():
            c3 = plain(images)[0]
            c4 = plain.layer3[1](plain.layer3[0](2 * c3, []), [])
            assert torch.equal(doubled(images)[0], 2 * c3) and torch.equal(doubled(images)[1], c4)


@pytest.mark.parametrize("arch", DEPTHS)
def test_a_block_hands_over_the_mean_of_each_inner_convolution_after_its_norm_and_relu(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Taps] = []

    class Watcher(nn.Module):
        def __init__(self, place: Place) -> None:
            super().__init__()

        def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
            seen.append(list(taps))
            taps.clear()
            return shortcut + residual

    monkeypatch.setitem(CATALOGUE, "watcher", Entry(Seat.INNER, Watcher, PLACEMENTS))
    torch.manual_seed(0)
    backbone = build_backbone(arch, "watcher:placement=all").eval()
    block = backbone.layer1[0]
    x = torch.randn(2, 64, 8, 8)
    with torch.no_grad():
        block(x, [])
        first = torch.relu(block.bn1(block.conv1(x)))
        expected = [first.mean((2, 3))]
        if arch == "resnet50":
            expected.append(torch.relu(block.bn2(block.conv2(first))).mean((2, 3)))
        for ours, mean in zip(seen[0], expected, strict=True):
            torch.testing.assert_close(ours, mean)
        seen.clear()
        backbone(torch.randn(1, 3, 64, 64))
    assert [len(taps) for taps in seen] == [len(expected)] * len(EVERY_BLOCK[arch])


TORCHVISION = {arch: getattr(torchvision.models, arch)(weights=None).state_dict() for arch in DEPTHS}


@pytest.mark.parametrize("arch", DEPTHS)
@pytest.mark.parametrize("name", [name for name, entry in TOYS.items() if not entry.seat.replaces_convolution])
def test_torchvisions_file_leaves_attention_in_any_seat_fresh(name: str, arch: str) -> None:
    backbone = build_backbone(arch, with_all(name))
    report = load_state(backbone, TORCHVISION[arch], "torchvision")
    assert set(report.fresh) == set(backbone.state_dict()) - set(TORCHVISION[arch]) != set()
    assert (report.unused, report.replaced) == (("fc.weight", "fc.bias"), ())
    other = load_state(build_backbone(arch, "none"), backbone.state_dict(), "ours")
    assert (set(other.unused), other.fresh) == (set(report.fresh), ())


@pytest.mark.parametrize("arch", DEPTHS)
@pytest.mark.parametrize("name", [name for name, entry in TOYS.items() if entry.seat.replaces_convolution])
def test_a_replaced_3x3_starts_fresh_and_the_file_may_keep_its_own(name: str, arch: str) -> None:
    backbone = build_backbone(arch, f"{name}:placement=first")
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    report = load_state(backbone, TORCHVISION[arch], "torchvision")
    replaced = [f"layer{stage}.0.{CONV[arch]}" for stage in (1, 2, 3, 4)]
    theirs = [f"{path}.".replace("conv", kind) for path in replaced for kind in ("conv", "bn")]
    assert list(report.replaced) == replaced
    assert set(report.unused) == {"fc.weight", "fc.bias"} | {
        key for key in TORCHVISION[arch] if key.startswith(tuple(theirs))
    }
    assert set(report.fresh) == {key for key in before if key.startswith(tuple(theirs))}
    assert all(torch.equal(backbone.state_dict()[key], before[key]) for key in report.fresh)
    assert torch.equal(backbone.layer1[1].conv1.weight, TORCHVISION[arch]["layer1.1.conv1.weight"])
    assert f"4 of its 3x3 convolutions replaced by attention: {replaced[0]}" in str(report)


@pytest.mark.parametrize("arch", DEPTHS)
@pytest.mark.parametrize("name", TOYS)
def test_a_checkpoint_of_the_same_attention_loads_whole(name: str, arch: str) -> None:
    trained, other = (build_backbone(arch, with_all(name)) for _ in range(2))
    report = load_state(other, trained.state_dict(), "trained")
    assert (report.fresh, report.unused, report.replaced) == ((), (), ())
    assert all(torch.equal(t, trained.state_dict()[k]) for k, t in other.state_dict().items())


@pytest.mark.parametrize("name", ["toy-convolution", "toy-norm-relu"])
def test_a_file_that_lacks_a_3x3_of_the_network_is_refused(name: str) -> None:
    trained = build_backbone("resnet50", f"{name}:placement=first").state_dict()
    with pytest.raises(WeightsError, match=r"missing \(layer1\.0\.conv2\.weight.*with a 3x3 convolution wherever"):
        load_state(build_backbone("resnet50", "none"), trained, "file")


def test_attention_is_known_by_its_seat_not_by_a_word_in_its_name() -> None:
    stranger = {**TORCHVISION["resnet18"], "attention.weight": torch.zeros(3)}
    with pytest.raises(WeightsError, match=r"unknown \(attention\.weight\)"):
        load_state(build_backbone("resnet18", "se"), stranger, "file")
