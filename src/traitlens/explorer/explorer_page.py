"""Data that the explorer's page requests: description of the study, new faces, and maps of a face."""

from typing import Any, Final

import numpy as np

from traitlens.explorer.explorer_data import ExplorerData
from traitlens.explorer.face_view import FaceView, ShownFace
from traitlens.explorer.served_files import list_files
from traitlens.report.colouring import colour, data_uri, smooth
from traitlens.report.picker import describe_results, list_cues, list_ratings, ratings_of_faces
from traitlens.report.picture_rows import per_percent
from traitlens.report.wording import describe_limits

SMALL: Final = 184
"""Side length of a small map in pixels, twice its size on the page, for high-resolution screens."""
NEW_FACE: Final = (
    "A new face: each group's prediction is the mean over the study's readouts. It is more reliable "
    "the more the picture resembles those of the study in pose, light and framing."
)
HIDDEN: Final = "This face may not be published."
NAMED: Final = {
    "lrp.sequential_preset_a_flat": "Relevance propagation (the default)",
    "lrp.z_plus": "Relevance propagation, z-plus rule",
    "integrated_gradients": "Integrated gradients",
    "input_t_gradient": "Input times gradient",
    "smoothgrad": "SmoothGrad",
}
"""Labels of the most common methods; all other methods are listed under their technical names."""
LIKENESS: Final = (
    "Of 100 faces like the study's, about {share:.0f} would be as far from the nearest face of the study as "
    "this one, or farther, by the features that the readouts read."
)
BEYOND: Final = (
    "This face is farther from the study's faces than any of them is from its nearest one. The readouts have "
    "not learnt from such pictures: a prediction can be far off, and a map would explain a guess."
)


def describe_study(data: ExplorerData) -> dict[str, Any]:
    """Return the description of the study for the page.

    Returns
    -------
    dict
        Data for the face picker, with an address for each face; and the study's name, methods, limits and
        files.
    """
    results = data.results
    ratings = ratings_of_faces(results)
    named = [name for name in data.methods if name in NAMED or name == data.methods[0]]
    return describe_results(results) | {
        "folder": results.folder.as_posix(),
        "name": results.study.get("name") or results.folder.resolve().name,
        "images": [
            {
                "name": name,
                "face": f"/faces/{place}.jpg",
                "cells": ratings[name],
                "hidden": not data.may_publish(name),
            }
            for place, name in enumerate(data.images)
        ],
        "methods": {
            "named": [(name, NAMED.get(name, name)) for name in named],
            "other": [(name, name) for name in data.methods if name not in named],
        },
        "predicts": data.models is not None,
        "limits": [" ".join(limit) for limit in describe_limits(results)],
        "files": list_files(results.folder),
    }


def describe_face(data: ExplorerData, face: ShownFace, key: str) -> dict[str, Any]:
    """Return name, image and predicted ratings of a new face, with the key for requests of its maps."""
    cells = list_ratings(face.impressions, data.results)
    return {"name": face.name, "face": data_uri(face.pixels, quality=90), "cells": cells, "key": key}


def describe_maps(
    data: ExplorerData, face: ShownFace, trait: str, method: str, threshold: float, insist: bool
) -> dict[str, Any]:
    """Return the coloured maps of a face for one trait, and the most similar faces of the study.

    Parameters
    ----------
    threshold : float
        Share of the colour scale's limit below which relevance is drawn white.
    insist : bool
        Whether to compute maps even for a new face beyond the range of the study's faces.

    Returns
    -------
    dict
        Data for the face picker, the likeness of a new face, and the most similar faces with their maps.
    """
    view, groups = data.make_view(face, trait, method, insist), data.results.groups
    is_new, pair = face.fold is None, [view.maps[group] for group in groups if group in view.maps]
    cues = data.cues.get(face.name) if not is_new else None
    return {
        "face": data_uri(face.pixels, quality=90),
        "maps": [
            draw_map(view.maps[group], view.limit, threshold) if group in view.maps else None
            for group in groups
        ],
        "difference": draw_map(pair[0] - pair[1], view.limit, threshold)
        if len(pair) == len(groups) == 2
        else None,
        "limit": float(per_percent(np.full(face.pixels.shape[:2], view.limit))[0, 0]),
        "cues": None if cues is None else list_cues(cues, trait, groups),
        "note": NEW_FACE if is_new else "" if data.may_publish(face.name) else HIDDEN,
        "likeness": _describe_likeness(view, insist),
        "near": [
            [data.images.index(one.name)]
            + [
                draw_map(maps[group], view.near_limit, threshold, SMALL) if group in maps else None
                for group in groups
            ]
            for one, maps in view.near
        ],
    } | _other_command(data, face, method)


def _other_command(data: ExplorerData, face: ShownFace, method: str) -> dict[str, list[str]]:
    """Return the command that draws a face which is not among the figures of the results.

    The dictionary is empty for figures of the results; the command is empty if no command draws the face.
    """
    if face.fold is None:
        models = (data.results.folder / "models").as_posix()
        return {"command": ["traitlens", "explain", models, face.name, "--method", method]}
    is_figure = method == data.own_method and data.may_publish(face.name)
    return {} if is_figure else {"command": []}


def _describe_likeness(view: FaceView, insist: bool) -> dict[str, Any] | None:
    """Return the likeness of a new face to the study's faces, with an explanation and a warning."""
    likeness = view.likeness
    if likeness is None:
        return None
    return {
        "share": likeness.share,
        "about": LIKENESS.format(share=100 * likeness.share),
        "beyond": BEYOND if likeness.beyond else "",
        "waits": likeness.beyond and not insist,
    }


def draw_map(relevance: np.ndarray, limit: float, threshold: float = 0.0, side: int | None = None) -> str:
    """Draw a relevance map in colours, and return the image as a data URI.

    Parameters
    ----------
    relevance : ndarray (y, x)
        Relevance in rating points per pixel.
    limit : float
        Limit of the colour scale.
    threshold : float, default 0
        Share of the limit below which relevance is drawn white.
    side : int or None
        Length of the image's longer side in pixels; that of the map if None.
    """
    smoothed = smooth(relevance)
    smoothed = np.where(np.abs(smoothed) < threshold * limit, 0.0, smoothed)
    return data_uri(colour(smoothed, limit), side, quality=90)
