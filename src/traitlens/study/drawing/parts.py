"""Painting the parts of a face; each function returns the pixels of the part as a mask.

The argument `free` is a mask of the pixels that do not belong to a part painted earlier; `unit` is the number
of pixels per IPD.
"""

import numpy as np

from traitlens.study.drawing import contours
from traitlens.study.drawing.canvas import Canvas, blur, circle
from traitlens.study.drawing.contours import Pose, smooth
from traitlens.study.drawing.parameters import FaceParameters


def paint_eye(
    canvas: Canvas, parameters: FaceParameters, edge: np.ndarray, pupil: np.ndarray, unit: float
) -> np.ndarray:
    """Paint an eye.

    Parameters
    ----------
    canvas : Canvas
        The image.
    parameters : FaceParameters
        Parameters of the face.
    edge : array of shape (16, 2)
        Outline between the lids in pixels: outer corner, upper lid, inner corner, lower lid.
    pupil : array of shape (2,)
        Centre of the pupil in pixels.
    unit : float
        Number of pixels per IPD.

    Returns
    -------
    array of bool, shape (size, size)
        The pixels of the eye.
    """
    opening = smooth(edge)
    region = canvas.cover(opening, spread=0.075 * unit) >= 0.5
    inside = canvas.cover(opening)
    near = blur(canvas.cover(opening, spread=0.02 * unit), 0.02 * unit) * region
    canvas.tint(near * 0.5, (0.80, 0.68, 0.64))
    canvas.paint(inside, (236, 230, 224))
    iris_at = pupil + np.array([0, -0.012 * unit])
    for radius, colour, strength in (
        (0.118, np.array(parameters.iris) * 0.45, 1.0),
        (0.104, np.array(parameters.iris), 1.0),
        (0.070, np.array(parameters.iris) * 1.25, 0.5),
        (0.050, np.array((12, 10, 10)), 1.0),
    ):
        disc = canvas.cover(circle(iris_at, radius * unit))
        canvas.paint(disc * inside * strength, colour)
    upper, lower = smooth(edge[:9], closed=False), smooth(np.concatenate([edge[8:], edge[:1]]), closed=False)
    shadow = blur(canvas.cover_line(upper, 0.06 * unit), 0.02 * unit)
    canvas.tint(np.clip(shadow * inside, 0, 1) * 0.55, (0.45, 0.42, 0.42))
    glint = canvas.cover(
        circle(iris_at + unit * np.array([0.035 * np.sign(parameters.light[0] + 1e-9), -0.035]), 0.021 * unit)
    )
    canvas.paint(glint * inside * 0.9, (255, 255, 255))
    canvas.paint(canvas.cover_line(upper, 0.036 * unit) * region * 0.92, (38, 26, 22))
    canvas.tint(canvas.cover_line(lower, 0.016 * unit) * region * 0.6, (0.55, 0.42, 0.40))
    crease = upper[3:-3] + np.array([0, -0.055 * unit])
    canvas.tint(
        blur(canvas.cover_line(crease, 0.018 * unit), 0.006 * unit) * region * 0.6, (0.66, 0.54, 0.50)
    )
    return region


def paint_brow(
    canvas: Canvas, parameters: FaceParameters, edge: np.ndarray, unit: float, free: np.ndarray
) -> np.ndarray:
    """Paint a brow with the given outline (10 points, in pixels), darker than the hair."""
    outline = smooth(edge)
    region = (canvas.cover(outline, spread=0.06 * unit) >= 0.5) & free
    cover = blur(canvas.cover(outline), 0.018 * unit) * region
    colour = np.minimum(np.array(parameters.hair) * 0.55 + 8, np.array(parameters.skin) * 0.62)
    rng = np.random.default_rng([parameters.texture_seed, 3])
    strands = 1 + 0.12 * blur(rng.normal(0, 1, cover.shape), 0.8)
    canvas.paint(np.clip(cover * 0.88 * strands, 0, 1), colour)
    return region


def paint_nose(
    canvas: Canvas,
    parameters: FaceParameters,
    points: dict[int, np.ndarray],
    pose: Pose,
    unit: float,
    free: np.ndarray,
) -> np.ndarray:
    """Paint the nose: ridge, tip, wings, nostrils and shadow."""
    left = np.array([points[i] for i in contours.NOSE_LEFT])
    right = np.array([points[i] for i in contours.NOSE_RIGHT])
    outline = smooth(pose.place(np.concatenate([right, left[-2:0:-1]])))
    whole = canvas.cover(outline, spread=0.02 * unit) >= 0.5
    region = whole & free
    # Shading fades out towards the edge of the nose.
    soft = np.clip(2 * blur(whole, 0.04 * unit) - 1, 0, 1) * region
    wing = points[358]  # the right wing's outermost point
    base = points[2][1]
    ridge_end = np.array([0.0, base - 0.12])

    def spot(x: float, y: float, wide: float, high: float, depth: float = 1.0) -> np.ndarray:
        """Return the coverage of a blurred ellipse; position and radii are in IPD."""
        centre = pose.place(np.array([[x, y]]), depth)[0]
        ellipse = circle((0.0, 0.0), 1.0) * (wide * unit, high * unit) + centre
        return np.asarray(blur(canvas.cover(ellipse), 0.3 * min(wide, high) * unit))

    from_side = -np.sign(parameters.light[0] + 1e-9)
    for side in (-1, 1):
        strength = 0.62 if side == from_side else 0.30
        flank = np.array([(0.10, 0.02), (0.115, 0.25), (0.15, 0.45), (0.6 * wing[0], base - 0.2)]) * (side, 1)
        line = pose.place(smooth(flank, closed=False), 0.95)
        canvas.tint(
            np.clip(blur(canvas.cover_line(line, 0.09 * unit), 0.04 * unit), 0, 1) * soft * strength,
            (0.78, 0.66, 0.62),
        )
    ridge = pose.place(smooth(np.array([(0.0, 0.0), (0.0, 0.25), ridge_end]), closed=False), 1.0)
    canvas.tint(np.clip(blur(canvas.cover_line(ridge, 0.08 * unit), 0.03 * unit), 0, 1) * soft * 0.6, 1.16)
    canvas.tint(spot(0.0, base - 0.12, 0.55 * wing[0], 0.09) * soft * 0.7, (1.14, 1.10, 1.09))
    canvas.tint(spot(0.0, base + 0.01, 0.9 * wing[0], 0.05) * region * 0.5, (0.70, 0.58, 0.55))
    for side in (-1, 1):
        edge = np.array([(0.78, -0.24), (1.0, -0.15), (1.0, -0.06), (0.8, -0.005)]) * (side * wing[0], 1.0)
        line = pose.place(smooth(edge + np.array([0, base]), closed=False), 0.75)
        canvas.tint(
            blur(canvas.cover_line(line, 0.035 * unit), 0.014 * unit) * region * 0.75, (0.62, 0.48, 0.45)
        )
        canvas.tint(
            spot(side * 0.45 * wing[0], base - 0.015, 0.30 * wing[0], 0.03, 0.8) * region * 0.9,
            (0.32, 0.22, 0.20),
        )
    return region


def paint_mouth(
    canvas: Canvas,
    parameters: FaceParameters,
    points: dict[int, np.ndarray],
    pose: Pose,
    unit: float,
    free: np.ndarray,
) -> np.ndarray:
    """Paint the lips, and between them a line, or the teeth if a broad smile opens the mouth."""
    edge = smooth(pose.place(np.array([points[i] for i in contours.MOUTH])), steps=4)
    gap = pose.place(np.array([points[i] for i in contours.LIPS_GAP]))
    region = (canvas.cover(edge, spread=0.06 * unit) >= 0.5) & free
    skin = np.array(parameters.skin)
    lips = 0.55 * skin * (0.95, 0.62, 0.60) + 0.45 * np.array((172, 78, 80)) * (0.4 + 0.6 * skin.mean() / 200)
    cover = blur(canvas.cover(edge), 0.010 * unit) * region
    canvas.paint(cover * 0.92, lips)
    upper_lip = np.concatenate([pose.place(np.array([points[i] for i in contours.MOUTH[:11]])), gap[10::-1]])
    canvas.tint(canvas.cover(upper_lip) * region * 0.55, (0.86, 0.82, 0.82))
    opening = canvas.cover(smooth(gap, steps=4)) * region
    canvas.paint(opening, (92, 34, 36))
    height = float(np.linalg.norm(gap[15] - gap[5]))
    if height > 0.03 * unit:
        teeth = np.concatenate(
            [gap[:11], (0.45 * gap[:11] + 0.55 * np.concatenate([gap[10:], gap[:1]])[::-1])[::-1]]
        )
        canvas.paint(blur(canvas.cover(teeth), 0.006 * unit) * opening, (236, 230, 222))
    line = smooth(0.5 * (gap[:11] + np.concatenate([gap[10:], gap[:1]])[::-1]), closed=False)
    closed = 1.0 if height < 0.04 * unit else 0.0
    canvas.tint(canvas.cover_line(line, 0.024 * unit) * region * 0.85 * closed, (0.42, 0.30, 0.30))
    corners = canvas.cover(circle(gap[0], 0.025 * unit)) + canvas.cover(circle(gap[10], 0.025 * unit))
    canvas.tint(np.clip(blur(corners, 0.012 * unit), 0, 1) * region * 0.7, (0.5, 0.38, 0.38))
    bottom = pose.place(0.5 * (points[17] + points[14])[None])[0]
    shine = blur(canvas.cover(circle((0.0, 0.0), 1.0) * (0.13 * unit, 0.028 * unit) + bottom), 0.02 * unit)
    canvas.tint(shine * cover * 0.7, 1.22)
    return region
