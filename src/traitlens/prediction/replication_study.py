"""Compare the results of a study with those of a replication."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from traitlens.artifacts import IMAGE_CUES, MODELS, PREDICTABILITY, UTILISATION
from traitlens.columns import TRAIT
from traitlens.comparison.by_study import ALPHA, compare_mean_ratings, compare_studies
from traitlens.comparison.rater_outcomes import rater_outcomes
from traitlens.prediction.new_faces import load_models, predict_new_faces
from traitlens.problems import Problem, TraitlensError
from traitlens.progress import SilentWatcher, Watcher
from traitlens.report.replication_chart import describe_replication, plot_replication
from traitlens.report.style import save_figure
from traitlens.storage import atomic_write, write_table
from traitlens.study.reading import Study


def replicate(
    first: Path,
    second: Path,
    out: Path,
    *,
    predict: bool = True,
    permutations: int = 5000,
    seed: int = 0,
    weights: Path | None = None,
    watcher: Watcher | None = None,
) -> tuple[dict[str, pd.DataFrame], Sequence[str]]:
    """Compare a study with its replication: mean ratings, predictions, and each group difference.

    Parameters
    ----------
    first, second : Path
        Folders of the original study and of the replication. Results of their runs are used if present.
    out : Path
        Folder for the tables, the figure and the summary.
    predict : bool, default True
        Whether readouts of the original study predict the faces of the replication, if there are readouts.
    permutations : int, default 5000
        Number of permutations.
    seed : int, default 0
        Seed of the random number generator.
    weights : Path or None
        File with the weights of the network; found or downloaded if None.
    watcher : Watcher or None
        Displays the progress; nothing is displayed if None.

    Returns
    -------
    tables : dict of str to DataFrame
        The tables written, by name.
    lines : sequence of str
        The summary.

    Raises
    ------
    TraitlensError
        If a study has errors or no single raters, or if the studies share no groups or traits.
    """
    watcher = watcher or SilentWatcher()
    studies = [Study.load(folder) for folder in (first, second)]
    problems = [
        Problem("has only mean ratings", "use the ratings of each rater", str(study.folder))
        for study in studies
        if not study.has_raters
    ]
    if problems:
        raise TraitlensError(problems)
    with watcher.stage("Comparing effects", 1) as advance:
        values = [(study.ratings, _read_rater_outcomes(study)) for study in studies]
        effects, patterns = compare_studies(values[0], values[1], permutations=permutations, seed=seed)
        advance(1)
    predicted = None
    readouts = MODELS.of(studies[0].folder / "results")
    if predict and readouts.exists():
        models, backbone = load_models(readouts, weights, watcher.say)
        files = {str(image): studies[1].path(image) for image in studies[1].images["image"]}
        with watcher.stage("Predicting the faces of the replication", len(files)) as advance:
            predicted = predict_new_faces(models, backbone, files, advance)
    tables = {
        "effects": effects,
        "patterns": patterns,
        "mean_ratings": compare_mean_ratings(studies[0].ratings, studies[1].ratings, predicted, seed),
    }
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table)
    names = (studies[0].settings.name or str(first), studies[1].settings.name or str(second))
    save_figure(plot_replication(effects, names), out / "replication")
    lines = describe_replication(tables, ALPHA)
    with atomic_write(out / "summary.txt") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tables, lines


def _read_rater_outcomes(study: Study) -> pd.DataFrame:
    """Return the values of each rater that are compared, with the use of regions if a run computed it."""
    results = study.folder / "results"
    if not UTILISATION.of(results).exists():
        return rater_outcomes(study.ratings)
    found = PREDICTABILITY.read(results)
    traits = found.loc[found["p"] <= ALPHA, TRAIT]
    utilisation, cues = (
        table[table[TRAIT].isin(traits)] for table in (UTILISATION.read(results), IMAGE_CUES.read(results))
    )
    return rater_outcomes(study.ratings, utilisation, cues)
