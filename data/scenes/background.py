"""Sky, skyline and ground with its shadows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from data.scenes.camera import CENTRE_X, CENTRE_Y, FOCAL, HEIGHT, NEAR, WIDTH, Camera, clip_near, project
from data.scenes.light import Light
from data.scenes.scene import Actor, Scene

_FAR = 150.0  # metres; patches beyond are not painted
_TILE, _TILE_PIXELS = 12.8, 512  # metres and pixels of the repeating grain of the ground
_SHIFT = 4  # fractional bits of cv2's coordinates


def paint_background(scene: Scene) -> np.ndarray:
    """[HEIGHT, WIDTH, 3] uint8 RGB, before the camera's own tone."""
    camera = scene.camera
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    row = int(np.clip(round(camera.horizon) + 1, 8, HEIGHT - 8))
    image[:row] = _sky(scene, row)
    _skyline(image, scene, row)
    image[row:] = _ground(scene, row)
    # the rows next to the horizon belong to both
    image[row - 1 : row + 1] = (image[row - 2].astype(float) * 0.5 + image[row + 1] * 0.5).astype(np.uint8)
    return image


def _sky(scene: Scene, rows: int) -> np.ndarray:
    """[rows, WIDTH, 3] uint8: a gradient under heaps of cloud; nothing in it is sharp: half the size will do."""
    light, half = scene.light, rows // 2
    height = (np.linspace(rows, 0, half, dtype=np.float32) / 190)[:, None] ** 0.7
    sky = light.horizon + (light.zenith - light.horizon) * np.minimum(height, 1.1)  # [half, 3]
    rng = np.random.default_rng((scene.seed, 7))
    clouds = np.zeros((130, WIDTH // 2 + 300), np.float32)
    for octave, weight in ((0, 0.55), (1, 0.27), (2, 0.18)):
        grid = rng.random((5 * 2**octave, 10 * 2**octave), np.float32)
        clouds += weight * cv2.resize(grid, clouds.shape[::-1], interpolation=cv2.INTER_CUBIC)
    across = int(np.clip(scene.camera.yaw * FOCAL, -300, 300)) // 2 + 150
    shown = clouds[130 - half :, across : across + WIDTH // 2]
    alpha = np.clip((shown - (1 - light.cover)) * 2.4, 0.0, 0.85) * np.minimum(height, 1.0)
    mixed = sky[:, None].astype(np.float32) + (light.cloud - sky)[:, None].astype(np.float32) * alpha[..., None]
    return cv2.resize(_to_bytes(mixed), (WIDTH, rows), interpolation=cv2.INTER_LINEAR)


def _skyline(image: np.ndarray, scene: Scene, row: int) -> None:
    """Far roofs and tree tops, the same whichever way the camera turns."""
    colour, height = scene.skyline
    light, rng = scene.light, np.random.default_rng((scene.seed, 11))
    columns = np.arange(-400, WIDTH + 401, 8)
    profile = height * (
        0.4 + rng.random(len(columns)) + 0.8 * np.repeat(rng.random(len(columns) // 8 + 1), 8)[: len(columns)]
    )
    keep = np.exp(-260 / light.visibility)
    lit = np.array(colour) * (light.ambient + 0.5 * light.sun) * keep + light.horizon * (1 - keep)
    shift = scene.camera.yaw * FOCAL
    top = np.stack([columns - shift, row - profile], axis=1)
    outline = np.concatenate([top, [(WIDTH + 400 - shift, row + 1), (-400 - shift, row + 1)]])
    cv2.fillPoly(image, [np.round(outline * 16).astype(np.int32)], lit.clip(0, 255).tolist(), cv2.LINE_AA, _SHIFT)


def _ground(scene: Scene, row: int) -> np.ndarray:
    camera, light = scene.camera, scene.light
    albedo = np.zeros((HEIGHT - row, WIDTH, 3), np.uint8)
    cv2.rectangle(albedo, (0, 0), (WIDTH, HEIGHT), scene.ground, cv2.FILLED)
    patches = [patch for patch in scene.patches if patch.start < camera.z + _FAR and patch.stop > camera.z - 2]
    _fill(albedo, [patch.outline for patch in patches], [patch.colour for patch in patches], camera, row)
    brightness = _grain(camera, row) * _shadows(scene, row)
    depth = np.maximum(FOCAL * camera.height / (np.arange(row, HEIGHT) - camera.horizon + 0.5), 1.0)
    keep = np.exp(-depth / light.visibility).astype(np.float32)[:, None]
    lit = (light.ambient + light.sun * light.to_sun[1]).astype(np.float32)
    haze = light.horizon.astype(np.float32)
    scale = brightness * keep
    # one depth for both factors: cv2 is ten times slower where they differ
    light_on = cv2.merge([scale * lit[0], scale * lit[1], scale * lit[2]])
    ground = cv2.multiply(albedo.astype(np.float32), light_on)
    return _to_bytes(ground + haze * (1 - keep)[..., None])


def _to_bytes(image: np.ndarray) -> np.ndarray:
    """Saturating conversion of a float32 image without negative values."""
    return cv2.convertScaleAbs(image)


def _fill(
    image: np.ndarray, outlines: Sequence[np.ndarray], colours: Sequence[Sequence[float]], camera: Camera, row: int
) -> None:
    """Paint polygons [n, 2] of (x, z) on the ground into an image that starts at a row."""
    if not outlines:
        return
    flat = np.concatenate(outlines)
    points = camera.to_camera(np.insert(flat, 1, 0.0, axis=1))
    stops = np.cumsum([len(outline) for outline in outlines])
    starts = stops - [len(outline) for outline in outlines]
    cut = np.minimum.reduceat(points[:, 2], starts) < NEAR
    pixels = _on_image(points, row)
    low, high = np.minimum.reduceat(pixels, starts), np.maximum.reduceat(pixels, starts)
    outside = (high[:, 0] < 0) | (low[:, 0] > WIDTH * 16) | (low[:, 1] > (HEIGHT - row) * 16)
    for index in np.flatnonzero(cut | ~outside).tolist():
        part = slice(starts[index], stops[index])
        outline = _on_image(clip_near(points[part]), row) if cut[index] else pixels[part]
        if len(outline) > 2:
            cv2.fillPoly(image, [outline], colours[index], cv2.LINE_AA, _SHIFT)


def _on_image(points: np.ndarray, row: int) -> np.ndarray:
    """[n, 3] camera coordinates -> [n, 2] int32, in sixteenths of a pixel from the given row."""
    pixels = project(np.maximum(points, (-np.inf, -np.inf, NEAR))) - (0.5, 0.5 + row)
    return np.round(np.clip(pixels, -20000, 20000) * 16).astype(np.int32)


@cache
def _tile() -> np.ndarray:
    """Grain of asphalt, stone and grass: fine, coarse and blotchy noise around 1, without a seam."""
    total: np.ndarray = np.ones((_TILE_PIXELS, _TILE_PIXELS), np.float32)
    for size, strength in ((512, 0.05), (64, 0.05), (8, 0.07)):
        grid = np.pad(np.random.default_rng(size).normal(0, strength, (size, size)).astype(np.float32), 2, mode="wrap")
        scale = _TILE_PIXELS // size
        grown = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        total = total + grown[2 * scale : 2 * scale + _TILE_PIXELS, 2 * scale : 2 * scale + _TILE_PIXELS]
    return total


def _grain(camera: Camera, row: int) -> np.ndarray:
    """[HEIGHT - row, WIDTH] float32 around 1: the tile as it lies on the ground, calmer with distance."""
    pixel_to_ray = np.array([[1 / FOCAL, 0, -CENTRE_X / FOCAL], [0, 1 / FOCAL, (row - CENTRE_Y) / FOCAL], [0, 0, 1]])
    x, y, z = camera.rotation.T @ pixel_to_ray  # rows: world directions, linear in (column, row, 1)
    scale = _TILE_PIXELS / _TILE
    to_tile = np.array(
        [scale * (camera.x % _TILE * -y + camera.height * x), scale * (camera.z % _TILE * -y + camera.height * z), -y]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grain = cv2.warpPerspective(_tile(), to_tile, (WIDTH, HEIGHT - row), flags=flags, borderMode=cv2.BORDER_WRAP)
    weight = np.clip((np.arange(HEIGHT - row) - 4) / 60.0, 0.0, 1.0).astype(np.float32)[:, None]
    return 1 + (grain - 1) * weight


def _shadows(scene: Scene, row: int) -> np.ndarray:
    """[HEIGHT - row, WIDTH] float32: the share of the light that reaches the ground."""
    camera, light = scene.camera, scene.light
    cast, contact = (np.zeros((HEIGHT - row, WIDTH), np.uint8) for _ in range(2))
    near = [actor for actor in scene.actors if abs(actor.z - camera.z) < 80]
    if light.shadow > 0.12:
        _fill(cast, [shadow_outline(actor, light) for actor in near], [(255,)] * len(near), camera, row)
    feet = [actor.footprint for actor in near]
    grown = [foot * 1.06 - foot.mean(axis=0) * 0.06 for foot in feet]
    _fill(contact, grown, [(255,)] * len(near), camera, row)
    cv2.blur(cast, (3, 3), cast)
    cv2.blur(contact, (7, 3), contact)
    return (1 - cast.astype(np.float32) * (light.shadow / 255)) * (1 - contact.astype(np.float32) * (0.45 / 255))


def shadow_outline(actor: Actor, light: Light) -> np.ndarray:
    """[n, 2] of (x, z): where the box around an actor keeps the sun from the ground."""
    foot = actor.footprint
    away = -light.to_sun[[0, 2]] / max(light.to_sun[1], 0.12)
    low, high = max(float(actor.mesh.low[1]), 0.0), float(actor.mesh.high[1]) * 0.95
    middle = foot.mean(axis=0)
    top = middle + (foot - middle) * 0.8
    points = np.concatenate([foot + away * low, top + away * high]).astype(np.float32)
    return cv2.convexHull(points)[:, 0].astype(float)
