"""Settings: what a person can get wrong is answered with one line that says what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from detector.config import Config
from training.config import changed, flatten, settings_table
from training.values import ConfigError, config_path

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_kitti_config_is_the_recipe_of_the_paper() -> None:
    config = Config.load(CONFIGS / "kitti.yaml")
    assert (config.optimizer.lr, config.optimizer.momentum, config.optimizer.weight_decay) == (0.1, 0.9, 5e-4)
    assert config.optimizer.power == 4
    assert [phase.size for phase in config.phases] == [224, 448]
    assert (config.network.arch, config.network.attention, config.data.classes) == ("resnet18", "emca-se", "kitti8")
    augment = config.data.augment
    assert min(augment.crop, augment.rotation, augment.hue, augment.saturation, augment.value) > 0
    assert (augment.mosaic, augment.mixup) == (0, 0)


@pytest.mark.parametrize("attention", ["none", "se", "eca", "srm"])
def test_a_baseline_differs_from_the_recipe_in_its_attention_only(attention: str) -> None:
    recipe, baseline = Config.load(CONFIGS / "kitti.yaml"), Config.load(CONFIGS / f"kitti-{attention}.yaml")
    assert set(changed(recipe, baseline)) <= {"network.attention", "network.placement"}
    assert baseline.network.attention == attention


def test_the_wide_config_has_the_pixel_count_of_the_square_one() -> None:
    height, width = Config.load(CONFIGS / "kitti-wide.yaml").size
    assert abs(height * width / 448**2 - 1) < 0.05
    assert abs(width / height - 1242 / 375) < 0.3


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: {lrr: 1}", "unknown setting optimizer.lrr; did you mean optimizer.lr?"),
        ("optimiser: {lr: 1}", "unknown setting optimiser; did you mean optimizer"),
        ("optimizer: {lr: fast}", "optimizer.lr = 'fast'"),
        ("phases: [{size: 100}]", "size 100 must be multiples of 32"),
        ("phases: [{size: 224, size_range: [300, 310]}]", "size range 300..310"),
        ("phases: []", "phases"),
        ("train: {accumulate: 3}", "does not divide by train.accumulate 3"),
        ("optimizer: {warmup_epochs: 1000}", "longer than the 30 epochs"),
        ("data: {resize: squeeze}", "data.resize = 'squeeze'"),
        ("network: {anchors: [[1, 2]]}", "anchors"),
        ("network: {attention: see}", "did you mean 'se'"),
        ("network: {attention: emca-se, placement: all}", "placement 'all' is not for emca-se"),
        ("loss: {assignment: neighbours}", "network.xy_scale=2"),
        ("- a list", "expected `section:` keys"),
        ("a: [", "not valid YAML"),
        ("base: mine.yaml", "leads back to itself"),
    ],
)
def test_a_wrong_file_is_answered_with_its_name_and_the_fault(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        Config.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_that_comes_with_the_project_is_found_by_name_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        config_path("kitti") == config_path("configs/kitti.yaml") == config_path("kitti.yaml") == CONFIGS / "kitti.yaml"
    )
    assert config_path("mine/kitti.yaml") == Path("mine/kitti.yaml")
    with pytest.raises(ConfigError, match="kiti: no such config file; did you mean kitti"):
        Config.load(config_path("kiti"))
    (tmp_path / "kitti.yaml").write_text("name: mine")
    assert Config.load(config_path("kitti.yaml")).name == "mine"  # a person's own file comes first


def test_overrides_reach_nested_settings_and_phases() -> None:
    config = Config.load(CONFIGS / "kitti.yaml", ["optimizer.lr=1e-3", "phases.1.epochs=7", "data.classes=[Car, Tram]"])
    assert config.optimizer.lr == 1e-3
    assert [phase.epochs for phase in config.phases] == [60, 7]
    assert config.data.classes == ("Car", "Tram")


@pytest.mark.parametrize("text", ["optimizer.lr", "=3", "phases.9.epochs=1", "optimizer.lr=[1", "optimizer.lt=1"])
def test_a_wrong_override_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"lr|phases|lt|=3"):
        Config.load(CONFIGS / "kitti.yaml", [text])


def test_a_config_survives_being_written_and_read_back() -> None:
    config = Config.load(CONFIGS / "kitti-wide.yaml")
    assert Config.model_validate(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_harmless_changes_are_not_reported_and_others_are_by_name() -> None:
    config = Config.load(CONFIGS / "kitti.yaml")
    assert changed(config, config.override(["data.workers=5", "train.save_minutes=1"])) == []
    longer = config.model_copy(update={"phases": (*config.phases, config.phases[0])})
    assert changed(config, longer) == []  # trained on
    assert "phases.2.epochs" in changed(longer, config)
    assert changed(config, config.override(["optimizer.lr=0.2", "phases.0.epochs=1"])) == [
        "optimizer.lr",
        "phases.0.epochs",
    ]


def test_every_setting_is_documented_and_listed() -> None:
    rows = settings_table(Config)
    assert all(meaning for *_, meaning in rows)
    listed = {name.replace(".N.", ".0.") for name, *_ in rows}
    assert listed == set(flatten(Config()))


def test_the_settings_page_lists_what_the_models_hold() -> None:
    page = (CONFIGS.parent / "docs" / "settings.md").read_text()
    for name, kind, default, meaning in settings_table(Config):
        assert f"| `{name}` | {kind.replace('|', chr(92) + '|')} | {default} | {meaning} |" in page, (
            f"{name}: run `python -m detector.config > docs/settings.md`"
        )


def test_darknets_strengths_are_all_that_kitti_darknet_changes() -> None:
    usual, darknet = (flatten(Config.load(CONFIGS / f"{name}.yaml")) for name in ("kitti", "kitti-darknet"))
    differing = {key: value for key, value in darknet.items() if usual[key] != value}
    augment = {f"data.augment.{key}": value for key, value in (("rotation", 7), ("hue", 0.1))}
    augment |= {"data.augment.saturation": 0.5, "data.augment.value": 0.5}
    assert differing == {"name": "kitti-darknet", **augment}
