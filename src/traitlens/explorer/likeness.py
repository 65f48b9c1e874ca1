"""Likeness of a new face to the study's faces, from the features that the readouts read."""

from dataclasses import dataclass

import numpy as np

MOST_FACES = 400
"""Maximum number of the study's faces that a new one is compared with."""


@dataclass(frozen=True)
class Likeness:
    """Distance of a new face from the study's faces, relative to their distances from one another.

    Parameters
    ----------
    distance : float
        Distance to the nearest face of the study, in units of the median such distance within the study.
    share : float
        Share of the faces, with the new one, whose nearest face is at least as far: a conformal p value. It
        is about uniform for faces drawn as the study's, and smallest if no face of the study is as far.
    beyond : bool
        Whether the new face is farther from its nearest face than any face of the study.
    """

    distance: float
    share: float
    beyond: bool


@dataclass(frozen=True, eq=False)
class FaceReference:
    """Features of the study's faces, and the distance of each to its nearest other face.

    Parameters
    ----------
    features : ndarray (face, feature)
        Features of faces of the study.
    nearest : ndarray (face,)
        Euclidean distance to the nearest face of another identity.
    """

    features: np.ndarray
    nearest: np.ndarray

    def compare(self, features: np.ndarray) -> Likeness:
        """Compare a new face with the study's.

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
    """Return the reference of a study's faces.

    Parameters
    ----------
    features : ndarray (face, feature)
        Features of each face.
    identities : sequence of str
        The person on each face; pictures of the same person are not compared.

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
    """Return squared Euclidean distances; differences to a common centre keep single precision exact."""
    centre = first.mean(0)
    first, second = first - centre, second - centre
    squares = (first**2).sum(1, dtype=float)[:, None] + (second**2).sum(1, dtype=float)[None]
    return np.maximum(squares - 2.0 * (first @ second.T).astype(float), 0.0)
