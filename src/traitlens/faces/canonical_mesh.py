"""The canonical face mesh: a mean face shape, with the mirror counterpart of each point."""

import functools
import io
from dataclasses import dataclass
from importlib import resources

import numpy as np


@dataclass(frozen=True)
class CanonicalMesh:
    """The symmetrised mean of the meshes of 100 frontal faces.

    Parameters
    ----------
    points : ndarray (478, 2)
        x and y in the canonical frame of 512 x 512 pixels.
    twins : ndarray (478,) of int
        Index of each point's mirror counterpart.
    """

    points: np.ndarray
    twins: np.ndarray


@functools.cache
def canonical_mesh() -> CanonicalMesh:
    """Return the canonical mesh, which is read from the package at the first call.

    Examples
    --------
    >>> mesh = canonical_mesh()
    >>> mesh.points.shape, int(mesh.twins[61])
    ((478, 2), 291)
    """
    content = (resources.files("traitlens.faces") / "models" / "canonical_mesh.npz").read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        mesh = CanonicalMesh(arrays["points"].astype(float), arrays["twins"].astype(int))
    mesh.points.setflags(write=False)
    mesh.twins.setflags(write=False)
    return mesh
