from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from detector.video.journal import Journal

sys.path.insert(0, str(Path(__file__).parent))  # for fakes.py


@pytest.fixture
def journal():
    return Journal(echo=lambda line: None)


@pytest.fixture
def stop():
    return threading.Event()
