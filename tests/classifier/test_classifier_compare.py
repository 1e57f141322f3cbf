"""A comparison of classifiers: one command for both tasks, the columns of classification."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from classifier.compare import ClassificationJudge
from classifier.config import Config
from detector.compare import DetectionJudge
from training.compare import compare, read
from training.config import ConfigError, settings_table

JUDGES = {"detection": DetectionJudge(), "classification": ClassificationJudge()}
CONFIGS = Path(__file__).parents[2] / "configs"


def test_classifiers_are_trained_once_each_and_tabulated(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "compare.yaml"
    path.write_text(
        f"name: mine\nrecipe: {tiny_config}\nrounds: 1\nrelative: {{eca: eca}}\nvariants:\n"
        "  none: {network: {attention: none}}\n  eca: {network: {attention: eca, placement: all}}\n"
    )
    assert compare(JUDGES, path, ["phases.0.epochs=1"]) == 0
    folder = tmp_path / "runs" / "mine"
    lines = (folder / "table.md").read_text().splitlines()
    assert "imagenet stem, scored on `val`" in lines[0] and "1 at 32x32" in lines[0]
    assert lines[2] == (
        "| variant | top-1 | minus none | top-5 | minus none | top-1: gain over that of "
        "| params (M) | GFLOPs | fps | ratio to none | minutes |"
    )
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| none", "| eca"]
    assert lines[4].split(" | ")[6] == "10.66"  # 11,178,051 of three classes, by 2^20
    for name in ("accuracy_against_fps.png", "curves.png"):
        assert (folder / name).stat().st_size > 0
    with open(folder / "table.csv", newline="") as file:
        metrics = {line["metric"] for line in csv.DictReader(file)}
    assert metrics == {"params", "macs", "fps", "minutes", "top1", "top5"}
    capsys.readouterr()


@pytest.mark.parametrize("name", ["compare-cifar10", "compare-tiny-imagenet", "compare-kitti"])
def test_the_comparisons_that_come_along_can_be_read(name: str) -> None:
    judge, comparison, configs = read(JUDGES, CONFIGS / f"{name}.yaml")
    assert len(configs) == len(comparison.variants) * len(comparison.seeds)
    assert judge.task.name == ("detection" if name == "compare-kitti" else "classification")


def test_a_task_that_the_command_does_not_know_is_named(tiny_config: Path, tmp_path: Path) -> None:
    path = tmp_path / "compare.yaml"
    path.write_text(f"name: mine\nrecipe: {tiny_config}\nvariants: {{none: {{}}}}\n")
    with pytest.raises(ValueError, match="unknown task 'classification'"):
        read({"detection": DetectionJudge()}, path)
    path.write_text(f"name: mine\nrecipe: {tiny_config}\nrelative: {{none: so}}\nvariants: {{none: {{}}}}\n")
    with pytest.raises(ConfigError, match="no variant 'so'; there are none"):
        compare(JUDGES, path)


def test_every_config_of_a_classifier_can_be_read() -> None:
    names = [path for path in sorted(CONFIGS.glob("*.yaml")) if "task: classification" in path.read_text()]
    based = [CONFIGS / f"{name}.yaml" for name in ("imagenet-srm", "imagenet-fca", "imagenet-sa", "imagenet-epsa")]
    two_stages = [CONFIGS / f"kitti-paper-{stage}.yaml" for stage in ("1-classify", "2-448")]
    assert len(names) >= 2
    for path in (*names, *based, *two_stages, CONFIGS / "tiny-imagenet.yaml"):
        assert Config.load(path).name == path.stem
    imagenet = Config.load(CONFIGS / "imagenet.yaml")
    assert (imagenet.optimizer.milestones, imagenet.optimizer.weight_decay) == ((30, 60, 90), 1e-4)
    assert Config.load(CONFIGS / "imagenet-fca.yaml").loss.label_smoothing == 0.1
    second = Config.load(CONFIGS / "kitti-paper-2-448.yaml")
    assert (second.size, second.optimizer.lr, second.epochs) == ((448, 448), 1e-3, 10)


def test_the_settings_page_lists_what_the_models_hold() -> None:
    page = (CONFIGS.parent / "docs" / "classifier-settings.md").read_text()
    for name, kind, default, meaning in settings_table(Config):
        assert f"| `{name}` | {kind.replace('|', chr(92) + '|')} | {default} | {meaning} |" in page, (
            f"{name}: run `python -m classifier.config > docs/classifier-settings.md`"
        )
