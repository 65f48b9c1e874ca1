"""Parameters of drawn faces: those of an identity, and those that vary between its images."""

from dataclasses import dataclass, field

import numpy as np

PARTS: dict[str, dict[str, float]] = {
    "eyes": {"eye_size": 0.5, "eye_openness": 0.866},
    "brows": {"brow_thickness": 0.5, "brow_tilt": 0.866},
    "nose": {"nose_width": 1.0},
    "mouth": {"smile": 0.866, "lip_fullness": 0.5},
    "cheeks": {"cheek_flush": 1.0},
    "jaw": {"jaw_width": 1.0},
}
"""Parts that ratings depend on, and the weights of features in a part's score (unit variance)."""

WITHIN_IDENTITY: dict[str, float] = {
    "eye_openness": 0.75,
    "brow_tilt": 0.75,
    "smile": 0.75,
    "cheek_flush": 0.6,
    "jaw_width": 0.15,
    "nose_width": 0.3,
}
"""Share of a feature's variance between images of one identity; 0 for other features."""

FEATURES = (
    "eye_size",
    "eye_openness",
    "eye_spacing",
    "eye_tilt",
    "brow_thickness",
    "brow_tilt",
    "brow_height",
    "nose_width",
    "nose_length",
    "mouth_width",
    "lip_fullness",
    "smile",
    "cheek_flush",
    "jaw_width",
    "chin_length",
    "face_width",
    "age",
)
"""Features with mean 0 and variance 1 over the population of drawn faces."""

SKIN_TONES = (
    (247, 218, 196),
    (241, 202, 172),
    (232, 186, 150),
    (214, 163, 122),
    (190, 138, 99),
    (158, 109, 76),
    (122, 82, 58),
    (92, 61, 45),
)
HAIR_COLOURS = (
    (30, 24, 22),
    (58, 38, 27),
    (88, 58, 38),
    (124, 82, 48),
    (176, 134, 84),
    (214, 182, 128),
    (140, 66, 36),
    (92, 90, 92),
)
IRIS_COLOURS = ((84, 56, 34), (52, 34, 24), (110, 122, 74), (86, 118, 146), (120, 138, 148), (128, 92, 48))
HAIR_STYLES = ("cropped", "short", "bob", "long", "curly")


@dataclass(frozen=True)
class FaceParameters:
    """Parameters of a drawn face.

    Parameters
    ----------
    features : dict
        A number for each of :data:`FEATURES`: mean 0, variance 1 over the population.
    skin, hair, iris, clothes, backdrop : (float, float, float)
        Colours, 0 to 255.
    hair_style : str
        One of :data:`HAIR_STYLES`.
    parting : float
        Position of the parting, -1 (left) to 1 (right).
    hair_volume : float
        Thickness of the hair in IPD.
    shift : (float, float)
        Displacement of the head in IPD.
    roll, turn : float
        Rotation in the picture's plane in radians; turn to the side (share of the head's depth).
    scale : float
        Enlargement of the head.
    light : (float, float, float)
        Direction towards the light (x, y, z), of length 1.
    warmth, exposure : float
        Tint and brightness of the light.
    texture_seed : int
        Seed of the hair's strands and of the picture's grain.
    """

    features: dict[str, float]
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    clothes: tuple[float, float, float]
    backdrop: tuple[float, float, float]
    hair_style: str = "short"
    parting: float = 0.0
    hair_volume: float = 0.3
    shift: tuple[float, float] = (0.0, 0.0)
    roll: float = 0.0
    turn: float = 0.0
    scale: float = 1.0
    light: tuple[float, float, float] = field(default=(-0.35, -0.5, 0.79))
    warmth: float = 0.0
    exposure: float = 1.0
    texture_seed: int = 0


def draw_parameters(seed: int, identity: int, image: int) -> FaceParameters:
    """Draw the parameters of one image of one identity.

    Returns
    -------
    FaceParameters
        Parameters that depend on these three numbers only.
    """
    looks = np.random.default_rng([seed, 1, identity])
    moment = np.random.default_rng([seed, 2, identity, image])
    stable, passing = _spread(looks, len(FEATURES)), _spread(moment, len(FEATURES))
    within = np.array([WITHIN_IDENTITY.get(name, 0.0) for name in FEATURES])
    values = np.sqrt(1 - within) * stable + np.sqrt(within) * passing
    features = dict(zip(FEATURES, values.tolist(), strict=True))

    tone = looks.uniform(0, len(SKIN_TONES) - 1)
    skin = _between(SKIN_TONES, tone) + looks.normal(0, 3, 3)
    hair = np.array(HAIR_COLOURS[looks.integers(len(HAIR_COLOURS))]) * looks.uniform(0.85, 1.15)
    if tone > 4:  # dark skin is combined with dark hair and eyes
        hair = np.array(HAIR_COLOURS[looks.integers(3)]) * 0.9
    grey = np.clip((features["age"] - 0.6) / 1.2, 0, 0.8)
    hair = (1 - grey) * hair + grey * np.array((178, 176, 174))
    iris = np.array(IRIS_COLOURS[looks.integers(2 if tone > 4 else len(IRIS_COLOURS))])
    light = np.array([moment.uniform(-0.6, 0.6), moment.uniform(-0.65, -0.15), 0.8])
    return FaceParameters(
        features=features,
        skin=_colour(skin),
        hair=_colour(hair),
        iris=_colour(iris * looks.uniform(0.85, 1.15)),
        hair_style=HAIR_STYLES[looks.integers(len(HAIR_STYLES))],
        parting=float(looks.uniform(-0.7, 0.7)),
        hair_volume=float(looks.uniform(0.16, 0.42)),
        clothes=_colour(_muted(moment)),
        backdrop=_colour(_muted(moment) * 0.5 + moment.uniform(80, 125)),
        shift=(float(moment.normal(0, 0.05)), float(moment.normal(0, 0.05))),
        roll=float(np.radians(moment.normal(0, 2.5))),
        turn=float(np.clip(moment.normal(0, 0.06), -0.14, 0.14)),
        scale=float(moment.uniform(0.94, 1.06)),
        light=_colour(light / np.linalg.norm(light)),
        warmth=float(moment.normal(0, 0.03)),
        exposure=float(moment.uniform(0.9, 1.08)),
        texture_seed=int(looks.integers(2**31)),
    )


def score_parts(parameters: FaceParameters) -> dict[str, float]:
    """Compute the scores of the parts of a face, on which simulated ratings depend.

    Returns
    -------
    dict
        A score for each of :data:`PARTS`: mean 0, variance 1 over the population.
    """
    return {
        part: sum(weight * parameters.features[name] for name, weight in mixture.items())
        for part, mixture in PARTS.items()
    }


def _spread(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw uniform numbers of mean 0 and variance 1."""
    return rng.uniform(-np.sqrt(3), np.sqrt(3), count)


def _between(colours: tuple[tuple[int, int, int], ...], place: float) -> np.ndarray:
    """Interpolate between colours."""
    low = int(place)
    high = min(low + 1, len(colours) - 1)
    return (1 - place + low) * np.array(colours[low]) + (place - low) * np.array(colours[high])


def _muted(rng: np.random.Generator) -> np.ndarray:
    """Draw a muted colour."""
    grey = rng.uniform(50, 200)
    return np.clip(grey + rng.normal(0, 28, 3), 20, 235)


def _colour(values: np.ndarray) -> tuple[float, float, float]:
    """Convert a colour to three floats."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
