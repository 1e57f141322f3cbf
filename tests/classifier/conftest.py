from __future__ import annotations

from pathlib import Path

import pytest
from coloured_pictures import make_pictures, write_config


@pytest.fixture(scope="session")
def colours_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("colours") / "data")


@pytest.fixture()
def tiny_config(tmp_path: Path, colours_root: Path) -> Path:
    return write_config(tmp_path, colours_root)
