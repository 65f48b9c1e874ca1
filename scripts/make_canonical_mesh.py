"""Compute the canonical mesh that is part of traitlens, as the average mesh of many frontal faces.

Developers run this script once, on a folder of frontal faces (3DSK, CC BY 4.0, doi:10.17605/OSF.IO/A3947)::

    python scripts/make_canonical_mesh.py 3dsk src/traitlens/faces/models/canonical_mesh.npz
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from traitlens.faces.detection import detect_landmarks
from traitlens.faces.frames import CANONICAL_SIZE, apply_affine, to_canonical
from traitlens.faces.images import load_image


def main(folder: Path, target: Path) -> None:
    """Average the meshes, find the mirror point of each point, and make the average symmetric."""
    meshes = []
    for path in sorted(folder.rglob("*.jpg")):
        points = detect_landmarks(load_image(path)).points
        if points is None:
            raise SystemExit(f"{path}: no face was found")
        meshes.append(apply_affine(to_canonical(points), points))
    mean = np.mean(meshes, axis=0)
    mirrored = np.array([CANONICAL_SIZE, 0]) + mean * np.array([-1, 1])
    _, twins = linear_sum_assignment(cdist(mean, mirrored))
    assert (twins[twins] == np.arange(len(twins))).all(), "twins must be mutual"
    symmetric = (mean + mirrored[twins]) / 2
    print(f"{len(meshes)} faces; largest move by symmetry {np.abs(symmetric - mean).max():.2f}")
    with zipfile.ZipFile(target, "w") as archive:
        for key, array in (("points", symmetric.astype(np.float32)), ("twins", twins.astype(np.int16))):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), buffer.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
