"""Hair of a drawn face: its outline, and the painting of strands."""

from dataclasses import dataclass

import numpy as np

from traitlens.study.drawing.canvas import Canvas, blur
from traitlens.study.drawing.contours import Pose, smooth
from traitlens.study.drawing.parameters import FaceParameters

_ENDS = {"cropped": 0.40, "short": 0.60, "bob": 1.35, "long": 2.5, "curly": 1.0}
"""Length of the hair of each style, in IPD."""


@dataclass(frozen=True)
class Hair:
    """Coverage of the image by hair.

    Parameters
    ----------
    back, front : array of shape (size, size)
        Coverage (0 to 1) of each pixel by hair behind the head and in front of it.
    """

    back: np.ndarray
    front: np.ndarray


def compute_hair_coverage(canvas: Canvas, parameters: FaceParameters, pose: Pose) -> Hair:
    """Compute the coverage of the image by hair, behind the head and in front of it."""
    style = parameters.hair_style
    volume = 0.10 if style == "cropped" else parameters.hair_volume
    wide = 1.10 * (1 + 0.04 * parameters.features["face_width"])
    end = _ENDS[style]
    reach = wide + (0.75 if style == "curly" else 0.35) * volume
    angle = np.linspace(-np.pi / 2, np.pi / 2, 19)
    dome = np.stack([reach * np.sin(angle), -0.2 - (1.32 + volume) * np.cos(angle) ** 0.85], axis=1)
    sides = np.linspace(0.0, end, max(3, int(end / 0.3) + 2))[1:]
    hangs = style in ("bob", "long")
    flare = 0.10 * np.sin(np.pi * np.clip(sides / 1.4, 0, 1)) if hangs else 0.0
    inwards = 0.03 * sides if hangs else (reach - 0.97 * wide) * (sides / end) ** 2
    right = np.stack([reach + flare - inwards, sides - 0.2], axis=1)
    right = np.concatenate([right, [(right[-1, 0] - 0.16, right[-1, 1] + 0.05)]])
    outer = np.concatenate([right[::-1] * (-1, 1), dome, right])
    if style == "curly":
        rng = np.random.default_rng([parameters.texture_seed, 4])
        outer = outer + rng.normal(0, 0.05, outer.shape)
    back = canvas.cover(pose.place(smooth(outer, closed=False), 0.0))
    opening = canvas.cover(pose.place(_outline_without_hair(parameters, wide), 0.25))
    edge = 0.035 if style in ("cropped", "curly") else 0.02
    opening = blur(opening, edge * float(np.sqrt(np.linalg.det(pose.matrix))))
    return Hair(back, back * (1 - opening))


def _outline_without_hair(parameters: FaceParameters, wide: float) -> np.ndarray:
    """Return the outline of the area without hair: face and neck, in IPD."""
    style = parameters.hair_style
    part = 0.55 * parameters.parting
    covers = style in ("bob", "long")
    temple = wide * (0.90 if covers else 0.95)
    side = wide * (0.93 if covers else 1.30)
    up = -1.15 if style in ("cropped", "short", "curly") else -1.05
    hairline = [
        (-side, 0.35 if not covers else 0.45),
        (-temple, -0.15),
        (-temple * 0.93, -0.52),
        (-0.62 + 0.2 * part, -0.86),
        (-0.30 + 0.5 * part, up + 0.04),
        (part, up - 0.06),
        (0.30 + 0.5 * part, up + 0.04),
        (0.62 + 0.2 * part, -0.86),
        (temple * 0.93, -0.52),
        (temple, -0.15),
        (side, 0.35 if not covers else 0.45),
    ]
    bottom = [(wide * 0.92, 1.2), (0.78, 1.75), (0.72, 2.8), (-0.72, 2.8), (-0.78, 1.75), (-wide * 0.92, 1.2)]
    if not covers:
        bottom = [(1.7, 0.6), (1.7, 2.8), (-1.7, 2.8), (-1.7, 0.6)]
        if style == "curly":
            bottom = [(wide, 0.7), (0.95, 1.6), (0.8, 2.8), (-0.8, 2.8), (-0.95, 1.6), (-wide, 0.7)]
    return np.concatenate([smooth(np.array(hairline), closed=False), np.array(bottom)])


def paint_hair(
    canvas: Canvas,
    parameters: FaceParameters,
    hair: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    brightness: float = 1.0,
) -> None:
    """Paint strands, sheen and shadow of the hair.

    Parameters
    ----------
    canvas : Canvas
        The image.
    parameters : FaceParameters
        Parameters of the face.
    hair : array of shape (size, size)
        Coverage (0 to 1) of each pixel by hair.
    x, y : array of shape (size, size)
        Face coordinates of the pixels, in IPD.
    brightness : float, default 1
        Factor for the colour; below 1 for hair in the shade.
    """
    rng = np.random.default_rng([parameters.texture_seed, 5])
    crown = (0.4 * parameters.parting, -1.45)
    angle = np.arctan2(x - crown[0], np.maximum(y - crown[1], -0.3) + 0.9)
    radius = np.hypot(x - crown[0], y - crown[1])
    if parameters.hair_style == "curly":
        noise = rng.normal(0, 1, x.shape)
        strands = 6 * blur(noise, canvas.size / 75) + 2 * blur(noise[::-1], canvas.size / 150)
    else:
        lines = np.interp(np.linspace(-3.2, 3.2, 2048), np.linspace(-3.2, 3.2, 330), rng.normal(0, 1, 330))
        wave = 0.04 * np.sin(5 * radius + parameters.parting * 3)
        strands = np.interp(angle + wave, np.linspace(-3.2, 3.2, 2048), lines)
    sheen = np.exp(-0.5 * ((radius - 0.45) / 0.16) ** 2) * np.exp(
        -0.5 * ((x + parameters.light[0]) / 0.7) ** 2
    )
    colour = np.array(parameters.hair, np.float32)
    light = 0.82 + 0.13 * strands + 0.45 * sheen - 0.10 * np.clip(y, 0, 2)
    inner = blur(hair, canvas.size / 40)
    light = light * (0.55 + 0.45 * inner)
    shadow = np.clip(blur(hair, canvas.size / 60) - hair, 0, 1) * (y < 1.2)
    canvas.tint(shadow * 0.55, (0.60, 0.50, 0.46))
    canvas.paint(hair, brightness * np.clip(light, 0.2, 1.8)[..., None] * colour)
