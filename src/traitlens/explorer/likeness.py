"""Likeness of a new face to the study's faces, measured in the features that the readouts use."""

from dataclasses import dataclass

import numpy as np

MOST_FACES = 400
"""Maximum number of the study's faces with which a new face is compared."""


@dataclass(frozen=True)
class Likeness:
    """Distance of a new face from the study's faces, relative to their distances from one another.

    Parameters
    ----------
    distance : float
        Distance to the nearest face of the study, divided by the median nearest-face distance in the study.
    share : float
        Conformal p value: the share of faces, including the new one, whose nearest face is at least as far
        as that of the new one. About uniform for faces from the same population as the study's.
    beyond : bool
        Whether the new face is farther from its nearest face than every face of the study.
    """

    distance: float
    share: float
    beyond: bool


@dataclass(frozen=True, eq=False)
class FaceReference:
    """Features of the study's faces, and the distance of each face to the nearest other person's face.

    Parameters
    ----------
    features : ndarray (face, feature)
        Features of faces of the study.
    nearest : ndarray (face,)
        Euclidean distance of each face to the nearest face of another identity.
    """

    features: np.ndarray
    nearest: np.ndarray

    def compare(self, features: np.ndarray) -> Likeness:
        """Compare a new face with the study's faces by its distance to the nearest one.

        Parameters
        ----------
        features : ndarray (feature,)
            Features of the new face.

        References
        ----------
        Laxhammar, R., & Falkman, G. (2010). Conformal prediction for distribution-independent anomaly
        detection in streaming vessel data. StreamKDD, 47-55.

        Examples
        --------
        >>> reference = make_reference(np.array([[0.0], [1.0], [2.0]]), ["a", "b", "c"])
        >>> reference.compare(np.array([1.5])).beyond, reference.compare(np.array([9.0])).beyond
        (False, True)
        """
        distance = float(np.sqrt(np.min(_squared_distances(self.features, features[None]))))
        middle = float(np.median(self.nearest))
        farther = int((self.nearest >= distance).sum())
        share = (farther + 1) / (len(self.nearest) + 1)
        return Likeness(distance / middle if middle > 0 else float("inf"), share, farther == 0)


def make_reference(features: np.ndarray, identities: "list[str] | np.ndarray") -> FaceReference:
    """Compute the distance of each face of a study to the nearest other person's face.

    Parameters
    ----------
    features : ndarray (face, feature)
        Features of each face.
    identities : sequence of str
        Identity of the person on each image; images of the same person are not compared.

    Raises
    ------
    ValueError
        If there are fewer than two persons.
    """
    features = np.asarray(features, np.float32)
    names = np.asarray(identities)
    squared = _squared_distances(features, features)
    squared[names[:, None] == names[None]] = np.inf
    nearest = np.sqrt(squared.min(1))
    if not np.isfinite(nearest).all():
        raise ValueError("a reference needs faces of two persons")
    return FaceReference(features, nearest)


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances; features are centred first to limit errors of single precision."""
    centre = first.mean(0)
    first, second = first - centre, second - centre
    squares = (first**2).sum(1, dtype=float)[:, None] + (second**2).sum(1, dtype=float)[None]
    return np.maximum(squares - 2.0 * (first @ second.T).astype(float), 0.0)
