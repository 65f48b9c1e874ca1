"""Parameters of drawn faces, random for each identity and for each of its images."""

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
"""Parts of the face that simulated ratings depend on, with the weight of each feature in the part's score.

The squared weights of a part sum to 1, so that its score has variance 1."""

WITHIN_IDENTITY: dict[str, float] = {
    "eye_openness": 0.75,
    "brow_tilt": 0.75,
    "smile": 0.75,
    "cheek_flush": 0.6,
    "jaw_width": 0.15,
    "nose_width": 0.3,
}
"""Share of a feature's variance that is between images of one identity; 0 for other features."""

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
"""Names of the features of a face, each with mean 0 and variance 1 over the population of drawn faces."""

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
        Value of each of :data:`FEATURES`, with mean 0 and variance 1 over the population of drawn faces.
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
        Rotation in the image plane in radians; turn to the side, as a share of the depth of the head.
    scale : float
        Enlargement of the head.
    light : (float, float, float)
        Unit vector (x, y, z) that points to the light.
    warmth, exposure : float
        Tint (above 0 reddish, below 0 bluish) and brightness of the light.
    texture_seed : int
        Seed of the random texture of skin, brows and hair and of the noise of the image.
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
    """Draw random parameters for one image of one identity.

    Parameters
    ----------
    seed : int
        Seed of the random number generators.
    identity, image : int
        Numbers of the identity and of its image; images of one identity look alike.

    Returns
    -------
    FaceParameters
        The parameters; the same three numbers give the same parameters.
    """
    looks = np.random.default_rng([seed, 1, identity])
    moment = np.random.default_rng([seed, 2, identity, image])
    stable, passing = _draw_uniform(looks, len(FEATURES)), _draw_uniform(moment, len(FEATURES))
    within = np.array([WITHIN_IDENTITY.get(name, 0.0) for name in FEATURES])
    values = np.sqrt(1 - within) * stable + np.sqrt(within) * passing
    features = dict(zip(FEATURES, values.tolist(), strict=True))

    tone = looks.uniform(0, len(SKIN_TONES) - 1)
    skin = _interpolate_colours(SKIN_TONES, tone) + looks.normal(0, 3, 3)
    hair = np.array(HAIR_COLOURS[looks.integers(len(HAIR_COLOURS))]) * looks.uniform(0.85, 1.15)
    if tone > 4:  # dark skin is combined with dark hair and eyes
        hair = np.array(HAIR_COLOURS[looks.integers(3)]) * 0.9
    grey = np.clip((features["age"] - 0.6) / 1.2, 0, 0.8)
    hair = (1 - grey) * hair + grey * np.array((178, 176, 174))
    iris = np.array(IRIS_COLOURS[looks.integers(2 if tone > 4 else len(IRIS_COLOURS))])
    light = np.array([moment.uniform(-0.6, 0.6), moment.uniform(-0.65, -0.15), 0.8])
    return FaceParameters(
        features=features,
        skin=_to_tuple(skin),
        hair=_to_tuple(hair),
        iris=_to_tuple(iris * looks.uniform(0.85, 1.15)),
        hair_style=HAIR_STYLES[looks.integers(len(HAIR_STYLES))],
        parting=float(looks.uniform(-0.7, 0.7)),
        hair_volume=float(looks.uniform(0.16, 0.42)),
        clothes=_to_tuple(_draw_muted_colour(moment)),
        backdrop=_to_tuple(_draw_muted_colour(moment) * 0.5 + moment.uniform(80, 125)),
        shift=(float(moment.normal(0, 0.05)), float(moment.normal(0, 0.05))),
        roll=float(np.radians(moment.normal(0, 2.5))),
        turn=float(np.clip(moment.normal(0, 0.06), -0.14, 0.14)),
        scale=float(moment.uniform(0.94, 1.06)),
        light=_to_tuple(light / np.linalg.norm(light)),
        warmth=float(moment.normal(0, 0.03)),
        exposure=float(moment.uniform(0.9, 1.08)),
        texture_seed=int(looks.integers(2**31)),
    )


def score_parts(parameters: FaceParameters) -> dict[str, float]:
    """Compute the scores of the parts of a face, on which simulated ratings depend.

    Returns
    -------
    dict
        Score of each of :data:`PARTS`, with mean 0 and variance 1 over the population of drawn faces.
    """
    return {
        part: sum(weight * parameters.features[name] for name, weight in mixture.items())
        for part, mixture in PARTS.items()
    }


def _draw_uniform(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw uniformly distributed numbers with mean 0 and variance 1."""
    return rng.uniform(-np.sqrt(3), np.sqrt(3), count)


def _interpolate_colours(colours: tuple[tuple[int, int, int], ...], place: float) -> np.ndarray:
    """Interpolate linearly in a list of colours at a fractional position."""
    low = int(place)
    high = min(low + 1, len(colours) - 1)
    return (1 - place + low) * np.array(colours[low]) + (place - low) * np.array(colours[high])


def _draw_muted_colour(rng: np.random.Generator) -> np.ndarray:
    """Draw a random colour of low saturation."""
    grey = rng.uniform(50, 200)
    return np.clip(grey + rng.normal(0, 28, 3), 20, 235)


def _to_tuple(values: np.ndarray) -> tuple[float, float, float]:
    """Convert an array of shape (3,) to a tuple of floats."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
