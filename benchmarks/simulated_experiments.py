"""Measure error rates and power of simulated experiments with drawn faces and known effects.

Usage: python benchmarks/simulated_experiments.py FOLDER [--experiments 100] [--readouts]

With --readouts, effects are also predicted by readouts of a simulated study of 200 drawn faces, which are
fitted once to the ratings and once to ratings permuted between identities. Without this option no network is
needed.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, PREDICTED, RATING, TRAIT
from traitlens.experiment.agreement import join_predictions, measure_agreement
from traitlens.experiment.counterbalancing import counterbalanced_lists
from traitlens.experiment.effects import estimate_effects
from traitlens.experiment.experiment_folder import ExperimentDesign
from traitlens.experiment.simulated_experiments import (
    FIRST_BASE,
    draw_experiment,
    expected_power,
    planted_effects,
    simulate_ratings,
)
from traitlens.experiment.trials import join_trials
from traitlens.study.drawing.face import draw_face
from traitlens.study.drawing.parameters import PARTS, draw_parameters, score_parts
from traitlens.study.simulated_raters import (
    GROUPS,
    RatingBehaviour,
    make_part_weights,
    simulate_group_ratings,
)

TRAITS = ["warm"]
CONDITIONS = [(0.0, 1), (0.0, None), (0.4, 1), (0.4, None), (0.6, 1), (0.6, None)]
BEHAVIOUR = RatingBehaviour()


def count(difference, versions, experiments, permutations=199):
    """Simulate experiments with 2 x 40 raters, 12 base faces and 6 regions; return error rates and power."""
    drawn = draw_experiment(bases=12, seed=1)
    pictures = drawn.repeat_for_traits(TRAITS)
    lists = counterbalanced_lists(pictures, versions, seed=1)
    planted = planted_effects(TRAITS, list(PARTS), difference, BEHAVIOUR)
    wide = planted.pivot_table("effect", "region", GROUP)
    apart = (wide[GROUPS[0]] - wide[GROUPS[1]]).abs()
    rows = []
    for number in range(experiments):
        ratings = simulate_ratings(drawn, lists, difference, 40, seed=number)
        found = estimate_effects(join_trials(ratings, pictures), GROUPS, permutations, number)
        agreement = measure_agreement(join_predictions(found.effects, planted)).set_index("quantity")
        p = found.differences.set_index("region")["p"]
        there = apart[apart > 1e-9].index
        rows.append(
            {
                "r": agreement["r"]["effects"],
                "slope": agreement["slope"]["effects"],
                "any": bool((p < 0.05).any()),
                "power": float((p[there] < 0.05).mean()) if len(there) else np.nan,
                "wrong": bool((p.drop(there) < 0.05).any()),
            }
        )
    table = pd.DataFrame(rows).astype(float)
    squares = float((pictures["step"] ** 2).groupby(pictures["region"]).sum().mean())
    squares *= 1 if versions is None else versions / (2 * len(PARTS))
    found = table.mean().to_dict() | {"lowest r": table["r"].min()}
    if apart.max() > 1e-9:
        stretch = BEHAVIOUR.spread * np.exp(BEHAVIOUR.scale_use**2 / 2) * table["slope"].mean()
        variance = BEHAVIOUR.noise**2 + 1 / 12  # ratings are whole numbers
        if versions == 1:  # a rater's liking of a face is confounded with the version of the face
            variance += len(PARTS) * (stretch * BEHAVIOUR.taste) ** 2 + (stretch * BEHAVIOUR.scale_use) ** 2
        noise = np.sqrt(variance)
        found["power by theory"] = np.mean(
            [
                expected_power(
                    size * table["slope"].mean(), 40, 12, squares, noise,
                    rater_spread(stretch, planted, region), tests=len(PARTS),
                )
                for region, size in apart[apart > 1e-9].items()
            ]
        )  # fmt: skip
    return {"difference": difference, "versions": versions or "all", **found}


def rater_spread(stretch, planted, region):
    """Return the standard deviation of effects between raters, from private taste and range."""
    size = float(planted[planted["region"] == region]["effect"].abs().mean())
    return np.hypot(stretch * BEHAVIOUR.taste, size * BEHAVIOUR.scale_use)


def write_faces(folder):
    """Write a study of drawn faces for training, and the base faces and altered pictures of an experiment."""
    from PIL import Image

    from traitlens.study.simulated_study import simulate_study

    if not (folder / "training").exists():
        simulate_study(folder / "training", 40, 5, 1, 2, seed=1, seen_size=128)
    drawn = draw_experiment(bases=12, seed=1)
    bases = {f"face{number + 1:02d}.png": draw_parameters(1, FIRST_BASE + number, 0) for number in range(12)}
    shown, landmarks = folder / "shown", []
    if not shown.exists():
        (shown / "images").mkdir(parents=True)
        for name, parameters in (drawn.faces | bases).items():
            face = draw_face(parameters, 256)
            Image.fromarray(face.picture).save(shown / "images" / name)
            landmarks += [(name, point, x, y) for point, (x, y) in face.landmarks.items()]
        pd.DataFrame(landmarks, columns=["image", "point", "x", "y"]).to_csv(
            shown / "landmarks.csv", index=False
        )
        scores = pd.DataFrame({name: score_parts(one) for name, one in (drawn.faces | bases).items()}).T
        weights = make_part_weights(TRAITS, list(PARTS), 0)
        simulate_group_ratings(scores.rename_axis(IMAGE), weights, 2, BEHAVIOUR, 1).to_csv(
            shown / "ratings.csv", index=False
        )
        text = (folder / "training" / "study.toml").read_text()
        (shown / "study.toml").write_text(text)
    return drawn


def read_kernels(folder):
    """Compute the regional features of all faces, relative to the average of the training faces."""
    from traitlens.api import Run
    from traitlens.faces.prepared_faces import average_face
    from traitlens.features.region_features import RegionalExtractor, RegionalFaces
    from traitlens.study.reading import Study

    file = folder / "features.npz"
    runs = [Run(Study.load(folder / name), folder / f"seen_{name}") for name in ("training", "shown")]
    spaces = [
        space for space in runs[0].context.value("regional_spaces") if space.region not in ("background",)
    ]
    for run in runs:
        run.make("prepare")
    names = [np.array([str(name) for name in run.prepared[IMAGE].to_numpy()]) for run in runs]
    if not file.exists():
        faces = RegionalFaces(average_face(runs[0].prepared))
        extractor = RegionalExtractor(runs[0].backbone, spaces, faces)
        rows = []
        for run in runs:
            for image, mesh in zip(
                run.prepared["pixels"].to_numpy(), run.prepared["points"].to_numpy(), strict=True
            ):
                found = extractor.extract(image, faces.masks(mesh))
                rows.append([found[space].ravel() for space in spaces])
        np.savez(file, **{space.region: np.stack([row[i] for row in rows]) for i, space in enumerate(spaces)})
    features = np.load(file)
    kernels = {space: features[space.region] @ features[space.region].T for space in spaces}
    folds = runs[0].context.value("folds")
    for run in runs:
        run.close()
    return kernels, names, folds


def predict(folder, drawn, experiments, versions=None):
    """Compare observed effects with those predicted by readouts of ratings and of permuted ratings."""
    from traitlens.comparison.common_cues import permute_blocks
    from traitlens.readouts.region_readouts import cross_fit_cues

    kernels, (training, shown), table = read_kernels(folder)
    order = table.set_index(IMAGE).loc[training]
    folds = np.concatenate([order[FOLD].to_numpy(), np.full(len(shown), order[FOLD].max() + 1)])
    identities = np.concatenate([pd.factorize(order[IDENTITY])[0], 1000 + np.arange(len(shown))])
    parts = pd.read_csv(folder / "training" / "truth" / "parts.csv").set_index(IMAGE).loc[training]
    pictures = drawn.repeat_for_traits(TRAITS)
    lists = counterbalanced_lists(pictures, versions, seed=1)
    places = {name: len(training) + place for place, name in enumerate(shown)}
    rows = []
    for number in range(experiments):
        rng = np.random.default_rng(number)
        weights = make_part_weights(TRAITS, list(PARTS), 0.6)
        ratings = simulate_group_ratings(parts, weights, 20, BEHAVIOUR, 1000 + number)
        means = ratings.pivot_table(RATING, IMAGE, GROUP).loc[training, list(GROUPS)].to_numpy()
        answers = simulate_ratings(drawn, lists, 0.6, 40, seed=number)
        found = estimate_effects(join_trials(answers, pictures), GROUPS, 1, number)
        for kind in ("ratings", "permuted ratings"):
            permuted = permute_blocks(order[IDENTITY].to_numpy(), rng)
            targets = means if kind == "ratings" else means[permuted]
            wanted = np.vstack([targets, np.full((len(shown), 2), np.nan)])
            cues = cross_fit_cues(kernels, wanted, folds, identities, sharing=1.0).values.sum(axis=1)
            predicted = pd.DataFrame(
                [
                    (
                        row.image,
                        TRAITS[0],
                        group,
                        cues[place, places[row.image]] - cues[place, places[f"{row.base}.png"]],
                    )
                    for row in pictures.itertuples()
                    for place, group in enumerate(GROUPS)
                ],
                columns=[IMAGE, TRAIT, GROUP, PREDICTED],
            )
            design = ExperimentDesign(folder, pictures, predicted, lists)
            joined = join_predictions(found.effects, design.predicted_effects())
            for row in measure_agreement(joined).to_dict("records"):
                rows.append(
                    {"readout of": kind, **row, "covers 0": row["slope_low"] <= 0 <= row["slope_high"]}
                )
    table = pd.DataFrame(rows)
    numbers = ["slope", "slope_low", "slope_high", "r", "ceiling", "covers 0"]
    return table.groupby(["readout of", "quantity"])[numbers].mean().round(3)


def main():
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiments", type=int, default=100)
    parser.add_argument("--readouts", action="store_true")
    options = parser.parse_args()
    if options.readouts:
        drawn = write_faces(options.folder)
        print(predict(options.folder, drawn, options.experiments).to_string(), flush=True)
        return
    for difference, versions in CONDITIONS:
        print({name: value if isinstance(value, str) else round(value, 3) for name, value in
               count(difference, versions, options.experiments).items()}, flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
