"""The weights that a user names: a file, or one of the models that come with the project. Torch-free."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from system.shipped import IS_INSTALLED, shipped

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")  # arithmetic that weights may be run in
PUBLISHED = ".pth"  # the ending of torchvision's files
FOLDER = shipped("weights")  # README.md there is their card


class WeightsError(ValueError):
    """Weights that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A model that comes with the project: weights, the input size (height, width) to run them at, and other views."""

    about: str
    size: tuple[int, int]
    file: str
    sha256: str
    views: tuple[str, ...] = ()

    def path(self) -> Path:
        """The file, once it is found to be the one that was meant."""
        path = FOLDER / self.file
        if not path.is_file():
            raise WeightsError(f"{path}: this shipped model is not there; {_again()}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise WeightsError(f"{path}: damaged or replaced (its sha256 differs); {_again()}")
        return path


def _again() -> str:
    if IS_INSTALLED:
        return "install the project again, with pip install --force-reinstall --no-deps"
    return "get it again: git checkout weights, or copy the folder weights of the project once more"


_KITTI = ("kitti.pt", "d0628f8ba71981b95aba037e693aafadfa4018b7153261146abe095bfd39b4b8")
SHIPPED = {
    "kitti": Shipped("accurate: 1024 x 320 pixels, and 512 x 160", (320, 1024), *_KITTI, views=("half",)),
    "kitti-light": Shipped("fast: the same weights at 512 x 160 pixels, real time on two cores", (160, 512), *_KITTI),
    "kitti-nano": Shipped("fastest: the same weights at 416 x 128 pixels", (128, 416), *_KITTI),
}


def is_checkpoint(weights: Path) -> bool:
    """Whether PyTorch runs it: a .pt, a .pth of torchvision's, or the name of a shipped model."""
    return weights.suffix in (".pt", PUBLISHED) or str(weights) in SHIPPED


def weights_argument(text: str) -> Path:
    """`--weights` of a command line; "help" lists the shipped models and ends the command."""
    if text == "help":
        print("\n".join(f"{name:12} {model.about}" for name, model in SHIPPED.items()))
        print(f"{FOLDER / 'README.md'} says what they reach, on what they were trained, and their licence.")
        raise SystemExit(0)
    return Path(text)


def default_weights(device: str) -> str:
    """The shipped model that suits a device: the accurate one where there is a GPU."""
    import torch  # late: it takes seconds, and mistakes in other words are told at once

    gpu = device.startswith(("cuda", "mps")) or (device == "auto" and torch.cuda.is_available())
    return "kitti" if gpu else "kitti-light"
