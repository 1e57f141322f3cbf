"""A comparison: every variant trained once by one recipe, one table, and nothing trained twice."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from detector.compare import DetectionJudge
from training.compare import compare, read
from training.compare_table import Row, markdown
from training.config import ConfigError

JUDGES = {"detection": DetectionJudge()}


def row(label: str, metrics: dict[str, list[float]], fps: float = 10) -> Row:
    return Row(label, params=2**20, macs=2**30, fps=fps, minutes=3, metrics=metrics, curves={})


def comparison_file(folder: Path, recipe: Path, variants: str) -> Path:
    path = folder / "compare.yaml"
    path.write_text(f"name: mine\nrecipe: {recipe}\nseeds: [0, 1]\nrounds: 1\nvariants:\n{variants}")
    return path


def test_a_comparison_trains_every_variant_once_and_tabulates(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tiny_config.read_text().replace("{size: [64, 128], epochs: 2, batch_size: 2}", "{size: 64, epochs: 1}")
    text = text.replace("classes: [Car, Pedestrian]", "classes: auto")
    tiny_config.write_text(text.replace("epochs: 1}", "epochs: 1, batch_size: 2}"))
    variants = "  none: {network: {attention: none}}\n  eca: {network: {attention: eca, placement: all}}\n"
    path = comparison_file(tmp_path, tiny_config, variants)
    folder = tmp_path / "runs" / "mine"
    assert compare(JUDGES, path, only=["eca"]) == 0  # another process may train the rest
    assert not (folder / "table.md").exists()
    assert sorted(run.name for run in folder.iterdir()) == ["eca-seed0", "eca-seed1"]
    assert compare(JUDGES, path) == 0
    table = (folder / "table.md").read_text()
    assert "| none |" in table and "| eca |" in table and "2 seeds" in table
    for name in ("ap_against_fps.png", "curves.png"):
        assert (folder / name).stat().st_size > 0
    with open(folder / "table.csv", newline="") as file:
        rows = [line for line in csv.DictReader(file) if line["metric"] == "mAP50"]
    seeds = [("none", "0"), ("none", "1"), ("eca", "0"), ("eca", "1")]
    assert [(line["variant"], line["seed_index"]) for line in rows] == seeds

    trained = {path: path.stat().st_mtime_ns for path in folder.glob("*/last.pt")}
    assert len(trained) == 4
    assert compare(JUDGES, path) == 0  # finished runs are kept
    assert trained == {path: path.stat().st_mtime_ns for path in folder.glob("*/last.pt")}
    assert compare(JUDGES, path, seeds=[0]) == 0
    table = (folder / "table.md").read_text()
    assert "1 seed:" in table and all("±" not in line for line in table.splitlines()[1:])


def test_a_difference_to_plain_is_taken_seed_by_seed() -> None:
    plain, better = row("none", {"mAP50": [0.10, 0.20]}), row("se", {"mAP50": [0.11, 0.21]}, fps=5)
    table = markdown(DetectionJudge(), [plain, better], "none", {}, "").splitlines()
    assert table[-2] == "| none | 15.0 ± 7.1 | - | 1.00 | 1.00 | 10.0 | 1.00 | 3.0 |"
    assert table[-1] == "| se | 16.0 ± 7.1 | +1.0 ± 0.0 | 1.00 | 1.00 | 5.0 | 0.50 | 3.0 |"


def test_a_gain_is_told_as_a_multiple_of_anothers() -> None:
    scores = {"none": 0.10, "se": 0.12, "emca-se": 0.15, "srm": 0.09, "emca-srm": 0.11}
    rows = [row(label, {"mAP50": [score]}) for label, score in scores.items()]
    table = markdown(DetectionJudge(), rows, "none", {"emca-se": "se", "emca-srm": "srm"}, "").splitlines()
    assert table[2].startswith("| variant | mAP50 | minus none | mAP50: gain over that of | params")
    told = [line.split(" | ")[3] for line in table[4:]]
    assert told == ["-", "-", "2.50 x se", "-", "srm gains nothing"]


def test_the_mean_ap40_is_that_of_kittis_classes_at_moderate() -> None:
    def of(label: str, car: list[float], cyclist: list[float]) -> Row:
        easy = {"AP40_Car_easy": [90.0, 90.0], "AP40_Car_hard": [3.0, 5.0]}
        moderate = {"AP40_Car_moderate": car, "AP40_Cyclist_moderate": cyclist}
        return row(label, {"mAP50": [0.1, 0.1], **easy, **moderate})

    rows = [of("none", [10.0, 20.0], [20.0, 30.0]), of("se", [14.0, 24.0], [20.0, 40.0])]
    table = markdown(DetectionJudge(), rows, "none", {}, "").splitlines()
    assert table[-4].startswith("| variant | mAP50 | minus none | mean AP40 | minus none | Car AP40 | Cyclist AP40 |")
    assert "| 20.0 ± 7.1 | - | 90.0 / 15.0 / 4.0 | 0.0 / 25.0 / 0.0 |" in table[-2]
    assert "| 24.5 ± 10.6 | +4.5 ± 3.5 |" in table[-1]  # (17, 32) minus (15, 25): 2 and 7


def test_where_no_class_is_kittis_coco_s_figures_stand_in_the_table() -> None:
    judge = DetectionJudge()
    boxes = {"mAP50": [0.5, 0.6], "AP": [0.3, 0.4]}
    assert judge.details(boxes) == {"AP": "35.0", "mask AP": "-"}
    assert judge.details(boxes | {"mask_AP50": [0.4, 0.4], "mask_AP": [0.25, 0.25]}) == {
        "AP": "35.0",
        "mask AP": "25.0",
    }
    assert all(map(judge.is_metric, ("mAP50", "AP", "mask_AP", "mask_AP50", "AP40_Car_moderate")))


def test_the_rows_of_table_6_are_valid() -> None:
    path = Path(__file__).parents[2] / "configs" / "compare-coco.yaml"
    _, comparison, configs = read({"detection": DetectionJudge()}, path)
    kinds = {label: configs[label, 0].network.kind for label in comparison.variants}
    assert len(kinds) == 15 and all(label.split("-")[0] == kind for label, kind in kinds.items())


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("  se: {network: {attention: se}}\n", "baseline 'none' is not among the variants"),
        ("  none: {network: {attention: nine}}\n", "variants.none: network"),
        ("  none: {}\n  ../../x: {}\n", "variant '../../x': a run's name is printable"),
        ('  none: {}\n  "a\\e[31m": {}\n', "variant 'a\\x1b[31m'"),
        (f"  none: {{}}\n  {'x' * 300}: {{}}\n", "a run's name is printable"),
        ("  none: {}\nname: ../x\n", "name '../x'"),
        ("  none: {}\nseeds: [3, 3]\n", "one stands there twice"),
        ("  none:\n", "variants.none: input should be a valid dictionary"),
        ("  none: [1]\n", "variants.none: input should be a valid dictionary"),
        ("  1: {}\n", "variants.1"),
        ("  none: {}\nrecipe: nowhere.yaml\n", "nowhere.yaml: no such config file"),
        ("  none: {}\nrounds: .inf\n", "rounds"),
    ],
)
def test_a_wrong_comparison_is_refused_before_anything_is_trained(
    tiny_config: Path, tmp_path: Path, variants: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        compare(JUDGES, comparison_file(tmp_path, tiny_config, variants))
    assert not (tmp_path / "runs").exists()


def test_overrides_change_the_recipe_of_every_variant(tiny_config: Path, tmp_path: Path) -> None:
    path = comparison_file(tmp_path, tiny_config, "  none: {network: {attention: none}}\n")
    _, _, configs = read(JUDGES, path, ["optimizer.lr=0.25", "network.attention=se", "train.seed=7"])
    assert [config.optimizer.lr for config in configs.values()] == [0.25, 0.25]
    assert [config.network.attention for config in configs.values()] == ["none", "none"]  # what is compared stays
    assert [config.train.seed for config in configs.values()] == [0, 1]
    _, _, of_other_seeds = read(JUDGES, path, [], [4, 5, 6])
    assert [config.train.seed for config in of_other_seeds.values()] == [4, 5, 6]
    with pytest.raises(ConfigError, match="no variant 'ecs'; there are none"):
        compare(JUDGES, path, only=["ecs"])
