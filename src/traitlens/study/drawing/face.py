"""Drawing a face: image, region labels and landmarks."""

from dataclasses import dataclass

import numpy as np

from traitlens.study.drawing import contours
from traitlens.study.drawing.canvas import Canvas, blob, blur
from traitlens.study.drawing.contours import Pose, compute_landmarks, compute_pose, smooth
from traitlens.study.drawing.hair import compute_hair_coverage, paint_hair
from traitlens.study.drawing.parameters import FaceParameters
from traitlens.study.drawing.parts import paint_brow, paint_eye, paint_mouth, paint_nose

REGIONS = (
    "hair and background",
    "left eye",
    "right eye",
    "left brow",
    "right brow",
    "nose",
    "mouth",
    "forehead",
    "left cheek",
    "right cheek",
    "jaw",
)
"""Names of the regions in the order of their labels 0, 1, 2 ..."""

_NECK = (
    (-0.66, 0.9),
    (-0.62, 1.8),
    (-0.78, 2.3),
    (-0.6, 3.2),
    (0.6, 3.2),
    (0.78, 2.3),
    (0.62, 1.8),
    (0.66, 0.9),
)
_NECKLINE = ((2.6, 2.95), (2.1, 2.55), (1.35, 2.33), (0.74, 2.12), (0.58, 2.32), (0.30, 2.50), (0.0, 2.56))

LABELS = {name: label for label, name in enumerate(REGIONS)}


@dataclass(frozen=True)
class DrawnFace:
    """Image, region labels and landmarks of a drawn face.

    Parameters
    ----------
    picture : array of uint8, shape (size, size, 3)
        The image.
    labels : array of uint8, shape (size, size)
        Region of each pixel, as an index into :data:`REGIONS`.
    landmarks : dict
        (x, y) in pixels, keyed by number in MediaPipe's face mesh; pixel centres are at .5.
    """

    picture: np.ndarray
    labels: np.ndarray
    landmarks: dict[int, tuple[float, float]]


def draw_face(parameters: FaceParameters, size: int = 256) -> DrawnFace:
    """Draw a face.

    Each part is painted inside its own regions. Faces that differ in one part therefore differ only in the
    pixels of that part's regions, except that the jaw also moves the outline of hair and background.

    Parameters
    ----------
    parameters : FaceParameters
        Parameters of the face.
    size : int, default 256
        Side of the image in pixels.

    Examples
    --------
    >>> from traitlens.study.drawing.parameters import draw_parameters
    >>> face = draw_face(draw_parameters(seed=1, identity=0, image=0), size=64)
    >>> face.picture.shape, REGIONS[face.labels[0, 0]]
    ((64, 64, 3), 'hair and background')
    """
    pose = compute_pose(parameters, size)
    points = compute_landmarks(parameters)
    x, y = pose.unplace(size)
    canvas = Canvas(size, parameters.backdrop)
    _paint_backdrop(canvas, parameters)
    hair = compute_hair_coverage(canvas, parameters, pose)
    _paint_body(canvas, parameters, pose, hair.back, x, y)
    outline = pose.place(smooth(_face_outline(points)))
    face = canvas.cover(outline)
    _paint_skin(canvas, parameters, face, x, y)
    labels = _label_skin(points, pose, face >= 0.5, x, canvas)
    unit = float(np.sqrt(np.linalg.det(pose.matrix)))

    free = np.ones(labels.shape, bool)
    for side, eye, pupil in (("left", contours.LEFT_EYE, 468), ("right", contours.RIGHT_EYE, 473)):
        edge = pose.place(np.array([points[i] for i in eye]))
        centre = pose.place(points[pupil][None])[0]
        _claim(labels, free, f"{side} eye", paint_eye(canvas, parameters, edge, centre, unit))
    for side, brow in (("left", contours.LEFT_BROW), ("right", contours.RIGHT_BROW)):
        edge = pose.place(np.array([points[i] for i in brow]))
        _claim(labels, free, f"{side} brow", paint_brow(canvas, parameters, edge, unit, free))
    _claim(labels, free, "mouth", paint_mouth(canvas, parameters, points, pose, unit, free))
    _claim(labels, free, "nose", paint_nose(canvas, parameters, points, pose, unit, free))

    paint_hair(canvas, parameters, hair.front, x, y)
    labels[hair.front >= 0.5] = LABELS["hair and background"]
    _paint_flush(canvas, parameters, labels, x, y)
    _paint_age(canvas, parameters, pose, labels)
    _apply_light(canvas, parameters, x, y)
    _label_philtrum(canvas, points, pose, labels)
    return DrawnFace(_finish_image(canvas, parameters), labels, _project_landmarks(points, pose))


def _claim(labels: np.ndarray, free: np.ndarray, name: str, region: np.ndarray) -> None:
    """Label the region of a part, and mark it as taken for parts that are painted later."""
    labels[region] = LABELS[name]
    free &= ~region


def _face_outline(points: dict[int, np.ndarray]) -> np.ndarray:
    """Return the closed outline of the face, extended upwards to the hairline."""
    right = np.array([points[i] for i in contours.OVAL_RIGHT])
    left = np.array([points[i] for i in contours.OVAL_LEFT])[-2:0:-1]
    outline = np.concatenate([right, left])
    above = outline[:, 1] < -0.3
    outline[above, 1] = -0.3 + (outline[above, 1] + 0.3) * (1.25 - 0.3) / (0.824 - 0.3)
    return outline


def _paint_backdrop(canvas: Canvas, parameters: FaceParameters) -> None:
    """Paint the background with a gradient."""
    step = np.linspace(-1, 1, canvas.size, dtype=np.float32)
    slope = parameters.light[0] * step[None, :] + parameters.light[1] * step[:, None]
    canvas.pixels *= (1 + 0.22 * slope)[..., None]
    canvas.pixels += 26 * np.exp(-1.5 * (step[None, :] ** 2 + (step[:, None] + 0.1) ** 2))[..., None]


def _paint_body(
    canvas: Canvas, parameters: FaceParameters, pose: Pose, hair: np.ndarray, x: np.ndarray, y: np.ndarray
) -> None:
    """Paint the hair behind the head, then ears, neck, shoulders and clothes."""
    paint_hair(canvas, parameters, hair, x, y, brightness=0.6)
    skin = np.array(parameters.skin)
    unit = float(np.sqrt(np.linalg.det(pose.matrix)))
    canvas.paint(canvas.cover(pose.place(np.array(_NECK), 0.0)), skin * 0.88)
    neckline = smooth(np.array(_NECKLINE), closed=False)
    top = np.concatenate([neckline * (-1, 1), neckline[::-1], [(2.7, 4.0), (-2.7, 4.0)]])
    canvas.paint(canvas.cover(pose.place(top, 0.0)), parameters.clothes)
    under = np.concatenate([neckline * (-1, 1), neckline[::-1]])
    canvas.tint(canvas.cover_line(pose.place(under, 0.0), 0.05 * unit) * 0.35, 0.7)
    below = pose.place(np.array([(0.0, 1.78)]), 0.0)[0]
    rows, columns = np.mgrid[0 : canvas.size, 0 : canvas.size] + 0.5
    shadow = np.exp(
        -0.5 * (((columns - below[0]) / (0.62 * unit)) ** 2 + ((rows - below[1]) / (0.30 * unit)) ** 2)
    )
    canvas.tint(shadow.astype(np.float32) * (rows > below[1] - 0.6 * unit) * 0.55, (0.72, 0.62, 0.58))
    wide = 1.075 * (1 + 0.04 * parameters.features["face_width"])
    for side in (-1, 1):
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ear = np.stack([side * (wide + 0.03 + 0.13 * np.cos(angle)), 0.27 + 0.29 * np.sin(angle)], axis=1)
        canvas.paint(canvas.cover(pose.place(ear, 0.0)), skin * (0.93, 0.86, 0.84))
        inner = (ear - ear.mean(axis=0)) * 0.6 + ear.mean(axis=0)
        canvas.tint(blur(canvas.cover(pose.place(inner, 0.0)), 0.03 * unit) * 0.6, (0.82, 0.70, 0.68))


def _paint_skin(
    canvas: Canvas, parameters: FaceParameters, face: np.ndarray, x: np.ndarray, y: np.ndarray
) -> None:
    """Paint the skin of the face, shaded by the direction of the light."""
    height = 0.8 * np.sqrt(np.clip(1.02 - (x / 1.22) ** 2 - ((y - 0.3) / 2.0) ** 2, 0.04, None))
    for side in (-1, 1):
        height += 0.10 * blob(x, y, (0.62 * side, 0.45), (0.30, 0.26))  # cheekbones
        height -= 0.10 * blob(x, y, (0.50 * side, 0.02), (0.30, 0.17))  # sockets
        height += 0.05 * blob(x, y, (0.50 * side, -0.36), (0.34, 0.14))  # brow ridge
    height += 0.08 * blob(x, y, (0.0, 1.52), (0.30, 0.18))  # chin
    height -= 0.04 * blob(x, y, (0.0, 1.36), (0.24, 0.08))
    rise_y = np.gradient(height, axis=0) / np.gradient(y, axis=0)
    rise_x = np.gradient(height, axis=1) / np.gradient(x, axis=1)
    light = np.array(parameters.light)
    lit = (-rise_x * light[0] - rise_y * light[1] + light[2]) / np.sqrt(1 + rise_x**2 + rise_y**2)
    lit = np.clip(lit, 0, 1)
    shade = 0.50 + 0.55 * lit
    warmth = np.stack([0.10 * (1 - lit), -0.03 * (1 - lit), -0.05 * (1 - lit)], axis=-1)
    colour = np.array(parameters.skin, np.float32) * (shade[..., None] + warmth)
    colour += 16 * (lit[..., None] ** 14)
    rng = np.random.default_rng([parameters.texture_seed, 1])
    mottled = blur(rng.normal(0, 1, x.shape), canvas.size / 90)
    colour *= (1 + 0.10 * mottled)[..., None]
    canvas.paint(face, colour)


def _label_skin(
    points: dict[int, np.ndarray], pose: Pose, face: np.ndarray, x: np.ndarray, canvas: Canvas
) -> np.ndarray:
    """Return the label of each pixel: forehead, cheeks and jaw by the landmarks, background elsewhere."""
    labels = np.zeros(face.shape, np.uint8)
    upper = [46, 53, 52, 65, 55, 285, 295, 282, 283, 276]
    above = np.array([points[i] for i in upper])
    above = np.concatenate([[(-3, above[0, 1])], above, [(3, above[-1, 1]), (3, -3), (-3, -3)]])
    below = np.array([points[i] for i in (172, 61, 291, 397)])
    below = np.concatenate([[(-3, below[0, 1])], below, [(3, below[-1, 1]), (3, 4), (-3, 4)]])
    labels[face & (x < 0)] = LABELS["left cheek"]
    labels[face & (x >= 0)] = LABELS["right cheek"]
    labels[face & (canvas.cover(pose.place(above)) >= 0.5)] = LABELS["forehead"]
    labels[face & (canvas.cover(pose.place(below)) >= 0.5)] = LABELS["jaw"]
    glabella = np.array([points[i] for i in (55, 193, 168, 417, 285)])
    labels[face & (canvas.cover(pose.place(glabella)) >= 0.5)] = LABELS["forehead"]
    return labels


def _label_philtrum(canvas: Canvas, points: dict[int, np.ndarray], pose: Pose, labels: np.ndarray) -> None:
    """Add the skin between nose and lips to the region of the mouth."""
    between = pose.place(np.array([points[i] for i in contours.PHILTRUM]))
    skin = np.isin(labels, [LABELS[name] for name in ("left cheek", "right cheek", "jaw")])
    labels[skin & (canvas.cover(between) >= 0.5)] = LABELS["mouth"]


def _paint_flush(
    canvas: Canvas, parameters: FaceParameters, labels: np.ndarray, x: np.ndarray, y: np.ndarray
) -> None:
    """Redden the cheeks."""
    strength = 0.30 + 0.17 * parameters.features["cheek_flush"]
    ends = np.clip((0.92 - y) / 0.2, 0, 1) * (y > -0.1)
    ends *= np.maximum(np.clip((np.abs(x) - 0.50) / 0.12, 0, 1), np.clip((0.52 - y) / 0.15, 0, 1))
    for side, name in ((-1, "left cheek"), (1, "right cheek")):
        spot = blob(x, y, (0.66 * side, 0.60), (0.24, 0.20)) * ends * (labels == LABELS[name])
        canvas.tint(spot * strength, (1.06, 0.62, 0.64))


def _paint_age(canvas: Canvas, parameters: FaceParameters, pose: Pose, labels: np.ndarray) -> None:
    """Paint wrinkles on forehead and cheeks, darker for older faces."""
    age = (parameters.features["age"] + 1.2) / 3.0
    if age <= 0.05:
        return
    unit = float(np.sqrt(np.linalg.det(pose.matrix)))
    t = np.linspace(-1, 1, 12)
    lines = [np.stack([0.55 * t, level + 0.03 * np.cos(3 * t)], axis=1) for level in (-0.62, -0.76, -0.90)]
    forehead = np.max([canvas.cover_line(pose.place(line), 0.022 * unit) for line in lines], axis=0)
    canvas.tint(
        np.clip(blur(forehead, 0.012 * unit), 0, 1) * (labels == LABELS["forehead"]) * age * 0.75,
        (0.74, 0.62, 0.58),
    )
    for side, name in ((-1, "left cheek"), (1, "right cheek")):
        fold = smooth(
            np.array([(0.34, 0.62), (0.42, 0.70), (0.47, 0.79), (0.49, 0.87)]) * (side, 1), closed=False
        )
        bag = smooth(
            np.array([(0.30, 0.17), (0.42, 0.23), (0.58, 0.22), (0.70, 0.15)]) * (side, 1), closed=False
        )
        cover = canvas.cover_line(pose.place(fold), 0.035 * unit) + 0.8 * canvas.cover_line(
            pose.place(bag), 0.03 * unit
        )
        cover = np.clip(blur(cover, 0.02 * unit), 0, 1) * (labels == LABELS[name])
        canvas.tint(cover * age * 0.8, (0.76, 0.62, 0.58))


def _apply_light(canvas: Canvas, parameters: FaceParameters, x: np.ndarray, y: np.ndarray) -> None:
    """Apply exposure, a gradient of light and a tint to the image."""
    slope = 1 - 0.06 * (x * parameters.light[0] + y * parameters.light[1]) * -1
    tint = np.array([1 + parameters.warmth, 1.0, 1 - parameters.warmth], np.float32)
    canvas.pixels *= parameters.exposure * slope[..., None].astype(np.float32) * tint


def _finish_image(canvas: Canvas, parameters: FaceParameters) -> np.ndarray:
    """Return the image with noise added and rounded to 8 bits."""
    rng = np.random.default_rng([parameters.texture_seed, 2])
    grain = rng.normal(0, 2.0, (*canvas.pixels.shape[:2], 1))
    return np.clip(np.rint(canvas.pixels + grain), 0, 255).astype(np.uint8)


def _project_landmarks(points: dict[int, np.ndarray], pose: Pose) -> dict[int, tuple[float, float]]:
    """Return the landmarks in pixels, with additional depth for the tip of the nose."""
    numbers = sorted(points)
    depths = contours.head_depth(np.array([points[i] for i in numbers]))
    depths[numbers.index(1)] += 0.25
    placed = pose.place(np.array([points[i] for i in numbers]), depths)
    return {number: (float(px), float(py)) for number, (px, py) in zip(numbers, placed, strict=True)}
