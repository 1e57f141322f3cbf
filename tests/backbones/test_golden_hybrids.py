"""Options of the first attentions, EMCA's ablations, and attention made of parts, against stored numbers.

Numbers: tests/golden/attention, float32. Ours are computed in float64 (the stored ones are good to 7e-6 in y and 1.6e-5
of the largest in the gradient; float32 against float32 would add our rounding to theirs).
"""

from __future__ import annotations

import pytest
import torch
from places import off_its_start, place
from test_attention_golden import load, set_state
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from backbones import build_backbone
from backbones.attention import CATALOGUE
from backbones.attention.abn import AttentionBranch
from backbones.attention.emca import DepthwiseAggregation, FullAggregation, LearnedAlignment, MultiscaleAggregation
from backbones.attention.place import Place
from backbones.counting import count_macs, count_params
from backbones.resnet import AttentionBottleneck, check_backbone
from backbones.spec import AttentionSpec

TOLERANCE = {"atol": 1e-5, "rtol": 0}


def wide(name: str) -> dict[str, Tensor]:
    return {key: tensor.double() if tensor.is_floating_point() else tensor for key, tensor in load(name).items()}


def fill(module: nn.Module, golden: dict[str, Tensor], names: dict[str, str]) -> None:
    """Load `sd/THEIRS` into OURS for every pair of `names`; every entry of both must be named."""
    theirs = {k.removeprefix("sd/"): v for k, v in golden.items() if k.startswith("sd/")}
    ours = module.state_dict()
    assert set(names) == set(theirs)
    module.load_state_dict({mine: theirs[name].reshape(ours[mine].shape) for name, mine in names.items()})


def batch_norm(theirs: str, ours: str) -> dict[str, str]:
    entries = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{theirs}.{entry}": f"{ours}.{entry}" for entry in entries}


def assert_gradient(ours: Tensor | None, golden: Tensor, tolerance: float = 1e-5) -> None:
    assert ours is not None
    torch.testing.assert_close(ours, golden, atol=tolerance * golden.abs().max().item(), rtol=0)


def built(text: str, channels: int = 64) -> nn.Module:
    spec = AttentionSpec.parse(text)
    module = CATALOGUE[spec.name].build(place(channels), **dict(spec.options))
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


def residual_and_shortcut(channels: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    residual, shortcut = torch.randn(2, 2, channels, 9, 11, dtype=torch.float64, generator=generator)
    return residual, shortcut


# Options, against their equations written out ------------------------------------------------------------------------


def test_se_with_biases() -> None:
    module, (x, shortcut) = built("se:bias=true"), residual_and_shortcut()
    first, _, second = module.fc
    hidden = torch.relu(x.mean((2, 3)) @ first.weight.T + first.bias)
    z = torch.sigmoid(hidden @ second.weight.T + second.bias)
    torch.testing.assert_close(module(x, shortcut, []), shortcut + x * z[:, :, None, None])


@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_eca_with_a_fixed_kernel(kernel: int) -> None:
    module, (x, shortcut) = built(f"eca:kernel={kernel}", 256), residual_and_shortcut(256)
    assert module.conv.weight.numel() == kernel
    padded = nn.functional.pad(x.mean((2, 3)), (kernel // 2, kernel // 2))
    z = torch.sigmoid(padded.unfold(1, kernel, 1) @ module.conv.weight.flatten())
    torch.testing.assert_close(module(x, shortcut, []), shortcut + x * z[:, :, None, None])


@pytest.mark.parametrize("fusion", ["add", "scale", "both"])
@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_every_form_of_gc(pooling: str, fusion: str) -> None:
    module, (x, shortcut) = built(f"gc:pooling={pooling},fusion={fusion},reduction=4"), residual_and_shortcut()
    flat = x.flatten(2)
    if pooling == "attention":
        weights = (torch.einsum("c,bcp->bp", module.mask.weight.flatten(), flat) + module.mask.bias).softmax(1)
    else:
        weights = torch.full((2, flat.shape[2]), 1 / flat.shape[2], dtype=x.dtype)
    context = torch.einsum("bcp,bp->bc", flat, weights)

    def transformed(layers: nn.Sequential) -> Tensor:
        hidden = context @ layers[0].weight.T + layers[0].bias
        hidden = (hidden - hidden.mean(1, keepdim=True)) / (hidden.var(1, False, keepdim=True) + 1e-5).sqrt()
        hidden = torch.relu(hidden * layers[1].weight + layers[1].bias)
        return (hidden @ layers[3].weight.T + layers[3].bias)[:, :, None, None]

    expected = x if fusion == "add" else x * torch.sigmoid(transformed(module.scale))
    expected = shortcut + (expected if fusion == "scale" else expected + transformed(module.transform))
    torch.testing.assert_close(module(x, shortcut, []), expected)


@pytest.mark.parametrize("text", ["gc:placement=all", "gc:placement=all,pooling=mean"])
def test_an_added_context_starts_as_the_plain_network(text: str) -> None:
    torch.manual_seed(0)
    plain, ours = build_backbone("resnet18", "none").eval(), build_backbone("resnet18", text).eval()
    ours.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(1, 3, 75, 107)
    with torch.no_grad():
        for a, b in zip(ours(images), plain(images), strict=True):
            assert torch.equal(a, b)


# W1, W2, biases and LayerNorm's two: 2C·h + 3h + C, h = C/16
GC_TRANSFORMS = sum(2 * (2 * c * c // 16 + 3 * c // 16 + c) for c in (64, 128, 256, 512))


@pytest.mark.parametrize(
    ("text", "extra"),
    [
        # two layers a block with biases of C/16 and C: 87,040 as without, and 4 + 64, 8 + 128 ... in two blocks each
        ("se:placement=all,bias=true", 87040 + 2 * (68 + 136 + 272 + 544)),
        ("eca:placement=all,kernel=9", 8 * 9),
        ("gc:placement=all,pooling=mean", GC_TRANSFORMS),
        ("gc:placement=all,pooling=mean,fusion=scale", GC_TRANSFORMS),
        ("gc:placement=all,fusion=both", 2 * GC_TRANSFORMS + 2 * (960 + 4)),  # the mask has C + 1
    ],
)
def test_options_have_the_parameters_that_their_equations_say(text: str, extra: int) -> None:
    with torch.device("meta"):
        assert count_params(build_backbone("resnet18", text, num_classes=1000)) - 11689512 == extra


# Hybrid --------------------------------------------------------------------------------------------------------------

ECA_CBAM = {
    "channel.conv.weight": "channel.conv.weight",
    "spatial.conv.weight": "spatial.0.weight",
    **batch_norm("spatial.bn", "spatial.1"),
}
CBAM_CBAM = {
    "ChannelGate.mlp.1.weight": "channel.mlp.0.weight",
    "ChannelGate.mlp.1.bias": "channel.mlp.0.bias",
    "ChannelGate.mlp.3.weight": "channel.mlp.2.weight",
    "ChannelGate.mlp.3.bias": "channel.mlp.2.bias",
    "SpatialGate.spatial.conv.weight": "spatial.0.weight",
    **batch_norm("SpatialGate.spatial.bn", "spatial.1"),
}
HYBRIDS = {
    "hybrid_eca_cbam_sequential": ("hybrid:channel=eca,spatial=cbam", ECA_CBAM),
    "hybrid_eca_cbam_parallel": ("hybrid:order=parallel", ECA_CBAM),
    "hybrid_eca_cbam_max": ("hybrid:order=max", ECA_CBAM),
    "hybrid_cbam_cbam_sequential": ("hybrid:channel=cbam,spatial=cbam", CBAM_CBAM),
}


@pytest.mark.parametrize("name", HYBRIDS)
def test_hybrid_equals_its_definition(name: str) -> None:
    golden, (text, names) = wide(name), HYBRIDS[name]
    module = built(text)
    fill(module, golden, names)
    x = golden["x"].requires_grad_()
    y = module(x, torch.zeros_like(x), [])
    (y * golden["gy"]).sum().backward()
    torch.testing.assert_close(y.detach(), golden["y_eval"], **TOLERANCE)
    assert_gradient(x.grad, golden["gx_eval"])
    y = module.train()(x, torch.zeros_like(x), [])
    torch.testing.assert_close(y.detach(), golden["y_train"], **TOLERANCE)


def test_a_hybrid_of_cbams_two_gates_is_cbam() -> None:
    hybrid, cbam = built("hybrid:channel=cbam,spatial=cbam"), built("cbam")
    x, shortcut = residual_and_shortcut()
    cbam.load_state_dict({key.removeprefix("channel."): value for key, value in hybrid.state_dict().items()})
    torch.testing.assert_close(hybrid(x, shortcut, []), cbam(x, shortcut, []))


@pytest.mark.parametrize("order", ["sequential", "parallel", "max"])
@pytest.mark.parametrize("spatial", ["cbam", "sse", "bam"])
@pytest.mark.parametrize("channel", ["se", "eca", "srm", "fca", "cbam"])
def test_every_hybrid_joins_the_logits_of_its_parts_as_it_says(channel: str, spatial: str, order: str) -> None:
    module, (x, shortcut) = built(f"hybrid:channel={channel},spatial={spatial},order={order}"), residual_and_shortcut()

    def of_channel(x: Tensor) -> Tensor:
        return module.channel.logits(module.channel.squeeze(x))[:, :, None, None]

    if order == "sequential":
        scaled = x * torch.sigmoid(of_channel(x))
        y = scaled * torch.sigmoid(module.spatial(scaled))
    elif order == "parallel":
        y = x * (1 + torch.sigmoid(of_channel(x) * module.spatial(x)))
    else:
        y = torch.maximum(x * torch.sigmoid(of_channel(x)), x * torch.sigmoid(module.spatial(x)))
    torch.testing.assert_close(module(x, shortcut, []), shortcut + y)


# PKCAM ---------------------------------------------------------------------------------------------------------------

BOTTLENECK = {
    **{f"residual.{3 * k}.weight": f"conv{k + 1}.weight" for k in range(3)},
    **{name: ours for k in range(3) for name, ours in batch_norm(f"residual.{3 * k + 1}", f"bn{k + 1}").items()},
}
PKCAM_FIRST = {**BOTTLENECK, "ECA_excitation_local.0.weight": "attention.local.conv.weight"}
PKCAM_FUSION = {
    "stage_in_fusion.0.weight": "attention.fusion.mab.weight",
    "out_fusion.0.weight": "attention.fusion.weight",
}
PKCAM = {
    "pkcam_eca_first": ("eca", 1, PKCAM_FIRST),
    "pkcam_eca_block": (
        "eca",
        2,
        {
            **PKCAM_FIRST,
            **PKCAM_FUSION,
            "ECA_excitation_global_stage.0.weight": "attention.fusion.excitation.conv.weight",
        },
    ),
    "pkcam_se_block": (
        "se",
        2,
        {
            **BOTTLENECK,
            **PKCAM_FUSION,
            **{f"ECA_excitation_local.{k}.weight": f"attention.local.fc.{k}.weight" for k in (0, 2)},
            **{f"ECA_excitation_global_stage.{k}.weight": f"attention.fusion.excitation.fc.{k}.weight" for k in (0, 2)},
        },
    ),
}


@pytest.mark.parametrize("name", PKCAM)
def test_pkcam_equals_the_published_block(name: str) -> None:
    golden, (excitation, number, names) = wide(name), PKCAM[name]
    block = AttentionBottleneck(64, 16)
    at = Place(2, number, (2, 2, 2, 2), inputs=16, inner=16, channels=64, side=28, stride=1)
    block.attention = CATALOGUE["pkcam"].build(at, excitation=excitation)
    block.after, block.inner_squeeze, block.inner_relu = nn.Identity(), None, block.relu
    block.double().eval()
    fill(block, golden, names)
    x = golden["x"].requires_grad_()
    taps = [golden[key].requires_grad_() for key in ("prev_0", "prev_1") if key in golden]
    y = block(x, list(taps))
    (y * golden["gy"]).sum().backward()
    torch.testing.assert_close(y.detach(), golden["y_eval"], **TOLERANCE)
    assert_gradient(x.grad, golden["gx_eval"])
    for k, tap in enumerate(taps):
        assert_gradient(tap.grad, golden[f"gx_prev_{k}"])
    torch.testing.assert_close(block.train()(x, list(taps)).detach(), golden["y_train"], **TOLERANCE)


def test_pkcam_reads_the_stem_and_the_last_block_of_every_earlier_stage() -> None:
    read: list[list[int]] = []
    with torch.device("meta"):
        backbone = build_backbone("resnet50", "pkcam")
        for module in backbone.modules():
            if isinstance(module, MultiscaleAggregation):
                module.register_forward_pre_hook(lambda m, inputs: read.append([v.shape[1] for v in inputs[0]]))
        backbone(torch.zeros(1, 3, 64, 64))
    earlier = [64, 256, 512, 1024, 2048]
    assert read == [earlier[: stage + 1] for stage, depth in enumerate((3, 4, 6, 3), 1) for _ in range(depth - 1)]


# Concatenated means --------------------------------------------------------------------------------------------------


def test_the_gate_of_concatenated_means() -> None:
    golden = wide("concatgap_gate")
    module = built("concat-gap")
    module.merge = nn.Linear(16 + 32 + 64, 64, dtype=torch.float64)
    fill(module, golden, {"merge.weight": "merge.weight", "merge.bias": "merge.bias"})
    x = golden["x"].requires_grad_()
    taps = [golden["prev_0"].requires_grad_(), golden["prev_1"].requires_grad_()]
    read: list[Tensor] = []
    module.merge.register_forward_hook(lambda m, inputs, output: read.append(output.detach()))
    y = module(x, torch.zeros_like(x), list(taps))
    (y * golden["gy"]).sum().backward()
    torch.testing.assert_close(read[0], golden["u"], **TOLERANCE)
    torch.testing.assert_close(y.detach(), golden["y_eval"], **TOLERANCE)
    assert_gradient(x.grad, golden["gx_eval"])
    for k, tap in enumerate(taps):
        assert_gradient(tap.grad, golden[f"gx_prev_{k}"])


def test_the_classifier_of_concatenated_means() -> None:
    golden = wide("concatgap_classifier")
    network = nn.ModuleDict({"merge": built("concat-gap-classifier"), "fc": nn.Linear(64, 10)}).double()
    network["merge"].linear = nn.Linear(16 + 32 + 64, 64, dtype=torch.float64)
    names = {
        "merge.weight": "merge.linear.weight",
        "merge.bias": "merge.linear.bias",
        "fc.weight": "fc.weight",
        "fc.bias": "fc.bias",
    }
    fill(network, golden, names)
    maps = [golden[key].requires_grad_() for key in ("map_0", "map_1", "x")]
    *taps, vector = (m.mean((2, 3)) for m in maps)
    u = network["merge"](vector, taps)
    logits = network["fc"](u)
    (logits * golden["gy"]).sum().backward()
    torch.testing.assert_close(u.detach(), golden["u"], **TOLERANCE)
    torch.testing.assert_close(logits.detach(), golden["y_eval"], **TOLERANCE)
    for m, key in zip(maps, ("gx_map_0", "gx_map_1", "gx_eval"), strict=True):
        assert_gradient(m.grad, golden[key])


@pytest.mark.parametrize("text", ["concat-gap", "concat-gap-classifier", "concat-gap-classifier:stem=true"])
def test_each_reader_gets_the_means_of_all_earlier_outputs(text: str) -> None:
    torch.manual_seed(0)
    network = build_backbone("resnet18", text, num_classes=5).eval()
    outputs: list[Tensor] = []
    read: list[tuple[int, Tensor]] = []
    if "stem" in text:
        network.maxpool.register_forward_hook(lambda m, i, output: outputs.append(output.mean((2, 3))))
    for stage in network.stages():
        for block in stage:
            block.register_forward_hook(lambda m, i, output: outputs.append(output.mean((2, 3))))
    for path in network.attention_paths:
        linear = next(m for m in network.get_submodule(path).modules() if isinstance(m, nn.Linear))
        linear.register_forward_pre_hook(lambda m, inputs: read.append((len(outputs), inputs[0])))
    with torch.no_grad():
        network(torch.randn(2, 3, 64, 96))
    read_by_gates, read_at_the_end = [1, 3, 5, 7], [8 + ("stem" in text)]
    assert [count for count, _ in read] == (read_by_gates if text == "concat-gap" else read_at_the_end)
    for count, vector in read:
        earlier = torch.cat(outputs[:count], dim=1)
        torch.testing.assert_close(vector[:, : earlier.shape[1]], earlier)


# ABN -----------------------------------------------------------------------------------------------------------------

ABN = {
    "att_layer3.0.conv1.weight": "stage.0.conv1.weight",
    "att_layer3.0.conv2.weight": "stage.0.conv2.weight",
    "att_layer3.0.downsample.0.weight": "stage.0.downsample.0.weight",
    **batch_norm("att_layer3.0.bn1", "stage.0.bn1"),
    **batch_norm("att_layer3.0.bn2", "stage.0.bn2"),
    **batch_norm("att_layer3.0.downsample.1", "stage.0.downsample.1"),
    **batch_norm("bn_att", "norm"),
    "att_conv.weight": "to_classes.0.weight",
    **batch_norm("bn_att2", "to_classes.1"),
    "att_conv2.weight": "logits.weight",
    "att_conv3.weight": "score.0.weight",
    **batch_norm("bn_att3", "score.1"),
}


@pytest.mark.parametrize("name", ["abn_head", "abn_head_odd"])
def test_the_branch_of_abn_equals_the_published_one(name: str) -> None:
    golden = wide(name)
    at = Place(4, 1, (1, 1, 1, 1), inputs=32, inner=64, channels=64, side=16, stride=2, num_classes=10)
    branch = AttentionBranch(at)
    # The published network for small images has 32 and 64 channels there.
    branch.stage = nn.Sequential(
        BasicBlock(32, 64, downsample=nn.Sequential(nn.Conv2d(32, 64, 1, bias=False), nn.BatchNorm2d(64)))
    )
    branch.double().eval()
    fill(branch, golden, ABN)
    x = golden["x"].requires_grad_()
    scores: list[Tensor] = []
    branch.score.register_forward_hook(lambda m, inputs, output: scores.append(output.detach()))
    y, logits = branch(x)
    assert logits is None
    (y * golden["gy"]).sum().backward()
    torch.testing.assert_close(y.detach(), golden["y_eval"], **TOLERANCE)
    torch.testing.assert_close(scores[0], golden["att"], **TOLERANCE)
    assert_gradient(x.grad, golden["gx_eval"])
    branch.training = True  # the BatchNorms stay in eval mode, as in the stored logits
    torch.testing.assert_close(branch(x)[1].detach(), golden["att_logits"], **TOLERANCE)
    torch.testing.assert_close(branch.train()(x)[0].detach(), golden["y_train"], **TOLERANCE)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_abn_gives_both_logits_in_training_and_the_networks_in_evaluation(arch: str) -> None:
    torch.manual_seed(0)
    network = build_backbone(arch, "abn", num_classes=7)
    logits, of_branch = network(torch.randn(2, 3, 75, 107))
    assert logits.shape == of_branch.shape == (2, 7)
    of_branch.sum().backward(retain_graph=True)
    assert all(p.grad is None for p in network.layer4.parameters())  # the branch has its own copy
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert [block.conv1.stride for block in network.branch.stage] == [(1, 1)] * len(network.layer4)
    assert network.eval()(torch.randn(1, 3, 75, 107)).shape == (1, 7)
    own, copy = network.layer4.state_dict(), network.branch.stage.state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in copy.items()}


@pytest.mark.parametrize("name", ["abn", "concat-gap-classifier"])
def test_what_is_of_a_classifier_is_refused_in_a_detector_in_one_line(name: str) -> None:
    says = f"attention {name}: only a classifier has a place for it, not a detector; use none, se"
    spec = AttentionSpec.parse(name)
    for refuse in (lambda: build_backbone("resnet18", spec), lambda: check_backbone("resnet18", spec)):
        with pytest.raises(ValueError) as caught:
            refuse()
        assert (
            says in str(caught.value) and "\n" not in str(caught.value) and "abn" not in str(caught.value).split(";")[1]
        )
    check_backbone("resnet18", spec, num_classes=10)


CLASSIFIERS = ["concat-gap-classifier", "concat-gap-classifier:stem=true", "abn"]


@pytest.mark.parametrize("text", CLASSIFIERS)
def test_a_classifiers_attention_in_one_graph_in_bfloat16_and_channels_last(text: str) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    network = off_its_start(build_backbone("resnet18", text, num_classes=7)).eval()
    images = torch.randn(2, 3, 75, 107)
    with torch.no_grad():
        expected = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(images)
        compiled = torch.compile(network, fullgraph=True, backend="aot_eager")(images)
        last = network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(compiled, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)
    assert (half.float() - expected).abs().mean() < 0.03 * expected.abs().mean() + 1e-3
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network.train()(images)
    sum(o.float().square().mean() for o in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


# EMCA's ablations ----------------------------------------------------------------------------------------------------

ABLATIONS = ["aggregation=depthwise", "aggregation=full", "alignment=learned", "aggregation=full,alignment=learned"]


@pytest.mark.parametrize("name", ["emca_se_1N", "emca_eca_1N", "emca_srm_1N_derived"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_with_the_weights_of_the_published_form_is_the_published_form(name: str, ablation: str) -> None:
    """Any W_m can be one weight a scale, any alignment tiling: then all numbers of the published module come out."""
    golden = wide(name)
    at = Place(3, 1, (1, 1, 1, 1), inputs=64, inner=64, channels=64, side=14, stride=1)
    emca = CATALOGUE[f"emca-{name.split('_')[1]}"].build(at, **dict(AttentionSpec.parse(f"emca-se:{ablation}").options))
    if "full" in ablation:
        emca.mab = FullAggregation(3, 64)
        emca.mab.weight.data = torch.cat([torch.eye(64) * w for w in golden["mab_w"].flatten()], dim=1)
    elif "depthwise" in ablation:
        emca.mab = DepthwiseAggregation(3, 64)
        emca.mab.weight.data = golden["mab_w"].flatten().repeat(64, 1)
    else:
        emca.mab = MultiscaleAggregation(3)
        emca.mab.weight.data = golden["mab_w"].flatten()
    if "learned" in ablation:
        emca.align = LearnedAlignment([32, 32, 64], 64)
    emca.double().eval()
    set_state(emca.excitation, golden)
    x0, taps = golden["x0"], [golden["prev_0"], golden["prev_1"]]
    with torch.no_grad():
        aggregated = emca._aggregate([*taps, emca.excitation.squeeze(x0)])
        output = emca(x0, torch.zeros_like(x0), list(taps))
    torch.testing.assert_close(aggregated, golden["xa"], **TOLERANCE)
    torch.testing.assert_close(output[:, ::4], golden["out_scale"], **TOLERANCE)


@pytest.mark.parametrize("excitation", ["se", "srm"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_every_ablation_starts_as_the_papers_choice(excitation: str, ablation: str) -> None:
    torch.manual_seed(0)
    chosen = off_its_start(build_backbone("resnet18", f"emca-{excitation}:coverage=i-1,N")).eval()
    other = build_backbone("resnet18", f"emca-{excitation}:coverage=i-1,N,{ablation}").eval()
    state = {key: value for key, value in chosen.state_dict().items() if ".mab." not in key}
    missing = other.load_state_dict(state, strict=False).missing_keys
    assert all(".mab." in key or ".align." in key for key in missing)
    for stage in chosen.stages():
        nn.init.constant_(stage[0].attention.mab.weight, 1 / stage[0].attention.mab.weight.numel())
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for ours, expected in zip(other(images), chosen(images), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


# For coverage 1,N: (R, C_0) of the four first blocks, and (vectors, C_j, C_0) of those that are narrower.
REGIONS = {
    "resnet18": ([(2, 64), (3, 128), (3, 256), (3, 512)], [(2, 64, 128), (2, 128, 256), (2, 256, 512)]),
    "resnet34": ([(2, 64), (4, 128), (5, 256), (7, 512)], [(3, 64, 128), (4, 128, 256), (6, 256, 512)]),
    "resnet50": (
        [(2, 256), (4, 512), (5, 1024), (7, 2048)],
        [(1, 64, 256), (3, 256, 512), (4, 512, 1024), (6, 1024, 2048)],
    ),
}


@pytest.mark.parametrize("arch", REGIONS)
def test_parameters_of_the_ablations(arch: str) -> None:
    regions, narrower = REGIONS[arch]

    def extra(ablation: str) -> int:
        with torch.device("meta"):
            ours, chosen = (build_backbone(arch, text) for text in (f"emca-eca:{ablation}", "emca-eca"))
        return count_params(ours) - count_params(chosen)

    scales = sum(r for r, _ in regions)
    assert extra("aggregation=depthwise") == sum(r * c for r, c in regions) - scales
    assert extra("aggregation=full") == sum(r * c * c for r, c in regions) - scales
    assert extra("alignment=learned") == sum(n * c * c0 for n, c, c0 in narrower)
    assert extra("coverage=0,0,aggregation=full,alignment=learned") == -scales  # nothing to aggregate or align


@pytest.mark.parametrize("text", ["emca-se:aggregation=full", "emca-eca:aggregation=depthwise", "emca-srm"])
def test_macs_of_the_aggregation(text: str) -> None:
    """R a channel for one weight a scale and for depth-wise, R · C_0 for full; SRM has two vectors a map."""
    regions = [(2, 64), (3, 128), (3, 256), (3, 512)]
    name = text.partition(":")[0]
    published = sum(scales * c for scales, c in regions) * (2 if "srm" in text else 1)
    expected = sum(scales * c * c for scales, c in regions) if "full" in text else published
    with torch.device("meta"):
        ours, conv = (count_macs(build_backbone("resnet18", spec)) for spec in (text, name))
    assert ours - conv == expected - published


def test_a_spatial_gate_behind_emca() -> None:
    x, shortcut = residual_and_shortcut()
    for spatial in ("cbam", "sse", "bam"):
        module = built(f"emca-se:coverage=0,0,spatial={spatial}")
        scaled = x * module.excitation.excite(module.excitation.squeeze(x))[:, :, None, None]
        expected = shortcut + scaled * torch.sigmoid(module.spatial(scaled))
        torch.testing.assert_close(module(x, shortcut, []), expected)


# In the network ------------------------------------------------------------------------------------------------------

# true parameters with 1000 classes of ResNet-18, -34, -50
PARAMS = {
    "hybrid:placement=all,channel=eca,spatial=cbam": (11690348, 21799346, 25558718),
    "hybrid:placement=all,order=parallel": (11690348, 21799346, 25558718),
    "hybrid:placement=all,channel=se,spatial=sse": (11778480, 21958648, 28087096),
    "pkcam": (11689588, 21797869, 25557249),
    "pkcam:excitation=se": (11820094, 22068587, 29890667),
    "concat-gap": (12960232, 24407784, 67307304),
    "concat-gap-classifier": (12673064, 23731496, 56492072),
    "concat-gap-classifier:stem=true": (12705832, 23764264, 56623144),
    "abn": (21607266, 36436066, 43584866),
}


@pytest.mark.parametrize("text", PARAMS)
def test_parameters_of_three_depths(text: str) -> None:
    counts = []
    for arch in ("resnet18", "resnet34", "resnet50"):
        with torch.device("meta"):
            counts.append(count_params(build_backbone(arch, text, num_classes=1000)))
    assert tuple(counts) == PARAMS[text]


IN_BACKBONES = [
    "se:bias=true",
    "eca:kernel=9",
    "gc:pooling=mean,fusion=both",
    "hybrid",
    "hybrid:channel=cbam,spatial=bam,order=parallel",
    "hybrid:channel=srm,spatial=sse,order=max",
    "pkcam",
    "pkcam:excitation=se",
    "concat-gap",
    "emca-srm:aggregation=depthwise,alignment=learned",
    "emca-se:aggregation=full,spatial=sse,coverage=i-1,N",
]


@pytest.mark.parametrize("text", IN_BACKBONES)
def test_a_step_of_training_at_an_odd_size_has_finite_gradients(text: str) -> None:
    torch.manual_seed(0)
    backbone = off_its_start(build_backbone("resnet18", text))
    sum(m.square().mean() for m in backbone(torch.randn(2, 3, 75, 107))).backward()
    attended = [p for path in backbone.attention_paths for p in backbone.get_submodule(path).parameters()]
    assert attended and all(p.grad is not None and p.grad.isfinite().all() for p in attended)
    with torch.no_grad():
        assert [len(m) for m in backbone.eval()(torch.randn(1, 3, 75, 107))] == [1, 1, 1]


@pytest.mark.parametrize("text", IN_BACKBONES)
def test_bfloat16_autocast_keeps_maps_in_bfloat16_and_near_float32(text: str) -> None:
    torch.manual_seed(0)
    backbone = off_its_start(build_backbone("resnet18", text)).eval()
    images = torch.randn(2, 3, 75, 107)
    with torch.no_grad():
        full = backbone(images)
        with torch.autocast("cpu", torch.bfloat16):
            half = backbone(images)
    for ours, expected in zip(half, full, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours.float() - expected).abs().mean() < 0.02 * expected.abs().mean() + 1e-3


COMPILED_FAST = ("hybrid", "pkcam", "concat-gap", "emca-se:aggregation=full,spatial=sse,coverage=i-1,N")


@pytest.mark.parametrize(
    "text", [pytest.param(t, marks=() if t in COMPILED_FAST else pytest.mark.slow) for t in IN_BACKBONES]
)
def test_one_graph_and_channels_last_give_the_same_maps(text: str) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    backbone = off_its_start(build_backbone("resnet18", text)).eval()
    images = torch.randn(2, 3, 75, 107)
    with torch.no_grad():
        expected = backbone(images)
        compiled = torch.compile(backbone, fullgraph=True, backend="aot_eager")(images)
        last = backbone.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    for plain, one_graph, ours in zip(expected, compiled, last, strict=True):
        torch.testing.assert_close(one_graph, plain, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
        assert ours.is_contiguous(memory_format=torch.channels_last)
