"""Import of the 3DSK face set (DeBruine & Jones 2020): 100 faces, 100,000 ratings, manual landmarks."""

from pathlib import Path

import pandas as pd

from traitlens.columns import GROUP, IDENTITY, IMAGE, MAY_PUBLISH, POINT, RATER, RATING, TRAIT, X, Y
from traitlens.problems import Problem, StudyError, nearest
from traitlens.progress import Watcher
from traitlens.study.new_study import copy_images, new_study, settings_text, write_tables
from traitlens.study.reading import Study
from traitlens.study.tables import find_missing_columns, read_table

TRAITS = {
    "att": "attractive",
    "trust": "trustworthy",
    "dom": "dominant",
    "health": "healthy",
    "sexdim": "sex-typical",
}
"""Name in the study for each trait of the dataset; "sexdim" is how masculine a man's and how feminine a
woman's face looks."""

MESH_POINTS = {
    0: "468",
    1: "473",
    18: "33",
    22: "133",
    23: "362",
    27: "263",
    87: "61",
    93: "291",
    90: "0",
    106: "17",
    55: "2",
    62: "129",
    67: "358",
    129: "152",
}
"""Point of the face mesh for points of the set's templates (counted from 0): pupils, corners of eyes and
mouth, lips, base and wings of the nose, chin."""

_COLUMNS = ("face_id", "face_gender", "face_age", "rater_id", "rater_gender", "trait", "rating")


_SMALL_STUDY = """
# A hundred identities are few: mirror images help, and more folds leave more faces for fitting.
[readout]
mirror = true
"""

_AGE = """
# Ratings and relevance are tested against the raters' age as well.
[comparison]
variables = ["rater_age"]
"""


def import_3dsk(
    source: str | Path,
    out: str | Path,
    groups: str = "rater_gender",
    watcher: Watcher | None = None,
) -> Study:
    """Create a study from the 3DSK face set.

    Parameters
    ----------
    source : str or Path
        Folder with `ratings.csv` and, at any depth, an image and a `.tem` template for each face.
    out : str or Path
        The folder of the new study; must be empty if it exists.
    groups : str, default "rater_gender"
        Column of the set's `ratings.csv` with the groups of raters.
    watcher : Watcher, optional
        Shows the progress.

    Returns
    -------
    Study
        The new study, checked.

    Raises
    ------
    StudyError
        With every error in the source.

    References
    ----------
    DeBruine, L. M. & Jones, B. C. (2020). 3DSK face set with webmorph templates. doi:10.17605/OSF.IO/A3947
    (CC BY 4.0).

    Examples
    --------
    >>> study = import_3dsk("data/3dsk", "mystudy")  # doctest: +SKIP
    """
    source, out = Path(source), Path(out)
    table = _read_ratings(source / "ratings.csv", groups)
    faces = table.drop_duplicates("face_id").sort_values("face_id", ignore_index=True)
    files = _find_files(source, list(faces["face_id"]))
    names = {
        face: f"{gender}/{files[face].name}" for face, gender in faces[["face_id", "face_gender"]].to_numpy()
    }
    images = pd.DataFrame(
        {
            IMAGE: faces["face_id"].map(names),
            IDENTITY: faces["face_id"],
            "face_gender": faces["face_gender"],
            "face_age": faces["face_age"],
            MAY_PUBLISH: True,
        }
    )
    ratings = pd.DataFrame(
        {
            RATER: table["rater_id"],
            GROUP: table[groups],
            IMAGE: table["face_id"].map(names),
            TRAIT: table["trait"].map(TRAITS).fillna(table["trait"]),
            RATING: table["rating"],
        }
    )
    further = [
        name for name in table.columns if name.startswith("rater_") and name not in ("rater_id", groups)
    ]
    ratings = ratings.join(table[further])
    found = set(ratings[TRAIT])
    settings = settings_text(
        "3DSK",
        "100 faces of the 3DSK set, rated by men and women. Images: DeBruine & Jones 2020, "
        "doi:10.17605/OSF.IO/A3947, licence CC BY 4.0 (cite them with every figure).",
        groups=sorted(set(ratings[GROUP])),
        traits=[name for name in TRAITS.values() if name in found] + sorted(found - set(TRAITS.values())),
        scale=(1, 7),
        folds={"number": min(10, ratings[IMAGE].nunique() // 2)},
    )
    tables = {"images": images.sort_values(IMAGE), "ratings": ratings}
    templates = {names[face]: file.with_suffix(".tem") for face, file in files.items()}
    if all(template.exists() for template in templates.values()):
        tables["landmarks"] = pd.concat([_read_template(file, name) for name, file in templates.items()])
    with new_study(out) as folder:
        write_tables(folder, tables)
        (folder / "study.toml").write_text(
            settings + _SMALL_STUDY + (_AGE if "rater_age" in further else ""), encoding="utf-8"
        )
        copy_images(folder, {names[face]: file for face, file in files.items()}, watcher)
    return Study.load(out)


def _read_ratings(path: Path, groups: str) -> pd.DataFrame:
    """Read the ratings of the set, and raise an error if a column is missing."""
    if not path.exists():
        advice = "name the folder of the 3DSK set, with ratings.csv and the images"
        raise StudyError(Problem("is missing", advice, str(path)))
    table, problems = read_table(path)
    if table is not None:
        problems = find_missing_columns(table, [*_COLUMNS, groups], path.name)
    if problems or table is None:
        raise StudyError(problems)
    return table


def _find_files(source: Path, faces: list[str]) -> dict[str, Path]:
    """Return the image file of each face below the source, ignoring the ._ files of macOS."""
    found = {
        path.stem: path
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in (".jpg", ".jpeg", ".png") and not path.name.startswith(".")
    }
    problems = []
    for face in faces:
        if face not in found:
            near = nearest(face, found)
            advice = f"nearest: {', '.join(near)}" if near else "complete the copy of the set"
            problems.append(Problem(f"there is no image of face {face!r}", advice, str(source)))
    if problems:
        raise StudyError(problems)
    return {face: found[face] for face in faces}


def _read_template(path: Path, image: str) -> pd.DataFrame:
    """Read the landmarks of an image from a WebMorph template.

    The first line of the file is the number of points, each further line x and y of a point in pixels.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        number = int(lines[0])
        places = [tuple(float(part) for part in line.split()[:2]) for line in lines[1 : number + 1]]
        rows = [(image, mesh, *places[point]) for point, mesh in MESH_POINTS.items()]
    except (OSError, ValueError, IndexError) as error:
        raise StudyError(
            Problem(f"is not a WebMorph template ({error})", "complete the copy of the set", path.name)
        ) from error
    return pd.DataFrame(rows, columns=[IMAGE, POINT, X, Y])
