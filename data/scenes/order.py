"""Who is painted first: the painter's algorithm with planes that lie between things, not with their mere distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.scenes.camera import NEAR, Camera
from data.scenes.mesh import Mesh
from data.scenes.scene import Actor

_SLACK = 0.02  # metres by which things that stand side by side may overlap


def back_to_front(behind: np.ndarray, distance: np.ndarray) -> list[int]:
    """An order in which a comes before b wherever behind[a, b]; otherwise (and in a circle) the farthest first."""
    blockers = behind.sum(axis=0).astype(float)
    rest = distance.astype(float).copy()
    order = []
    for _ in range(len(rest)):
        # a thing that waits for another one gives way to every thing that does not
        chosen = int(np.argmax(np.where(blockers < 0.5, rest, rest - 1e6)))
        order.append(chosen)
        rest[chosen] = -np.inf
        blockers -= behind[chosen]
    return order


def order_parts(mesh: Mesh, eye: np.ndarray) -> list[int]:
    """The parts of a mesh seen from eye [3], in the coordinates of the mesh."""
    low, high = mesh.bounds[:, 0], mesh.bounds[:, 1]
    distance = np.linalg.norm(mesh.middles - eye, axis=1)
    if mesh.rounded:
        return np.argsort(-distance, kind="stable").tolist()
    # the plane at a's upper (lower) end parts it from b, and the eye is on b's side: a is behind b
    above = (high[:, None] <= low[None, :] + _SLACK) & (eye >= high)[:, None]
    below = (low[:, None] >= high[None, :] - _SLACK) & (eye <= low)[:, None]
    behind = np.any(above | below, axis=2)
    return back_to_front(behind & ~behind.T, distance)


def order_actors(actors: Sequence[Actor], camera: Camera) -> list[int]:
    """Upright things with rectangular footprints, seen from the camera."""
    if not actors:
        return []
    corners = np.array([actor.footprint for actor in actors])  # [n, 4, 2]
    axes = np.array([actor.axes[::2, ::2] for actor in actors])  # [n, 2, 2]: forward and right in (x, z)
    origins = np.array([(actor.x, actor.z) for actor in actors])
    low = np.array([actor.mesh.low[::2] for actor in actors])
    high = np.array([actor.mesh.high[::2] for actor in actors])
    # local[a, f, b, c]: corner c of b along direction f of a
    count = len(actors)
    shared = axes.reshape(-1, 2) @ corners.reshape(-1, 2).T  # [2n, 4n]
    local = shared.reshape(count, 2, count, 4) - np.einsum("ax,afx->af", origins, axes)[:, :, None, None]
    near, far = local.min(axis=3).swapaxes(1, 2), local.max(axis=3).swapaxes(1, 2)  # [n, n, 2]
    eye = np.einsum("ax,afx->af", camera.eye[::2] - origins, axes)[:, None]  # [n, 1, 2]
    low, high = low[:, None], high[:, None]
    ahead, astern = near >= high - _SLACK, far <= low + _SLACK
    # b is beyond a plane of a: a is behind b if the eye is beyond it too, else b is behind a
    a_first = ((ahead & (eye >= high)) | (astern & (eye <= low))).any(axis=2)
    b_first = ((ahead & (eye < high)) | (astern & (eye > low))).any(axis=2)
    behind = a_first | b_first.T
    behind &= ~behind.T & _cross(corners, camera)
    return back_to_front(behind, np.linalg.norm(origins - camera.eye[::2], axis=1))


def _cross(corners: np.ndarray, camera: Camera) -> np.ndarray:
    """[n, n]: whether two footprints share an image column."""
    flat = corners - camera.eye[::2]
    right = flat @ camera.rotation[0, ::2]
    depth = flat @ camera.rotation[2, ::2]
    tangent = right / np.maximum(depth, NEAR)
    start, stop = tangent.min(axis=1), tangent.max(axis=1)
    cut = depth.min(axis=1) < NEAR  # part of it is beside the camera: it may be anywhere
    start, stop = np.where(cut, -np.inf, start), np.where(cut, np.inf, stop)
    return (start[:, None] <= stop[None]) & (start[None] <= stop[:, None])
