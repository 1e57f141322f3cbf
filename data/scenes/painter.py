"""From a Scene to a picture with labels: projection, shading, and the painter's algorithm on colour and identity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from data.formats.kitti import Label
from data.masks import encode, from_box
from data.scenes.annotate import SMALLEST, Silhouette, annotate, majority
from data.scenes.background import paint_background, shadow_outline
from data.scenes.camera import FOCAL, HEIGHT, NEAR, WIDTH, clip_near, project
from data.scenes.mesh import Faces, Line, Spheres
from data.scenes.order import order_actors, order_parts
from data.scenes.scene import Actor, Scene

SUPER = 2  # everything upright is painted at twice the size and then averaged down
_SHIFT = 4
_SEEN = 130.0  # metres; nothing beyond is painted
_MOST = 250  # labelled actors at a time: the identity is one byte
_ROUND = np.stack([np.cos(np.linspace(0, 2 * np.pi, 14)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 14)[:-1])], axis=1)


@dataclass(frozen=True)
class Frame:
    """image [HEIGHT, WIDTH, 3] uint8 RGB; labels, nearest first, DontCare last.

    identities [SUPER * HEIGHT, SUPER * WIDTH] says who is seen where, owners who each object is.
    """

    image: np.ndarray
    labels: list[Label]
    identities: np.ndarray
    owners: list[int]

    def masked_labels(self) -> list[Label]:
        """The labels with the pixels that are seen of each object; the mask of a region is its box."""
        seen, objects = majority(self.identities), len(self.owners)
        masks = [encode(seen == owner) for owner in self.owners]
        masks += [from_box(region.box, (HEIGHT, WIDTH)) for region in self.labels[objects:]]
        return [replace(label, mask=mask) for label, mask in zip(self.labels, masks, strict=True)]


def render(scene: Scene, smallest: float = SMALLEST) -> Frame:
    """The same scene gives the same frame, to the last bit. Objects lower than `smallest` pixels are not annotated."""
    canvas = cv2.cvtColor(paint_background(scene), cv2.COLOR_RGB2RGBA)
    canvas[..., 3] = 0  # not opacity, but the identity of who is seen there (0: nobody)
    canvas = cv2.resize(canvas, (WIDTH * SUPER, HEIGHT * SUPER), interpolation=cv2.INTER_LINEAR)
    seen = [actor for actor in scene.actors if _in_view(actor, scene)]
    shades = [shadow_outline(a, scene.light).astype(np.float32) for a in seen if not a.name and a.mesh.high[1] > 2.8]
    silhouettes: list[Silhouette] = []
    for index in order_actors(seen, scene.camera):
        actor = seen[index]
        identity = len(silhouettes) + 1 if actor.name and len(silhouettes) < _MOST else 0
        brush = _Brush(canvas, actor, scene, identity, _sunlit(actor, shades))
        brush.paint()
        if identity:
            # nobody nearer is painted yet: this is all there is to see of the actor in the image
            silhouettes.append(Silhouette.take(actor, canvas[..., 3], identity, brush.extent(), SUPER))
    visible = cv2.calcHist([canvas], [3], None, [256], [0, 256]).ravel().astype(int)
    small = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    labels, owners = annotate(silhouettes, visible, scene.camera, smallest)
    return Frame(_expose(cv2.cvtColor(small, cv2.COLOR_RGBA2RGB), scene), labels, canvas[..., 3], owners)


def _in_view(actor: Actor, scene: Scene) -> bool:
    offset = scene.camera.to_camera(actor.position[None])[0]
    reach = actor.mesh.reach
    # half the field of view has a tangent of 0.88
    return -reach < offset[2] - NEAR < _SEEN and abs(offset[0]) < max(offset[2], 0) * 0.88 + reach * 1.4


def _sunlit(actor: Actor, shades: list[np.ndarray]) -> float:
    """0 where the shadow of a house or a tree falls on a labelled actor, else 1."""
    here = (float(actor.x), float(actor.z))
    return 0.0 if actor.name and any(cv2.pointPolygonTest(shade, here, False) > 0 for shade in shades) else 1.0


class _Brush:
    """Paints one actor."""

    def __init__(self, canvas: np.ndarray, actor: Actor, scene: Scene, identity: int, sunlit: float) -> None:
        camera, self.light = scene.camera, scene.light
        self.canvas, self.mesh, self.identity = canvas, actor.mesh, identity
        self.axes = actor.axes
        self.sun = self.light.sun * sunlit
        self.eye = self.axes @ (camera.eye - actor.position)  # in the actor's coordinates
        turn, move = self.axes @ camera.rotation.T, camera.rotation @ (actor.position - camera.eye)
        self.points = self.mesh.points @ turn + move
        self.pixels = self._fixed(self.points)
        self.centres = self.mesh.spheres[:, :3] @ turn + move
        self.scale = SUPER * FOCAL / max(float(move[2]), 1.0)  # canvas pixels a metre
        distance = max(float(np.linalg.norm(move)), 1.0)
        self.keep = float(np.exp(-distance / self.light.visibility))
        self.to_sun = camera.rotation @ self.light.to_sun
        if len(self.centres):
            self._round()

    def paint(self) -> None:
        mesh, parts = self.mesh, self.mesh.parts
        colours = self._colours()
        order = range(len(parts)) if mesh.listed else order_parts(mesh, self.eye)
        visible = ((mesh.centres - self.eye) * mesh.normals).sum(axis=1) < 0
        visible &= mesh.extents * self.scale > 1.2
        near = mesh.count > 0 and bool(self.points[:, 2].min() < NEAR)
        for index in order:
            part = parts[index]
            if isinstance(part, Faces):
                for k in range(part.first, part.last):
                    if visible[k]:
                        self._polygon(k, colours[k], near)
            elif isinstance(part, Spheres):
                self._hull(part, colours[part.colour])
            else:
                self._line(part, colours[part.colour])

    def extent(self) -> np.ndarray:
        """[2, 2]: the corners of the box around everything that was painted, in pixels, not cut at the image."""
        points = self.points
        if len(points) and points[:, 2].min() < NEAR:
            points = np.concatenate(
                [clip_near(points[a:b]) for a, b in zip(self.mesh.starts[:-1], self.mesh.starts[1:], strict=True)]
                + [points[self.mesh.starts[-1] :]]
            )
            points = points[points[:, 2] >= NEAR]
        corners = [project(points)] if len(points) else []
        if len(self.centres):
            safe = self.centres[:, 2] >= NEAR
            corners += [self.middles[safe] - self.radii[safe, None], self.middles[safe] + self.radii[safe, None]]
        flat = np.concatenate([np.zeros((0, 2)), *corners])  # nothing of an actor that has just been passed
        return np.array([flat.min(axis=0), flat.max(axis=0)]) if len(flat) else np.zeros((2, 2))

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        return _to_fixed(project(np.maximum(points, (-np.inf, -np.inf, NEAR))))

    def _round(self) -> None:
        depth = np.maximum(self.centres[:, 2:], NEAR)
        self.middles = project(np.concatenate([self.centres[:, :2], depth], axis=1))
        self.radii = FOCAL * self.mesh.spheres[:, 3] / depth[:, 0]
        outline = self.middles[:, None] + self.radii[:, None, None] * _ROUND
        self.outlines = _to_fixed(outline)
        # the light falls on one side: the same hull again, smaller and nearer to the sun
        back = (1.0 - float(self.to_sun[2])) / 2  # 0 when looking into the sun
        dim = self.light.ambient * 0.8 + self.sun * 0.25
        self.lit_gain = ((self.light.ambient * 0.95 + self.sun * (0.3 + 0.6 * back)) / dim).tolist()
        self.cut = bool(self.centres[:, 2].min() < NEAR)
        towards = self.to_sun[:2] * self.sun.mean() * 2.0 + (0.0, -0.35)
        towards /= max(float(np.linalg.norm(towards)), 1.0)
        lit = self.middles + towards * self.radii[:, None] * 0.26
        self.lit_outlines = _to_fixed(lit[:, None] + self.radii[:, None, None] * 0.7 * _ROUND)

    def _colours(self) -> list[tuple[int, int, int, int]]:
        """One a row of mesh.colours: albedo in the light of sun and sky, behind the haze; and the identity."""
        mesh, light = self.mesh, self.light
        lit = np.empty_like(mesh.colours)
        if mesh.count:
            normals = mesh.normals @ self.axes
            sun = np.clip(normals @ light.to_sun, 0.0, None)[:, None]
            sky = (0.78 + 0.27 * normals[:, 1])[:, None]
            lit[: mesh.count] = light.ambient * sky + self.sun * sun
            lit[: mesh.count] += (1 - lit[: mesh.count]) * mesh.glows
        lit[mesh.count :] = light.ambient * 0.8 + self.sun * 0.25
        colours = mesh.colours * lit * self.keep + light.horizon * (1 - self.keep)
        whole = np.clip(colours, 0, 255).astype(int)
        return [(r, g, b, self.identity) for r, g, b in whole.tolist()]

    def _polygon(self, k: int, colour: tuple[int, int, int, int], near: bool) -> None:
        start, stop = self.mesh.starts[k], self.mesh.starts[k + 1]
        pixels = self.pixels[start:stop]
        if near and self.points[start:stop, 2].min() < NEAR:
            clipped = clip_near(self.points[start:stop])
            if len(clipped) < 3:
                return
            pixels = _to_fixed(project(clipped))
        cv2.fillConvexPoly(self.canvas, pixels, colour, cv2.LINE_8, _SHIFT)

    def _hull(self, part: Spheres, colour: tuple[int, int, int, int]) -> None:
        if self.cut and self.centres[part.first : part.last, 2].min() < NEAR:
            return
        self._fill_hull(self.outlines[part.first : part.last], colour)
        if self.radii[part.first] > 1.3:
            red, green, blue, identity = colour
            gain_red, gain_green, gain_blue = self.lit_gain
            bright = (min(255, red * gain_red), min(255, green * gain_green), min(255, blue * gain_blue), identity)
            self._fill_hull(self.lit_outlines[part.first : part.last], bright)

    def _fill_hull(self, outlines: np.ndarray, colour: tuple[float, float, float, float]) -> None:
        points = outlines.reshape(-1, 2)
        hull = cv2.convexHull(points) if len(outlines) > 1 else points
        cv2.fillConvexPoly(self.canvas, hull, colour, cv2.LINE_8, _SHIFT)

    def _line(self, part: Line, colour: tuple[int, int, int, int]) -> None:
        depth = self.points[part.first : part.last, 2]
        thickness = 2 * part.radius * SUPER * FOCAL / max(float(depth.mean()), NEAR)
        if depth.min() < NEAR or thickness < 0.3:
            return
        points = [self.pixels[part.first : part.last]]
        cv2.polylines(self.canvas, points, False, colour, max(1, round(thickness)), cv2.LINE_8, _SHIFT)


def _to_fixed(pixels: np.ndarray) -> np.ndarray:
    """Image coordinates (edges at whole numbers) to cv2's on the canvas (pixel centres at whole numbers)."""
    return np.round((np.clip(pixels, -8000, 8000) * SUPER - 0.5) * 2**_SHIFT).astype(np.int32)


@cache
def _vignette() -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    radius = np.hypot((x - WIDTH / 2) / WIDTH, (y - HEIGHT / 2) / WIDTH)
    shade = (255 * (1 - 0.42 * radius**2)).astype(np.uint8)
    return np.repeat(shade[..., None], 3, axis=2)


@cache
def _grain() -> np.ndarray:
    grain = np.random.default_rng(3).normal(128, 32, (HEIGHT + 64, WIDTH + 64, 1)) + np.random.default_rng(4).normal(
        0, 12, (HEIGHT + 64, WIDTH + 64, 3)
    )
    return grain.clip(0, 255).astype(np.uint8)


def _expose(image: np.ndarray, scene: Scene) -> np.ndarray:
    """Lens and sensor: automatic exposure, blur, vignette, gain, gamma, a knee in the highlights, grain."""
    light = scene.light
    metered = float(image[HEIGHT // 3 :: 8, ::8].mean())
    exposure = (105.0 / max(metered, 20.0)) ** 0.6
    if light.blur > 0.25:
        image = cv2.GaussianBlur(image, (3, 3), light.blur)
    image = cv2.multiply(image, _vignette(), scale=1 / 255)
    linear = np.arange(256)[:, None] / 255 * light.gain * exposure
    curve = np.where(linear > 0.8, 0.8 + 0.2 * np.tanh((linear - 0.8) / 0.25), linear) ** light.gamma
    image = cv2.LUT(image, (curve * 255).clip(0, 255).astype(np.uint8)[:, None])
    top, left = np.random.default_rng((scene.seed, scene.instant)).integers(0, 64, 2)
    grain = _grain()[top : top + HEIGHT, left : left + WIDTH]
    return cv2.addWeighted(image, 1.0, grain, light.noise / 32, -4 * light.noise)
