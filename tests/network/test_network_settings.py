from __future__ import annotations

import pytest
from pydantic import ValidationError

from backbones.spec import AttentionSpec
from detector.network.settings import LossSettings, NetworkSettings


@pytest.mark.parametrize("anchors", [[], [(10, 20)] * 8, [(10, 20)] * 8 + [(10, 0)]])
def test_anchors_that_do_not_fit_three_levels_are_refused(anchors):
    with pytest.raises(ValidationError, match="anchor"):
        NetworkSettings(anchors=anchors)


def test_the_default_anchors_grow_from_level_to_level():
    areas = [w * h for w, h in NetworkSettings().anchors]
    assert areas == sorted(areas) and len(areas) == 9


@pytest.mark.parametrize("wrong", [{"kind": "giou"}, {"ignore_iou": 1.5}, {"gain": 0}, {"wieght": 1}])
def test_a_wrong_loss_setting_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LossSettings(**wrong)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "emca-se"),
        ({"attention": "se", "placement": "all"}, "se:placement=all"),
        ({"attention": "se:placement=last", "placement": "all"}, "se:placement=last"),
        ({"attention": "se", "coverage": "0,0"}, "se"),
        ({"attention": "bam", "placement": "all"}, "bam"),
        ({"coverage": "i-1,N", "residual_gate": True}, "emca-se:coverage=i-1,N,residual_gate=true"),
        ({"attention": "emca-se:coverage=1,1", "coverage": "i-1,N"}, "emca-se:coverage=1,1"),
        ({"attention": "emca-se:coverage=1,N", "coverage": "0,0"}, "emca-se"),
        ({"attention": "emca-se:residual_gate=false", "residual_gate": True}, "emca-se"),
    ],
)
def test_settings_make_one_spec_in_which_the_text_wins(settings, text):
    assert NetworkSettings(**settings).attention_spec == AttentionSpec.parse(text)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"placement": "all"}, "placement 'all' is not for emca-se"),
        ({"attention": "se", "residual_gate": True}, "belongs to emca-se | emca-eca | emca-srm; 'se' has none"),
        ({"attention": "se:reduction=65"}, "leaves nothing of 64 channels"),
        ({"arch": "resnet19"}, "unknown arch 'resnet19'"),
    ],
)
def test_settings_that_build_no_backbone_are_refused(settings, says):
    with pytest.raises(ValidationError) as caught:
        NetworkSettings(**settings)
    assert says in str(caught.value)
