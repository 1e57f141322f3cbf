"""detect.py without weights and torch: `python fake_door.py SECONDS_A_FRAME <arguments of detect.py>`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import detect  # noqa: E402 - before fakes: OpenCV wants to be loaded before PyAV, see detector/video/__init__.py

# isort: split
from fakes import BrightSpot  # noqa: E402

if __name__ == "__main__":
    detect._load = lambda args, ahead: (BrightSpot(float(sys.argv[1])), 1)
    sys.exit(detect.main([*sys.argv[2:], "--weights", "none"]))
