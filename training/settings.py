"""Settings of any training run: its backbone, its phases, its optimiser, its loop. A task's config composes them with
its own. torch is imported by one question only: whether the backbone exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator
from typing_extensions import Self

from backbones.names import Coverage, Placement
from data.resize import LARGEST, size_choices
from data.settings import Settings

if TYPE_CHECKING:
    from backbones.spec import AttentionSpec

AT_ONCE = "at once"  # context of a validation that leaves out what needs torch


class BackboneSettings(Settings):
    """A ResNet with channel attention. A task adds what it puts on top."""

    classifies: ClassVar[bool] = False  # some attention has its place in a classifier only

    arch: str = Field(default="resnet18", description="backbone: resnet18, resnet34, resnet50, resnet101, resnet152")
    attention: str = Field(
        default="emca-se",
        description="attention of the backbone, NAME[:option=value,...]; `python -m backbones.profile` lists the names",
    )
    placement: Placement = Field(default="first", description="blocks of a stage that carry attention")
    coverage: Coverage = Field(default="1,N", description="earlier maps that feed an emca attention (EMCA, eq. 5)")
    residual_gate: bool = Field(default=False, description="scale by 1+Z instead of Z in emca attentions")
    pretrained: str | None = Field(
        default=None,
        description="start the backbone from these weights: a file, or imagenet (torchvision downloads it)",
    )

    pruned: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="channels cut from a block's residual branch, {layer4.0: [3, 17]}: python -m insight.prune",
    )

    @model_validator(mode="after")
    def _backbone_exists(self, info: ValidationInfo) -> Self:
        if info.context == AT_ONCE:
            return self
        from backbones.attention import CATALOGUE
        from backbones.pruned import check_pruned
        from backbones.resnet import check_backbone
        from backbones.spec import option_parameters, split

        check_backbone(self.arch, self.attention_spec, num_classes=1000 if self.classifies else None)
        if self.pruned:
            check_pruned(self.arch, self.attention_spec, self.pruned)
        name, _ = split(self.attention)
        if self.residual_gate and "residual_gate" not in option_parameters(name):
            having = [other for other in CATALOGUE if "residual_gate" in option_parameters(other)]
            raise ValueError(f"residual_gate (1 + z) belongs to {' | '.join(having)}; {name!r} has none")
        return self

    @property
    def attention_spec(self) -> AttentionSpec:
        """`attention` with the three settings beside it, for the options that its text does not give."""
        from backbones.spec import AttentionSpec

        beside = {"placement": self.placement, "coverage": self.coverage, "residual_gate": self.residual_gate}
        return AttentionSpec.parse(self.attention, otherwise=beside)


class PhaseSettings(Settings):
    """One stretch of training at one input size, or at random sizes in a range."""

    size: int | tuple[int, int] = Field(
        448, description="input size: one number for a square, or [height, width]; multiples of 32"
    )
    size_range: tuple[int, int] | None = Field(
        None,
        description="random height of every batch: [smallest, largest]; the width keeps size's aspect; null keeps size",
    )
    epochs: int = Field(30, ge=1, le=1_000_000, description="passes over the training split")
    batch_size: int = Field(16, ge=1, description="images a step, over all processes and accumulated micro-batches")

    @property
    def height_width(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Every (height, width) a batch of this phase may have."""
        return size_choices(self.height_width, self.size_range)

    @model_validator(mode="after")
    def _sizes_make_sense(self) -> PhaseSettings:
        if any(not 32 <= side <= LARGEST or side % 32 for side in self.height_width):
            wanted = f"multiples of 32 up to {LARGEST}, for example 224, 448 or [256, 832]"
            raise ValueError(f"size {self.size} must be {wanted}")
        _ = self.sizes
        return self


class OptimizerSettings(Settings):
    """The paper's SGD, for detectors with polynomial decay, for classifiers in steps; AdamW for short runs."""

    kind: Literal["sgd", "adamw"] = Field("sgd", description="sgd as in the paper, or adamw (lr about 0.001)")
    lr: float = Field(0.1, gt=0, le=1000, description="learning rate after the warm-up")
    backbone_rate: float = Field(
        1.0, ge=0, le=1, description="the backbone's share of the rate; below 1 it stays near its pretrained weights"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD, beta 1 of AdamW")
    weight_decay: float = Field(5e-4, ge=0, description="L2 decay of weights")
    decay_all: bool = Field(False, description="decay biases and BatchNorm too, as the recipes of ImageNet do")
    schedule: Literal["poly", "cosine", "steps"] = Field("poly", description="how the learning rate falls")
    power: float = Field(4.0, ge=0, description="poly: the power; 0 keeps the rate constant")
    milestones: tuple[int, ...] = Field(
        (), description="steps: epochs after which the rate falls, for example [30, 60, 90]"
    )
    gamma: float = Field(0.1, gt=0, lt=1, description="steps: what the rate is multiplied by each time")
    warmup_epochs: float = Field(1.0, ge=0, description="epochs over which the rate rises from zero")
    clip_norm: float = Field(10.0, ge=0, description="largest gradient norm; 0 does not clip")


class TrainSettings(Settings):
    """How the loop runs."""

    seed: int = Field(0, ge=0, lt=2**63, description="seed of weights, order, sizes and augmentation")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="arithmetic of the network; auto measures a step and takes the fastest sound one"
    )
    channels_last: bool = Field(True, description="memory format that convolutions like best")
    compile: bool = Field(False, description="torch.compile the network (a minute of warm-up; pays on GPUs)")
    accumulate: int = Field(1, ge=1, description="micro-batches a step, for batches that do not fit in memory")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights that are evaluated; 0: none")
    sync_bn: bool = Field(False, description="BatchNorm statistics over all processes")
    freeze_stem: bool = Field(False, description="keep stem and first stage fixed (for pretrained weights)")
    freeze_bn: bool = Field(False, description="keep the backbone's BatchNorm statistics and weights fixed")
    bad_steps: int = Field(5, ge=1, description="non-finite steps in a row after which training stops")
    validate_every: int = Field(1, ge=0, description="epochs between validations; 0 validates only at the end")
    patience: int = Field(0, ge=0, description="stop after this many validations without a better one; 0 never does")
    save_minutes: float = Field(
        5.0, ge=0, description="minutes between saves of last.pt within an epoch; 0 saves every step"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of the network; 0 takes all cores")
    runs: str = Field("runs", description="folder that holds the run folders")
