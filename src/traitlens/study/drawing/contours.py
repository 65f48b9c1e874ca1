"""Points and contours of a drawn face, in IPD, and their projection to pixels by the pose.

Points are numbered as in MediaPipe's face mesh.
"""

from dataclasses import dataclass

import numpy as np

from traitlens.study.drawing.parameters import FaceParameters

LEFT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
RIGHT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOSE_LEFT = (168, 193, 122, 174, 217, 126, 209, 129, 98, 97, 2)
NOSE_RIGHT = (168, 417, 351, 399, 437, 355, 429, 358, 327, 326, 2)
MOUTH = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
PHILTRUM = (129, 98, 2, 327, 358, 291, 267, 0, 37, 61)
LIPS_GAP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
OVAL_RIGHT = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)
OVAL_LEFT = (10, 109, 67, 103, 54, 21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)

_OVAL = (
    (0.0, -0.824),
    (0.25, -0.80),
    (0.48, -0.735),
    (0.68, -0.625),
    (0.84, -0.465),
    (0.95, -0.275),
    (1.02, -0.065),
    (1.06, 0.16),
    (1.075, 0.38),
    (1.06, 0.60),
    (1.03, 0.80),
    (0.98, 0.99),
    (0.90, 1.18),
    (0.79, 1.35),
    (0.66, 1.50),
    (0.51, 1.62),
    (0.35, 1.71),
    (0.18, 1.76),
    (0.0, 1.776),
)
_NOSE = (
    (0.0, -0.03),
    (0.12, 0.05),
    (0.13, 0.16),
    (0.14, 0.28),
    (0.16, 0.38),
    (0.22, 0.50),
    (0.28, 0.56),
    (0.31, 0.66),
    (0.22, 0.735),
    (0.10, 0.745),
    (0.0, 0.75),
)


@dataclass(frozen=True)
class Pose:
    """Position, size and rotation of a drawn face: a transform from face coordinates (IPD) to pixels.

    Parameters
    ----------
    matrix : array of shape (2, 2)
        Rotation and scale, in pixels per IPD.
    origin : array of shape (2,)
        Pixel position (x, y) of the point midway between the pupils.
    turn : float
        Sideways displacement of a point per unit of its depth.
    """

    matrix: np.ndarray
    origin: np.ndarray
    turn: float

    def place(self, points: np.ndarray, depth: float | np.ndarray | None = None) -> np.ndarray:
        """Transform points (n, 2) from IPD to pixels, with pixel centres at .5."""
        if depth is None:
            depth = head_depth(points)
        turned = points + np.stack([self.turn * depth * np.ones(len(points)), np.zeros(len(points))], axis=1)
        placed: np.ndarray = turned @ self.matrix.T + self.origin
        return placed

    def unplace(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return approximate face coordinates x and y, in IPD, of every pixel of a square image."""
        centres = np.arange(size) + 0.5
        columns, rows = np.meshgrid(centres, centres)
        pixels = np.stack([columns, rows], axis=-1) - self.origin
        points = pixels @ np.linalg.inv(self.matrix).T
        x, y = points[..., 0], points[..., 1]
        return (x - self.turn * 0.5).astype(np.float32), y.astype(np.float32)


def compute_pose(parameters: FaceParameters, size: int) -> Pose:
    """Return the pose of a face in a square image with a side of `size` pixels."""
    unit = 0.235 * size * parameters.scale
    cos, sin = np.cos(parameters.roll), np.sin(parameters.roll)
    origin = size * np.array([0.5, 0.45]) + unit * np.array(parameters.shift)
    return Pose(unit * np.array([[cos, -sin], [sin, cos]]), origin, parameters.turn)


def head_depth(points: np.ndarray) -> np.ndarray:
    """Return the depth of the head without the nose at points (n, 2), in IPD from the ears to the viewer."""
    squares = (points[:, 0] / 1.15) ** 2 + ((points[:, 1] - 0.35) / 1.9) ** 2
    return 0.8 * np.sqrt(np.clip(1 - squares, 0, None))


def compute_landmarks(parameters: FaceParameters) -> dict[int, np.ndarray]:
    """Compute the landmarks of a face from its parameters.

    Returns
    -------
    dict
        (x, y) in IPD, before the pose is applied, keyed by number in MediaPipe's face mesh.
    """
    f = parameters.features
    points: dict[int, np.ndarray] = {}
    for side, numbers in ((-1, OVAL_LEFT), (1, OVAL_RIGHT)):
        points.update(zip(numbers, _outline_oval(f) * (side, 1), strict=True))
    for side, nose in ((-1, NOSE_LEFT), (1, NOSE_RIGHT)):
        points.update(zip(nose, _outline_nose(f) * (side, 1), strict=True))
    length = 0.75 * (1 + 0.07 * f["nose_length"])
    points[1] = np.array([0.0, 0.86 * length])
    for side, eye, brow, pupil in ((-1, LEFT_EYE, LEFT_BROW, 468), (1, RIGHT_EYE, RIGHT_BROW, 473)):
        centre = np.array([0.5 * (1 + 0.045 * f["eye_spacing"]), 0.0])
        points.update(zip(eye, (_outline_eye(f) + centre) * (side, 1), strict=True))
        points.update(zip(brow, (_outline_brow(f) + centre) * (side, 1), strict=True))
        points[pupil] = centre * (side, 1)
    outer, gap = _outline_mouth(f)
    points.update(zip(MOUTH, outer, strict=True))
    points.update(zip(LIPS_GAP, gap, strict=True))
    return points


def smooth(points: np.ndarray, steps: int = 6, closed: bool = True) -> np.ndarray:
    """Return points on a Catmull-Rom curve through points (n, 2), `steps` for each segment."""
    points = np.asarray(points, dtype=float)
    if not closed:
        points = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
        before, start, end, after = points[:-3], points[1:-2], points[2:-1], points[3:]
    else:
        before, start = np.roll(points, 1, axis=0), points
        end, after = np.roll(points, -1, axis=0), np.roll(points, -2, axis=0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (part[:, None, :] for part in (before, start, end, after))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-2:-1]])


def _smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values rising smoothly from 0 at `low` to 1 at `high` (cubic smoothstep)."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _outline_oval(f: dict[str, float]) -> np.ndarray:
    """Return the right half of the outline of the face, from the top to the chin."""
    x, y = np.array(_OVAL).T
    jaw = _smoothstep(y, 0.3, 1.2)
    x = x * (1 + 0.04 * f["face_width"]) * (1 + 0.10 * f["jaw_width"] * jaw)
    # A wide jaw is also square, with its corner further down and out.
    y = y + 0.035 * f["jaw_width"] * jaw * np.clip(x, 0, 1)
    y = y + 0.06 * f["chin_length"] * _smoothstep(y, 0.9, 1.7)
    return np.stack([x, y], axis=1)


def _outline_nose(f: dict[str, float]) -> np.ndarray:
    """Return the right half of the outline of the nose, from the root to the base."""
    x, y = np.array(_NOSE).T
    wider = 1 + 0.21 * f["nose_width"] * (0.3 + 0.7 * _smoothstep(y, 0.1, 0.6))
    return np.stack([x * wider, y * (1 + 0.07 * f["nose_length"])], axis=1)


def _outline_eye(f: dict[str, float]) -> np.ndarray:
    """Return the outline of the right eye: outer corner, upper lid, inner corner, lower lid."""
    width = 0.215 * (1 + 0.08 * f["eye_size"])
    opening = (1 + 0.10 * f["eye_size"]) * (1 + 0.34 * f["eye_openness"])
    t = np.linspace(0, 1, 9)
    x = width * np.cos(np.pi * t) * (1 - 0.06 * np.sin(np.pi * t))
    base = 0.025 * (2 * t - 1) + 0.012 - 0.02 * f["eye_tilt"] * (1 - 2 * t)
    arch = np.sin(np.pi * t) ** 0.9
    upper = base - 0.098 * opening * arch
    lower = base + 0.058 * opening**0.6 * arch
    return np.concatenate([np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)[-2:0:-1]])


def _outline_brow(f: dict[str, float]) -> np.ndarray:
    """Return the outline of the right brow: upper edge from the outside inwards, then lower edge."""
    t = np.linspace(1, 0, 5)  # 0 inside, 1 outside
    x = -0.27 + 0.57 * t
    arch = 0.09 * np.sin(np.pi * np.clip(t, 0, 1) ** 1.4) - 0.03 * t
    tilt = 0.085 * f["brow_tilt"] * (1 - t) - 0.035 * f["brow_tilt"] * t
    middle = -0.335 - 0.03 * f["brow_height"] - arch + tilt
    half = 0.05 * (1 + 0.48 * f["brow_thickness"]) * np.array([0.35, 0.75, 1.0, 1.0, 0.85])
    upper, lower = np.stack([x, middle - half], axis=1), np.stack([x, middle + half], axis=1)
    return np.concatenate([upper, lower[::-1]])


def _outline_mouth(f: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the outline of the lips, and the outline of the gap between them."""
    smile = f["smile"]
    half = 0.385 * (1 + 0.08 * f["mouth_width"] + 0.08 * smile)
    centre = 1.10 + 0.03 * f["nose_length"] + 0.02 * f["chin_length"]
    t = np.linspace(-1, 1, 11)
    bow = np.interp(np.abs(t), [0, 0.2, 0.4, 0.6, 0.8, 1], [0.88, 1.0, 0.86, 0.62, 0.34, 0])
    belly = (1 - np.abs(t) ** 2.2) * 1.0
    line = -0.065 * (smile + 0.25) * (np.abs(t) ** 1.8 - 0.35)
    full = 1 + 0.30 * f["lip_fullness"]
    open_by = 0.075 * np.clip(smile - 0.2, 0, None) ** 0.8  # a broad smile shows teeth
    arch = 1 - np.abs(t) ** 2
    upper = centre + line - 0.095 * full * bow - 0.35 * open_by * arch
    lower = centre + line + 0.135 * full * belly + 0.65 * open_by * arch
    inside = 0.94 * t
    gap_top = centre + line - 0.35 * open_by * arch
    gap_bottom = centre + line + 0.004 * arch + 0.65 * open_by * arch
    outer = np.concatenate([_stack_points(half * t, upper), _stack_points(half * t, lower)[-2:0:-1]])
    gap = np.concatenate(
        [_stack_points(half * inside, gap_top), _stack_points(half * inside, gap_bottom)[-2:0:-1]]
    )
    return outer, gap


def _stack_points(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Stack x and y coordinates as points (n, 2)."""
    return np.stack([x, y], axis=1)
