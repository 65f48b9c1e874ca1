"""Measure error rates, coverage and power of rater models in simulated studies with known truth.

Usage: python benchmarks/rater_models.py [STUDIES] [power]
"""

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.comparison.error_rates import monte_carlo
from traitlens.comparison.linear_models import LinearModel, ModelCells, Rearrangement, permute_residuals
from traitlens.comparison.permutation import familywise_p

CELLS = 8
PERMUTATIONS = 199


@dataclass(frozen=True)
class Design:
    """A simulated study with eight values per rater (traits by regions), and the effect that is tested."""

    name: str
    raters: tuple[int, int] = (20, 20)
    age: float = 0.0
    noise: tuple[float, float] = (1.0, 1.0)
    heavy: bool = False
    cluster_sizes: tuple[int, ...] = ()
    sites: int = 0
    score: float = 0.0
    slope: tuple[float, float] = (0.0, 0.0)
    group: float = 0.0
    tested: str = "group"
    adjusted: bool = True


DESIGNS = (
    Design("20 + 20, age drives values, adjusted", age=0.8),
    Design("20 + 20, age drives values, not adjusted", age=0.8, adjusted=False),
    Design("40 + 40, age drives values, adjusted", (40, 40), age=0.8),
    Design("12 + 60, age drives values, adjusted", (12, 60), age=0.8),
    Design("20 + 20, one group twice as noisy", noise=(2.0, 1.0)),
    Design("12 + 60, the 12 twice as noisy", (12, 60), noise=(2.0, 1.0)),
    Design("12 + 60, the 60 twice as noisy", (12, 60), noise=(1.0, 2.0)),
    Design("20 + 20, heavy tails (t, 2.5 df)", heavy=True),
    Design("20 + 20, pairs of relatives", cluster_sizes=(2,) * 20),
    Design("40 + 40, 16 classes of 3 to 7", (40, 40), cluster_sizes=(3, 7, 5, 4, 6, 5, 3, 7) * 2),
    Design("30 + 30, 6 sites, groups unevenly spread, within", (30, 30), sites=6),
    Design("40 + 40, groups differ in score, no slope: slope", (40, 40), score=2.5, group=1.2,
    tested="slope"), Design("40 + 40, the same: slope difference", (40, 40), score=2.5, group=1.2,
    tested="interaction"), Design("40 + 40, slopes -.5, opposite group difference: slope", (40, 40),
    score=2.5, slope=(-0.5, -0.5),
           group=1.25, tested="slope"),
    Design("89 + 307, interaction of r = .15: slope difference", (89, 307), slope=(0.373, 0.0),
           tested="interaction"),
)  # fmt: skip


SIZES = (0.3, 0.5, 0.8)
POWER = (
    *(
        Design(f"{number} + {number}, difference {size}", (number, number), group=size)
        for size in SIZES
        for number in (20, 40, 80, 160)
    ),
    *(
        Design(
            f"{number} + {number}, slope difference {size}",
            (number, number),
            slope=(size, 0.0),
            tested="interaction",
        )
        for size in SIZES
        for number in (20, 40, 80, 160)
    ),
)
"""Simulated differences between groups, and between slopes, in standard deviations within groups."""


def draw(design: Design, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Simulate the raters of one study."""
    number = sum(design.raters)
    group = np.repeat([1.0, 0.0], design.raters)
    age = rng.normal(size=number) + group
    score = rng.normal(size=number) + design.score * group
    shape = (number, CELLS)
    noise = rng.standard_t(2.5, shape) if design.heavy else rng.normal(size=shape)
    noise = 0.8 * noise + 0.6 * (
        rng.standard_t(2.5, (number, 1)) if design.heavy else rng.normal(size=(number, 1))
    )
    values = noise * np.where(group == 1, *design.noise)[:, None]
    values = values + design.age * age[:, None] - design.group * group[:, None]
    values = values + (np.where(group == 1, *design.slope) * (score - design.score * group))[:, None]
    drawn = {"group": group, "age": age, "score": score}
    if design.cluster_sizes:
        cluster = np.repeat(np.arange(len(design.cluster_sizes)), design.cluster_sizes)
        values = values + rng.normal(size=(len(design.cluster_sizes), CELLS))[cluster]
        drawn["cluster"] = cluster
    if design.sites:
        share = np.linspace(0.8, 0.2, design.sites)
        chance = np.where(group[:, None] == 1, share, share[::-1])
        site = np.array([rng.choice(design.sites, p=row / row.sum()) for row in chance])
        values = values + rng.normal(size=(design.sites, CELLS))[site]
        drawn["site"] = site
    return drawn | {"values": values}


def study(design: Design, seed: int) -> dict[str, float]:
    """Test one simulated study; return the smallest corrected p and the coverage of intervals."""
    rng = np.random.default_rng((seed, 17))
    drawn = draw(design, rng)
    columns = [np.ones(len(drawn["group"])), drawn["group"]]
    if design.adjusted and not design.score and design.tested == "group":
        columns.append(drawn["age"])
    wanted, truth = 1, -design.group
    if design.tested != "group":
        centred = drawn["score"] - drawn["score"].mean()
        columns += [centred, centred * drawn["group"]] if design.tested == "interaction" else [centred]
        wanted = len(columns) - 1
        truth = design.slope[0] - design.slope[1] if design.tested == "interaction" else design.slope[0]
    strata = drawn.get("site", np.zeros(len(drawn["group"]), int))
    kinds = np.unique(strata)
    columns += list((strata[:, None] == kinds[1:]).astype(float).T)
    matrix, clusters = np.column_stack(columns), drawn.get("cluster")
    model = LinearModel(matrix, clusters)
    contrast = model.contrast(np.eye(matrix.shape[1])[wanted])
    assert contrast is not None
    values = drawn["values"]
    estimate, error = model.estimate(contrast, values)
    how = Rearrangement(strata, clusters, PERMUTATIONS, seed)
    cells = [ModelCells(np.arange(len(values)), values, model, [contrast])]
    null = permute_residuals(cells, how)[0][:, 0]
    p = familywise_p(estimate / error, null)
    width = stats.t.ppf(0.975, contrast.freedom) * error
    one = LinearModel(matrix)
    alone = one.contrast(np.eye(matrix.shape[1])[wanted])
    assert alone is not None
    t = (alone.weights @ values) / (one.residual_deviation(values) * np.sqrt((alone.weights**2).sum()))
    return {
        "significant": float(p.min() <= 0.05),
        "one cell": float((np.abs(null[:, 0]) >= abs(estimate[0] / error[0])).mean() <= 0.05),
        "coverage": float((np.abs(estimate - truth) <= width).mean()),
        "r": float((t / np.sqrt(t**2 + one.freedom)).mean()),
    }


def main() -> None:
    """Run the simulations and print a table."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rows = []
    designs = POWER if sys.argv[2:] == ["power"] else DESIGNS
    for design in designs:
        found = pd.DataFrame([study(design, seed) for seed in range(studies)])
        for measure in ("significant", "one cell", "coverage"):
            rows.append({"design": design.name, "measure": measure} | monte_carlo(found[measure].tolist()))
        print(
            pd.DataFrame(rows[-3:]).round(3).to_string(index=False, header=design is designs[0]), flush=True
        )


if __name__ == "__main__":
    main()
