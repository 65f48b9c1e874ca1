"""A small results folder with everything that a run leaves: drawn faces, two groups, three traits."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image, ImageDraw

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
             "reliability": ceiling**2,
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
    differences = pd.DataFrame([(t, p) for t in traits for p in parts], columns=["trait", "region"])
    differences["estimate"] = rng.normal(0, 0.05, len(differences))
    differences["ci_low"] = differences["estimate"] - 0.04
    differences["ci_high"] = differences["estimate"] + 0.04
    differences["statistic"] = differences["estimate"] / 0.02
    differences["p"] = np.where(differences["estimate"].abs() > 0.05, 0.004, 0.4)
    differences["p_corrected"] = differences["p"] * 2
    differences["effect_size"] = differences["estimate"] / 0.1
    differences["n"] = 40
    differences["apa"] = "t(38) = 2.10, p = .043, d = 0.66"
    differences.to_csv(comparisons / "regions.csv", index=False)

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
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    provenance = {
        "versions": {"traitlens": "0.1.0", "torch": "2.13.0"}, "seeds": {"seed": 0},
        "digests": {"ratings.csv": "ab" * 32}, "timings": {"features": 12.3, "explain": 45.6},
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    return folder
