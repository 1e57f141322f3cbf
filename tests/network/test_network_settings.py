from __future__ import annotations

import pytest
from pydantic import ValidationError

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
