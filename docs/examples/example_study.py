"""The study that the examples share: real faces where they are at hand, else drawn ones."""

import os
from dataclasses import replace
from pathlib import Path

from traitlens.study.import_3dsk import import_3dsk
from traitlens.study.reading import Study
from traitlens.study.simulated_study import simulate_study

HERE = Path(__file__).parent
BUILT = HERE.parent / "_build" / "example_study"
SIDE = 112
"""Small images, so that the documentation is built in minutes."""


def find_3dsk() -> Path | None:
    """Find a copy of the 3DSK set: where TRAITLENS_3DSK points, or beside the checkout."""
    places = [os.environ.get("TRAITLENS_3DSK"), HERE.parents[2] / "shared" / "data" / "3dsk"]
    return next((Path(place) for place in places if place and (Path(place) / "ratings.csv").is_file()), None)


def load_example() -> Study:
    """Make the study where it is not there yet, and load it: two groups of raters, two traits."""
    source = find_3dsk()
    folder = BUILT / ("3dsk" if source else "drawn")
    if not (folder / "study.toml").exists():
        if source:
            import_3dsk(source, folder)
        else:
            simulate_study(folder, identities=30, images=2, traits=2)
    study = Study.load(folder)
    traits = study.traits[:2]
    settings = study.settings.model_copy(
        update={
            "traits": tuple(traits),
            "faces": study.settings.faces.model_copy(update={"size": SIDE}),
        }
    )
    ratings = study.ratings[study.ratings["trait"].isin(traits)]
    return replace(study, settings=settings, ratings=ratings)
