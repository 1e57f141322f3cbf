"""The configs that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.config import Config as ClassifierConfig
from detector.config import Config as DetectorConfig
from training.config import RunConfig
from training.values import read_yaml

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS: dict[str, type[RunConfig]] = {"detection": DetectorConfig, "classification": ClassifierConfig}
OF_RUNS = [path for path in sorted(CONFIGS.glob("*.yaml")) if not path.stem.startswith("compare-")]


@pytest.mark.parametrize("path", OF_RUNS, ids=lambda path: path.stem)
def test_every_config_is_valid_and_named_after_its_file(path: Path) -> None:
    kind = KINDS[read_yaml(path).get("task", "detection")]
    assert kind.load(path).name == path.stem
