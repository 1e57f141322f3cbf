"""A detector small enough to be looked into in a second."""

from __future__ import annotations

import torch
from network_pieces import wake

from detector.config import Config
from detector.inference.trained import Trained
from detector.network.build import build_detector

CLASSES = ("Car", "Pedestrian")
SIZE = (64, 128)


def awake(**network: object) -> Trained:
    """Untrained, with heads that see something everywhere and statistics that are not the identity."""
    torch.manual_seed(0)
    values = {"network": {"width": 0.125, **network}, "data": {"classes": list(CLASSES)}, "phases": [{"size": SIZE}]}
    config = Config.parse(values, "here")
    detector = build_detector(config.network, len(CLASSES))
    for name, buffer in detector.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(buffer, std=0.1)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    wake(detector)
    return Trained(config, CLASSES, detector.state_dict())
