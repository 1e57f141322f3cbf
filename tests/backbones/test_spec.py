"""The text that a person writes for an attention, and what it is answered with where it is wrong."""

from __future__ import annotations

import pytest
from toys import TOYS

from backbones import build_backbone
from backbones.attention import CATALOGUE
from backbones.resnet import check_backbone
from backbones.spec import AttentionSpec, option_parameters


@pytest.fixture(autouse=True)
def a_toy_with_an_option_of_every_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "toy-residual", TOYS["toy-residual"])


@pytest.mark.parametrize(
    "text",
    [
        *CATALOGUE,
        "se:placement=all",
        "se:placement=last,reduction=8",
        "fca:frequencies=low16",
        "emca-se:coverage=i-1,N",
        "emca-se:coverage=i-1,N,residual_gate=true",
        "bam:reduction=8,dilation=2",
        "toy-residual:placement=all,start=0.25,power=3,squared=true,at=b,c",
        "toy-residual:start=1e-05",
    ],
)
def test_text_and_spec_turn_into_each_other(text: str) -> None:
    spec = AttentionSpec.parse(text)
    assert str(spec) == text
    assert AttentionSpec.parse(str(spec)) == spec
    assert hash(AttentionSpec.parse(text)) == hash(spec)


def test_every_option_has_its_type_and_its_default() -> None:
    assert AttentionSpec.parse("toy-residual:power=3") == AttentionSpec(
        "toy-residual", "first", (("start", 1.5), ("power", 3), ("squared", False), ("at", "a"))
    )
    assert AttentionSpec.parse("bam").placement is None


def test_a_value_written_out_that_is_the_default_is_the_same_spec() -> None:
    assert AttentionSpec.parse("emca-se:coverage=1,N,residual_gate=false") == AttentionSpec.parse("emca-se")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("see", "unknown attention 'see': did you mean 'se'?"),
        ("se:reductoin=8", "unknown option of se 'reductoin': did you mean 'reduction'? Valid: placement | reduction"),
        ("none:reduction=8", "none has no options, so no 'reduction': write 'none' alone"),
        ("bam:placement=all", "unknown option of bam 'placement'"),
        ("se:", "found '', expected NAME:option=value[,option=value...]"),
        ("se:reduction", "found 'reduction', expected NAME:option=value"),
        ("se:reduction=", "found 'reduction=', expected NAME:option=value"),
        ("se:reduction=8,reduction=4", "found reduction twice, expected NAME:option=value"),
        ("se:reduction=0", "reduction=0 of se: give a whole number of 1 or more"),
        ("se:reduction=2.5", "reduction=2.5 of se: give a whole number of 1 or more"),
        ("toy-residual:start=much", "start=much of toy-residual: give a number, for example 0.5"),
        ("toy-residual:start=inf", "start=inf of toy-residual: give a number, for example 0.5"),
        ("toy-residual:squared=yes", "unknown squared of toy-residual 'yes': did you mean 'true'? Valid: true | false"),
        ("fca:frequencies=low", "unknown frequencies 'low': did you mean 'low16'? Valid: top16 | low16"),
        ("emca-se:placement=all", "placement 'all' is not for emca-se: use 'first'"),
    ],
)
def test_a_wrong_text_is_answered_in_one_line_with_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        AttentionSpec.parse(text)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_an_option_that_the_network_cannot_bear_is_found_before_it_is_built() -> None:
    with pytest.raises(
        ValueError, match="se:reduction=65 in resnet18: reduction=65 leaves nothing of 64 channels: use 64"
    ):
        check_backbone("resnet18", AttentionSpec.parse("se:reduction=65"))
    check_backbone("resnet50", AttentionSpec.parse("se:reduction=65"))  # 256 channels and more


def test_every_entry_offers_first_where_it_offers_a_choice_and_names_no_option_placement() -> None:
    for name, entry in CATALOGUE.items():
        assert not entry.placements or "first" in entry.placements, name
        assert "placement" not in entry.options(), name
        assert all(p.default is not p.empty and p.annotation is not p.empty for p in option_parameters(name).values())


def test_options_build_what_they_say() -> None:
    assert build_backbone("resnet18", "se:reduction=8").layer1[0].attention.fc[0].out_features == 8
    assert build_backbone("resnet18", "bam:dilation=2").stage_attention[0].spatial[3].dilation == (2, 2)
