"""The stages that check maps, each passed over where its table is there from the same maps."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from traitlens import keeping
from traitlens.pipeline.map_checks import (
    REPEATS,
    Sample,
    account_for,
    associate,
    choose_images,
    compare_methods,
    compare_with_nothing,
    flip,
    methods_compared,
)
from traitlens.pipeline.preparing import average_face
from traitlens.pipeline.run import Run
from traitlens.readouts.readout import Readout
from traitlens.readouts.ridge import fit_ridge
from traitlens.relevance.null_maps import permute_targets
from traitlens.report.page import write_report
from traitlens.watching import Advance
from traitlens.words import FOLD, IMAGE, Y

Check = Callable[[Advance], pd.DataFrame]


def check_maps(run: Run, images: int = 4) -> Path:
    """Write `checks/*.csv`, what a reviewer asks about the maps, and the report with them.

    Parameters
    ----------
    run : Run
        The run; what its maps need is made where it is missing.
    images : int, default 4
        On how many images, which the readouts did not see.

    Returns
    -------
    Path
        The report.
    """
    run.report()
    inputs = [run.explain(), images]
    fold, chosen = choose_images(run.folds[FOLD].to_numpy(), images)
    sample = Sample(
        run.backbone,
        tuple(readout for readout in run.fitted.readouts if readout.fold == fold),
        list(run.prepared[IMAGE].to_numpy()[chosen]),
        run.prepared["pixels"][chosen].to_numpy(),
        average_face(run.prepared),
        run.study.settings.relevance.method,
    )
    total, linear = len(chosen), bool(run.fitted.duals)
    null_maps = 1 + REPEATS * (3 if linear else 2)
    checks: dict[str, tuple[int, Check]] = {
        "ledger": (total, partial(account_for, sample)),
        "null_maps": (
            total * null_maps,
            partial(compare_with_nothing, sample, partial(_refit, run, fold) if linear else None),
        ),
        "flipping": (total * 2, partial(flip, sample)),
        "methods": (total * len(methods_compared(sample.method)), partial(compare_methods, sample)),
    }
    if linear and len(keeping.read_table(run.results / "regions.csv")):
        checks["association"] = (1, partial(_associate, run))
    for name, (steps, check) in checks.items():

        def make(_key: str, advance: Advance, name: str = name, check: Check = check) -> None:
            keeping.write_table(run.results / "checks" / f"{name}.csv", check(advance))

        label = f"Check: {name.replace('_', ' ')}"
        run.make_stage(f"check_{name}", inputs, [f"checks/{name}.csv"], label, steps, make)
    return write_report(run.results)


def _refit(run: Run, fold: int, seed: int) -> Sequence[Readout]:
    """Fit a fold's readouts to permuted ratings, with the penalty of the true ones."""
    _, features = run.features
    penalty = float(run.fitted.choices["penalty"].median())
    fitted = fit_ridge(
        features, permute_targets(run.targets, seed), run.folds, penalties=[penalty], sharing=1
    )
    return [fitted.find(one.group, one.trait, fold) for one in run.fitted.readouts if one.fold == fold]


def _associate(run: Run, advance: Advance) -> pd.DataFrame:
    """Set the regions' association with the ratings beside their relevance."""
    (features,) = run.features[1].values()
    regions = keeping.read_table(run.results / "regions.csv")
    points = run.prepared["points"].to_numpy()
    images = run.prepared[IMAGE].to_numpy()
    table = associate(features, points, run.prepared.sizes[Y], images, run.targets, regions)
    advance(1)
    return table
