"""A small results folder with everything that a run leaves: drawn faces, two groups, three traits."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image, ImageDraw

from traitlens.comparison.answers import answer_questions
from traitlens.comparison.by_use import by_question

HOSTILE_TRAIT = "<script>alert(1)</script>"
HOSTILE_IMAGE = '../../x".png'
SIDE = 96


def draw_face(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    image = Image.new("RGB", (side, side), (200, 205, 210))
    draw = ImageDraw.Draw(image)
    skin = tuple(int(v) for v in rng.integers((150, 105, 80), (245, 200, 175)))
    hair = tuple(int(v) for v in rng.integers((20, 15, 10), (160, 120, 80)))
    s, w = side / 96, rng.uniform(24, 30)
    draw.ellipse([(48 - w - 4) * s, 8 * s, (52 + w) * s, 70 * s], fill=hair)
    draw.ellipse([(48 - w) * s, 16 * s, (48 + w) * s, 90 * s], fill=skin)
    for x in (36, 60):
        draw.ellipse([(x - 6) * s, 40 * s, (x + 6) * s, 46 * s], fill=(250, 250, 250))
        draw.ellipse([(x - 2.5) * s, 40 * s, (x + 2.5) * s, 46 * s], fill=(50, 40, 35))
        lift = rng.uniform(-2, 2)
        draw.line([(x - 7) * s, (35 + lift) * s, (x + 7) * s, (35 - lift) * s], fill=hair, width=round(2 * s))
    draw.line(
        [48 * s, 46 * s, 46 * s, 60 * s, 50 * s, 60 * s], fill=tuple(int(c * 0.8) for c in skin), width=2
    )
    curve = rng.uniform(-5, 5)
    draw.line(
        [38 * s, 72 * s, 48 * s, (72 + curve) * s, 58 * s, 72 * s], fill=(150, 50, 55), width=round(3 * s)
    )
    return np.asarray(image)


def blob(y: float, x: float, spread: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * spread**2))


def save(dataset: xr.Dataset, path: Path) -> None:
    dataset.to_zarr(path, mode="w", zarr_format=2, consolidated=True)


def text(values) -> np.ndarray:
    return np.array(list(values), dtype=object)


def make_results(
    folder: Path,
    *,
    groups=("autistic", "non-autistic"),
    traits=("warm", "critical", HOSTILE_TRAIT),
    n_images: int = 12,
    may_publish: bool = True,
    hostile: bool = True,
    seed: int = 0,
) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    images = [f"id{i // 2:02d}/face{i:03d}.jpg" for i in range(n_images)]
    if hostile:
        images[3] = HOSTILE_IMAGE
    identity = {image: f"id{i // 2:02d}" for i, image in enumerate(images)}
    pixels = np.stack([draw_face(rng) for _ in images])
    latent = rng.normal(size=(len(groups), len(traits), len(images)))
    latent[1:] = 0.7 * latent[:1] + 0.7 * latent[1:]
    observed = 4 + 0.8 * latent
    predicted = 4 + 0.5 * (0.7 * latent + 0.7 * rng.normal(size=latent.shape))

    parts = {"eyes": (43, 48, 9), "nose": (56, 48, 6), "mouth": (72, 48, 8), "jaw": (86, 48, 10)}
    weights = rng.dirichlet(np.ones(len(parts)), size=(len(groups), len(traits)))
    shapes = np.stack([blob(*place) / blob(*place).sum() for place in parts.values()])
    along = np.einsum("gtp,pyx->gtyx", weights, shapes)
    noise = rng.standard_t(2, size=(len(groups), len(traits), len(images), SIDE, SIDE)) * 1e-5
    deviation = predicted - 4
    relevance = (along[:, :, None] * deviation[..., None, None] + noise).astype("float32")
    pixel_sum = relevance.sum((-2, -1))
    names = {"group": text(groups), "trait": text(traits), "image": text(images)}
    four = ("group", "trait", "image")
    save(
        xr.Dataset({"pixels": (("image", "y", "x", "colour"), pixels)}, {"image": names["image"]}),
        folder / "prepared.zarr",
    )
    save(
        xr.Dataset(
            {
                "relevance": ((*four, "y", "x"), relevance),
                "prediction": (four, predicted),
                "reference": (four, np.full_like(predicted, 4.0)),
                "pixel_sum": (four, pixel_sum),
            },
            names,
        ),
        folder / "maps.zarr",
    )
    spread = predicted.std(-1, keepdims=True)
    z = (predicted - predicted.mean(-1, keepdims=True)) / spread
    save(
        xr.Dataset(
            {
                "aligned": (("group", "trait", "y", "x"), (relevance * z[..., None, None]).mean(2)),
                "mean": (("group", "trait", "y", "x"), relevance.mean(2)),
                "face": (("y", "x", "colour"), pixels.mean(0).astype("uint8")),
            },
            {"group": names["group"], "trait": names["trait"]},
        ),
        folder / "average_maps.zarr",
    )

    cells = [
        {"group": g, "trait": t, "i": i, "image": image, "identity": identity[image], "fold": i // 2 % 5,
         "observed": observed[a, b, i], "predicted": predicted[a, b, i]}
        for a, g in enumerate(groups) for b, t in enumerate(traits) for i, image in enumerate(images)
    ]  # fmt: skip
    table = pd.DataFrame(cells)
    columns = ["image", "identity", "group", "trait", "fold", "observed", "predicted"]
    table[columns].to_csv(folder / "predictions.csv", index=False)
    ratings = folder / "ratings"
    ratings.mkdir(exist_ok=True)
    targets = table.rename(columns={"observed": "rating"})[["group", "trait", "image", "rating"]]
    targets.assign(n=20, sd=1.1).to_csv(ratings / "targets.csv", index=False)
    performance, reliability = [], []
    for (group, trait), part in table.groupby(["group", "trait"], sort=False):
        r = float(np.corrcoef(part["observed"], part["predicted"])[0, 1])
        ceiling = float(rng.uniform(0.8, 0.95))
        performance.append(
            {"group": group, "trait": trait, "n_images": len(images), "n_identities": len(images) // 2,
             "r": r,
             "r2": r**2 - 0.1, "rmse": 0.61, "ci_low": max(r - 0.25, -1), "ci_high": min(r + 0.2, 0.99),
             "p": 0.0004, "ceiling_r": ceiling, "ceiling_r2": ceiling**2}
        )  # fmt: skip
        reliability.append(
            {"group": group, "trait": trait, "n_raters": 20, "n_images": len(images),
             "ceiling_r": ceiling, "ceiling_r2": ceiling**2, "ceiling_r_low": ceiling - 0.05,
             "ceiling_r_high": ceiling + 0.03, "icc_2_1": 0.2, "icc_2_k": 0.83, "alpha": 0.85}
        )  # fmt: skip
    pd.DataFrame(performance).to_csv(folder / "performance.csv", index=False)
    pd.DataFrame(reliability).to_csv(ratings / "reliability.csv", index=False)

    regions = table[["image", "group", "trait"]].merge(pd.DataFrame({"region": list(parts)}), how="cross")
    regions["share"] = rng.dirichlet(np.ones(len(parts)), size=len(table)).ravel()
    regions["relevance"] = rng.normal(0, 0.1, len(regions))
    regions.to_csv(folder / "regions.csv", index=False)
    comparisons = folder / "comparisons"
    comparisons.mkdir(exist_ok=True)
    if len(groups) > 1:
        make_comparisons(folder, groups, traits, list(parts), images, rng)
    make_checks(folder, groups, traits, rng)
    make_experiment(folder, groups, traits)

    study = {
        "name": "Drawn faces", "description": "A small study of drawn faces, for tests.",
        "groups": list(groups), "traits": list(traits), "scale": [1, 7], "n_images": len(images),
        "n_identities": len(images) // 2, "n_raters": 20 * len(groups),
        "n_ratings": 20 * len(table), "may_publish": dict.fromkeys(images, may_publish), "identity": identity,
        "settings": {
            "seed": 0, "folds": {"number": 5, "column": None}, "faces": {"crop": "auto", "size": SIDE},
            "readout": {"method": "ridge", "tap": "block4_pool", "grid": 7},
            "relevance": {"method": "lrp.sequential_preset_a_flat"},
        },
        "notices": ["2 images have no rating and were left out"],
        "planted": [{"trait": traits[0], "region": one, "difference": 0.2} for one in ("left eye", "mouth")],
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    provenance = {
        "traitlens": "0.1.0", "python": "3.12.1", "packages": {"torch": "2.13.0"}, "seed": 0,
        "sha256": {"ratings.csv": "ab" * 32}, "seconds": {"features": 12.3, "explain": 45.6},
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    return folder


def make_comparisons(folder: Path, groups, traits, regions, images, rng: np.random.Generator) -> None:
    """Tables of tests with the columns that a run writes, and the tests of pixels."""
    first = {"group_1": groups[0], "group_2": groups[1]}

    def tests(rows: list[dict], effect: str) -> pd.DataFrame:
        table = pd.DataFrame([{**first, **row} for row in rows])
        table["estimate"] = rng.normal(0, 0.05, len(table))
        table["ci_low"], table["ci_high"] = table["estimate"] - 0.04, table["estimate"] + 0.04
        table["statistic"] = table["estimate"] / 0.02
        table["p"] = np.where(table["estimate"].abs() > 0.05, 0.004, 0.4)
        table["p_corrected"] = table["p"] * 2
        table[effect] = table["estimate"] / 0.1
        table[f"{effect}_low"], table[f"{effect}_high"] = table[effect] - 0.4, table[effect] + 0.4
        return table.assign(n_1=20, n_2=20)

    by_trait = [{"trait": t} for t in traits]
    by_region = [{"trait": t, "region": r} for t in traits for r in regions]
    written = {
        "means": tests(by_trait, "cohens_d").assign(mean_1=4.1, mean_2=4.0),
        "agreement": tests(
            [{**t, "measure": m} for t in by_trait for m in ("agreement_z", "spread")], "hedges_g"
        ),
        "performance": tests(by_trait, "cohens_q").assign(r_1=0.6, r_2=0.5),
        "transfer_groups": pd.DataFrame(
            [{**t, "fitted_on": a, "predicting": b, "r": rng.uniform(0, 0.7), "n": 12, "r_own": 0.6,
              "predicts_other_better": False, "ratings_r": 0.7} for t in by_trait for a in groups
             for b in groups if a != b]
        ),
        "transfer_traits": pd.DataFrame(
            [{"group": g, "fitted_on": a, "predicting": b, "r": rng.uniform(-0.5, 0.7), "n": 12, "r_own": 0.6,
              "predicts_other_better": False, "ratings_r": 0.3} for g in groups for a in traits
             for b in traits if a != b], columns=["group", "fitted_on", "predicting", "r", "n", "r_own",
             "predicts_other_better", "ratings_r"]
        ),
    }  # fmt: skip
    use = pd.concat(
        [tests(by_region, "hedges_g").assign(question="use")]
        + [tests(by_trait, "hedges_g").assign(question=one, region="") for one in ("range", "noise")]
    ).assign(value_1=0.4, value_2=0.3, called=lambda table: table["p_corrected"] <= 0.05)
    named = {"estimate": "difference", "ci_low": "low", "ci_high": "high"}
    cues = folder / "cues"
    cues.mkdir(exist_ok=True)
    use.rename(columns=named).to_csv(cues / "tests.csv", index=False)
    by_group = pd.DataFrame([{"group": g, **cell} for g in groups for cell in by_region])
    by_group.assign(utilisation=0.4, low=0.3, high=0.5, n_raters=20).to_csv(cues / "groups.csv", index=False)
    by_rater = pd.DataFrame([{"rater": f"{g}{i}", "group": g, **cell} for g in groups for i in range(20)
                             for cell in by_region])  # fmt: skip
    by_rater = by_rater.assign(utilisation=rng.normal(0.4, 0.2, len(by_rater)))
    by_rater.to_csv(cues / "utilisation.csv", index=False)
    by_image = pd.DataFrame([{"image": i, **cell} for i in images for cell in by_group.to_dict("records")])
    by_image.assign(cue=rng.normal(0, 0.3, len(by_image))).to_csv(cues / "group_cues.csv", index=False)
    effects = pd.DataFrame(
        [
            {"effect": f"{groups[0]} − {groups[1]}", "measure": "level", "trait": t, "region": ""}
            for t in traits
        ]
    )
    measures = [{**t, "moderator": m} for t in by_trait for m in ("smile", "brow height", "brightness")]
    written["face_types"] = tests(measures, "hedges_g").assign(
        value_1=0.2, value_2=0.1, crossed_low=-0.2, crossed_high=0.2, crossed_p=0.5, n_images=12
    )
    parts = ("image", "rater", "private taste", "noise")
    shares = pd.DataFrame([{"group": g, **t, "part": p} for g in groups for t in by_trait for p in parts])
    shares.assign(
        variance=0.5, share=0.25, share_low=0.1, share_high=0.4, n_raters=20, n_images=12, n_repeats=50
    ).to_csv(folder / "ratings" / "variances.csv", index=False)
    written["rater_models"] = effects.assign(
        kind="difference", variable="group", level_1=groups[0], level_2=groups[1], by="", by_1="", by_2="",
        estimate=0.2, standard_error=0.1, ci_low=0.0, ci_high=0.4, df=38.0, statistic=2.0, p=0.05,
        p_corrected=0.1, effect_size=0.3, effect_low=0.0, effect_high=0.5, unadjusted=0.2, margin=None,
        equivalence_p=None, n=40, n_missing=0, n_permutations=5000, smallest_p=0.0002,
    )  # fmt: skip
    by_group.assign(share=0.3, low=0.2, high=0.4, area=0.1).to_csv(cues / "shares.csv", index=False)
    tested = {name: written[name] for name in ("means", "performance")} | by_question(use)
    written["answers"] = answer_questions(tested, len(traits))
    for name, table in written.items():
        table.to_csv(folder / "comparisons" / f"{name}.csv", index=False)
    curve = [
        {"group": g, "trait": t, "fold": f, "epoch": e, "loss": 2 / e + 0.1 * f}
        for g in groups for t in traits for f in range(2) for e in range(1, 6)
    ]  # fmt: skip
    pd.DataFrame(curve).to_csv(folder / "learning_curves.csv", index=False)
    pairs = [
        {"group": g, "trait_1": a, "trait_2": b, "r": rng.uniform(-0.9, 0.9), "n": 12}
        for g in groups for i, a in enumerate(traits) for b in traits[i + 1 :]
    ]  # fmt: skip
    columns = ["group", "trait_1", "trait_2", "r", "n"]
    pd.DataFrame(pairs, columns=columns).to_csv(folder / "ratings" / "trait_correlations.csv", index=False)
    components = [
        {"group": g, "component": c, "trait": t, "loading": rng.uniform(-1, 1), "explained": 0.4,
         "congruence": 0.97} for g in groups for c in (1, 2) for t in traits
    ]  # fmt: skip
    pd.DataFrame(components).to_csv(folder / "ratings" / "trait_components.csv", index=False)
    cells = 16
    rows, columns = np.mgrid[:cells, :cells]
    inside = np.hypot(rows - 8.5, columns - 7.5) < 7
    estimate = np.where(inside, rng.normal(0, 1e-4, (1, len(traits), cells, cells)), np.nan)
    p = np.where(inside, rng.uniform(0.1, 1, estimate.shape), np.nan)
    estimate[0, 0, 5:8, 4:7], p[0, 0, 5:8, 4:7] = 5e-4, 0.01
    four = ("comparison", "trait", "y", "x")
    save(
        xr.Dataset(
            {"estimate": (four, estimate), "p_corrected": (four, p),
             "face": (("face_y", "face_x", "colour"), draw_face(rng, 4 * cells))},
            {"comparison": text([f"{groups[0]} - {groups[1]}"]), "trait": text(traits)},
            {"caution": "The test tells that the maps differ; it does not locate borders."},
        ),
        folder / "comparisons" / "pixels.zarr",
    )  # fmt: skip
    areas = pd.DataFrame(
        [{**first, "trait": traits[0], "sign": 1, "n_pixels": 9, "y": 6, "x": 5, "estimate": 5e-4,
          "statistic": 4.2, "p_corrected": 0.01, "effect_size": 1.2, "n": 40, "test": "t",
          "p_family": 0.02}]
    )  # fmt: skip
    areas.to_csv(folder / "comparisons" / "pixels.csv", index=False)


def make_experiment(folder: Path, groups, traits) -> None:
    """Tables of an experiment with altered faces."""
    experiment = folder / "experiment"
    experiment.mkdir(exist_ok=True)
    sizes = {"eyes": 0.6, "mouth": 0.3, "jaw": -0.2}
    effects = pd.DataFrame(
        [
            (trait, region, group, size * (1 + place / 2), size)
            for trait in traits
            for region, size in sizes.items()
            for place, group in enumerate(groups)
        ],
        columns=["trait", "region", "group", "effect", "predicted"],
    )
    effects = effects.assign(
        se=0.1, ci_low=effects["effect"] - 0.25, ci_high=effects["effect"] + 0.25, p=0.04
    )
    found = effects["effect"].abs() > 0.25
    effects["outcome"] = np.where(found, "as predicted", "not found")
    effects.assign(size="inside interval", raters=20, faces=12).to_csv(
        experiment / "effects.csv", index=False
    )
    if len(groups) > 1:
        differences = effects[effects["group"] == groups[0]][["trait", "region"]].assign(
            group_1=groups[0], group_2=groups[1], difference=-0.2, se=0.1, ci_low=-0.4, ci_high=0.0, p=0.06,
            p_uncorrected=0.04,
        )  # fmt: skip
        differences.to_csv(experiment / "differences.csv", index=False)
    agreement = {
        "quantity": "effects",
        "slope": 1.1,
        "slope_low": 0.8,
        "slope_high": 1.4,
        "r": 0.9,
        "r_low": 0.6,
    }
    agreement |= {"r_high": 0.98, "ceiling": 0.95, "cells": 9}
    pd.DataFrame([agreement]).to_csv(experiment / "agreement.csv", index=False)
    plan = {"frozen": "2025-01-01T00:00:00+00:00", "digest": "0" * 64}
    facts = {
        "groups": list(groups), "traits": list(traits), "raters": dict.fromkeys(groups, 20), "faces": 12,
        "pictures": 72, "ratings": 960, "permutations": 999, "plan": plan, "early": 0, "times_known": True,
        "deviations": [], "notices": [],
    }  # fmt: skip
    (experiment / "experiment.json").write_text(json.dumps(facts), encoding="utf-8")


def make_checks(folder: Path, groups, traits, rng: np.random.Generator) -> None:
    """Tables of checks with the columns that a run writes."""
    checks = folder / "checks"
    checks.mkdir(exist_ok=True)
    readouts = pd.DataFrame([{"group": g, "trait": t} for g in groups for t in traits])
    readouts.merge(
        pd.DataFrame({"null": ["permuted ratings", "shuffled network"]}), how="cross"
    ).assign(
        fold=0, similarity=0.1, null_low=0.0, null_high=0.3, edge_correlation=0.4, null_edge_correlation=0.4
    ).to_csv(checks / "null_maps.csv", index=False)  # fmt: skip
    readouts.merge(pd.DataFrame({"order": ["relevance", "random", "central"]}), how="cross").assign(
        fold=0, gain=lambda table: rng.uniform(0, 1, len(table)), standard_error=0.05
    ).to_csv(checks / "flipping.csv", index=False)
    pd.DataFrame(
        {"method": ["lrp.epsilon"] * 2, "other": ["lrp.epsilon", "input_t_gradient"], "correlation": [1, 0.7]}
    ).to_csv(checks / "methods.csv", index=False)
    readouts.merge(pd.DataFrame({"altered": ["grey", "mirrored"]}), how="cross").assign(
        readout="same",
        r_original=0.6,
        r=0.5,
        estimate=-0.1,
        ci_low=-0.2,
        ci_high=0.0,
        agreement=0.9,
        n_images=12,
    ).to_csv(checks / "cues.csv", index=False)
