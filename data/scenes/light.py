"""Time of day and weather: sun, sky, haze and what the camera makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Light:
    """Colours are RGB [3]; those of light sources multiply, those of sky and haze are 0..255."""

    to_sun: np.ndarray  # unit vector in the world
    sun: np.ndarray
    ambient: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    cloud: np.ndarray
    cover: float  # share of the sky under cloud
    visibility: float  # metres after which 1/e of the contrast is left
    shadow: float  # share of the light that the ground loses in a shadow
    gain: np.ndarray
    gamma: float
    noise: float
    blur: float


_KINDS = {
    # elevation of the sun, strength and colour of sun, of ambient light, zenith, horizon, visibility, gain
    "noon": ((30, 65), 0.66, (1.06, 1.0, 0.9), 0.6, (0.9, 0.98, 1.12), (84, 132, 196), (196, 214, 230), 900, 1.0),
    "low sun": ((9, 22), 0.72, (1.24, 1.0, 0.72), 0.52, (0.88, 0.94, 1.14), (98, 136, 186), (240, 214, 176), 500, 1.0),
    "overcast": ((40, 70), 0.08, (1, 1, 1), 0.86, (0.98, 1.0, 1.03), (168, 176, 186), (206, 210, 214), 450, 0.95),
    "haze": ((20, 50), 0.2, (1.05, 1.0, 0.94), 0.74, (0.99, 1.0, 1.0), (178, 184, 190), (214, 214, 212), 160, 0.98),
    "dusk": ((5, 10), 0.12, (1.2, 0.9, 0.8), 0.5, (0.87, 0.94, 1.15), (58, 74, 116), (176, 142, 138), 400, 1.0),
}


def draw_light(rng: np.random.Generator) -> Light:
    kind = _KINDS[str(rng.choice(list(_KINDS), p=(0.36, 0.18, 0.24, 0.12, 0.1)))]
    (low, high), sun, sun_tint, ambient, ambient_tint, zenith, horizon, visibility, gain = kind
    elevation, azimuth = np.radians(rng.uniform(low, high)), rng.uniform(0, 2 * np.pi)
    sun *= rng.uniform(0.85, 1.1)
    to_sun = np.array([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    return Light(
        to_sun=to_sun,
        sun=np.array(sun_tint) * sun,
        ambient=np.array(ambient_tint) * ambient * rng.uniform(0.9, 1.1),
        zenith=np.array(zenith) * rng.uniform(0.9, 1.08),
        horizon=np.minimum(np.array(horizon) * rng.uniform(0.94, 1.06), 250),
        cloud=np.minimum(np.array(horizon) * 0.5 + 125, 250),
        cover=float(rng.uniform(0.1, 0.65)),
        visibility=visibility * rng.uniform(0.8, 1.2),
        shadow=float(np.clip(sun * 0.75 / (sun + ambient), 0.0, 0.6)),
        gain=np.array([1.0, 1.0, 1.0]) * gain * rng.uniform(0.86, 1.14) * rng.uniform(0.96, 1.04, 3),
        gamma=float(rng.uniform(0.88, 1.14)),
        noise=float(rng.uniform(0.8, 2.6)),
        blur=float(rng.uniform(0.0, 0.6)),
    )
