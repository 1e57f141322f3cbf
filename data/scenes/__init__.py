"""KITTI-format driving scenes out of nothing, so that the demo and the tests need no download.

    street (draws a World) -> world (what moves when) -> scene (one moment) -> painter (picture, labels) -> write

`make_scenes` writes a dataset, `make_clip` a dashcam video with its labels, `render` paints one Scene.
"""

from data.scenes.painter import Frame, render
from data.scenes.write import make_clip, make_scenes

__all__ = ["Frame", "make_clip", "make_scenes", "render"]
