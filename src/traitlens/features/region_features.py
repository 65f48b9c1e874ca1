r"""Regional features: features of regional faces, which show one region of a face on the average face.

With the mask :math:`m_r` of a region and the average face :math:`a`, the regional face is
:math:`x_r = m_r x + (1 - m_r) a`. Its regional features are :math:`\phi_r(x) = \phi(x_r) - \phi(a)`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from traitlens.columns import REGION
from traitlens.faces.masks import feathered_masks, joined_names
from traitlens.faces.regions import Polygon, region_labels, region_names
from traitlens.features.backbone import Backbone
from traitlens.features.extraction import average_inputs, extract
from traitlens.features.feature_spaces import FeatureSpace, NetworkInputs
from traitlens.features.reference_pass import start_reference_pass
from traitlens.features.views import View


def average_face(images: Iterable[np.ndarray]) -> np.ndarray:
    """Compute the average of prepared images.

    Parameters
    ----------
    images : iterable of ndarray
        uint8 RGB (row, column, 3), all of the same size, read one at a time.

    Returns
    -------
    ndarray
        The average, rounded to an ordinary image: uint8 RGB (row, column, 3).

    Raises
    ------
    ValueError
        If there is no image.
    """
    total: np.ndarray | None = None
    count = 0
    for image in images:
        total = image.astype(np.int64) if total is None else total + image
        count += 1
    if total is None:
        raise ValueError("the average face needs at least one image")
    return np.rint(total / count).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class RegionalFaces:
    """Average face and regions, from which the regional faces of a study are made.

    Parameters
    ----------
    average : ndarray
        The average face, uint8 RGB (row, column, 3), from :func:`average_face`.
    polygons : mapping of str to sequence, optional
        Custom regions of the study, as for :func:`traitlens.faces.regions.region_labels`.
    join_sides : bool, default True
        Whether left and right regions are joined, for example to "eyes".

    Examples
    --------
    >>> RegionalFaces(np.zeros((8, 8, 3), np.uint8)).regions
    ('eyes', 'brows', 'nose', 'mouth', 'forehead', 'cheeks', 'jaw', 'background')
    """

    average: np.ndarray
    polygons: Mapping[str, Polygon] = field(default_factory=dict)
    join_sides: bool = True

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions."""
        return joined_names(region_names(self.polygons), self.join_sides)

    def masks(self, points: np.ndarray) -> xr.DataArray:
        """Compute the masks of the regions of one face.

        Parameters
        ----------
        points : ndarray (478, 2)
            Landmarks in pixels of the prepared image.

        Returns
        -------
        DataArray of float32 (region, y, x)
            Masks from :func:`traitlens.faces.masks.feathered_masks`.
        """
        labels = region_labels(points, len(self.average), self.polygons)
        return feathered_masks(labels, region_names(self.polygons), self.join_sides)

    def put_on(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Put a region of a face on the average face.

        Parameters
        ----------
        image : ndarray
            Prepared image, uint8 RGB (row, column, 3).
        mask : ndarray (row, column)
            Weight of the face, 0 to 1.

        Returns
        -------
        ndarray
            uint8 RGB (row, column, 3): the face where the mask is 1, the average face where it is 0, and
            mixtures in between.

        Examples
        --------
        >>> faces = RegionalFaces(np.zeros((1, 3, 3), np.uint8))
        >>> faces.put_on(np.full((1, 3, 3), 255, np.uint8), np.array([[0, 0.5, 1]]))[0, :, 0].tolist()
        [0, 128, 255]
        """
        weight = np.asarray(mask, np.float32)[..., None]
        mixed = weight * image.astype(np.float32) + (1 - weight) * self.average.astype(np.float32)
        return np.rint(mixed).astype(np.uint8)


class RegionalExtractor:
    """Compute regional features: features of regional faces minus features of the average face.

    Parameters
    ----------
    backbone : Backbone
        The network.
    spaces : sequence of FeatureSpace
        Feature spaces; spaces without a region are computed from the whole face.
    faces : RegionalFaces
        Average face and regions.
    views : mapping of str to View or None
        Definitions of views, beside "image"; :data:`~traitlens.features.views.FACE_VIEWS` if None.

    Raises
    ------
    TraitlensError
        If a view or a tap is unknown.
    """

    def __init__(
        self,
        backbone: Backbone,
        spaces: Sequence[FeatureSpace],
        faces: RegionalFaces,
        views: Mapping[str, View] | None = None,
    ):
        self.spaces = tuple(spaces)
        self.faces = faces
        self._backbone = backbone
        self._pictures = NetworkInputs(self.spaces, views)
        self._passes = {
            picture: start_reference_pass(
                backbone, self._pictures.cut(faces.average[None], picture)[0], layers
            )
            for picture, layers in self._pictures.taps.items()
        }
        self.base = self._extract_features(faces.average, self.spaces)

    def extract(self, image: np.ndarray, masks: xr.DataArray) -> dict[FeatureSpace, np.ndarray]:
        """Compute the regional features of one image.

        Parameters
        ----------
        image : ndarray
            Prepared image, uint8 RGB (row, column, 3).
        masks : DataArray (region, y, x)
            Masks from :meth:`RegionalFaces.masks`.

        Returns
        -------
        dict of FeatureSpace to ndarray
            Features of each space, float32 (channel, row, column); zero where the region has no effect.
        """
        found = {}
        for region in dict.fromkeys(space.region for space in self.spaces):
            mine = [space for space in self.spaces if space.region == region]
            if region:
                face = self.faces.put_on(image, masks.sel({REGION: region}).values)
                for space, values in self._extract_features(face, mine).items():
                    found[space] = values - self.base[space]
            else:
                whole = extract(self._backbone, mine, image[None], self._pictures.views)
                found |= {space: values[0] for space, values in whole.items()}
        return found

    def _extract_features(
        self, face: np.ndarray, spaces: Sequence[FeatureSpace]
    ) -> dict[FeatureSpace, np.ndarray]:
        """Compute the features of a face of which some pixels equal the average face."""
        activations = {
            picture: self._passes[picture].activations(self._pictures.cut(face[None], picture)[0])
            for picture in dict.fromkeys(picture for space in spaces for picture in space.pictures)
        }
        return {space: average_inputs(space, activations)[0] for space in spaces}
