"""What goes into the wheel; the rest of its description stands in pyproject.toml.

The rooms keep their names, as the code imports them by these. The doors go into a package of their own, with what lies
beside them: `train`, `evaluate` and so on would be in the way of other packages (one on PyPI is called evaluate).
"""

from pathlib import Path

from setuptools import find_packages, setup

DOORS = "kitti_attention_detector"


def needs(file: str) -> list[str]:
    """The packages that a requirements file names itself, without those of the files it includes."""
    lines = (line.partition("#")[0].strip() for line in Path(file).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-r")]


export, dev = needs("requirements-export.txt"), needs("requirements-dev.txt")

setup(
    script_name="setup.py",  # which keeps this file out of the package of doors
    install_requires=needs("requirements.txt"),
    extras_require={"export": export, "dev": dev, "all": export + dev},
    packages=[*find_packages(), DOORS],
    package_dir={DOORS: "."},
    package_data={DOORS: ["configs/*.yaml", "weights/*"], "data": ["splits/*.txt"], "": ["*.html"]},
)
