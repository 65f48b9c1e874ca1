"""A study from its folder to a report, and what is looked at before."""

from pathlib import Path

from traitlens.faces.images import check_images
from traitlens.pipeline.estimate import estimate, refuse_what_cannot_fit
from traitlens.pipeline.machine import Machine
from traitlens.pipeline.protocols import follow_protocol, with_maps_kept
from traitlens.pipeline.run import Run
from traitlens.problems import StudyError
from traitlens.study.reading import Study, find_images, read_study
from traitlens.watching import Silent, Watcher


def check(folder: str | Path, watcher: Watcher | None = None) -> Study:
    """Read a study and find every fault of its settings, tables and images.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    watcher : Watcher or None
        Who is told of the progress.

    Returns
    -------
    Study
        The study, without a fault.

    Raises
    ------
    StudyError
        With every fault.
    """
    folder = Path(folder)
    study, problems = read_study(folder)
    files = find_images(folder) if folder.is_dir() else []
    with (watcher or Silent()).stage("Checking images", len(files)) as advance:
        problems += check_images(
            [folder / "images" / file for file in files], [f"images/{file}" for file in files], advance
        )
    if problems or study is None:
        raise StudyError(problems)
    return study


def run(
    folder: str | Path,
    out: str | Path | None = None,
    machine: Machine | None = None,
    watcher: Watcher | None = None,
    protocol: str = "default",
    keep_maps: str | None = None,
) -> Run:
    """Take a study from its folder to a report.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    out : str, Path or None
        The results folder; `results` in the study's folder where None.
    machine : Machine or None
        Device, precision, weights.
    watcher : Watcher or None
        Who is told of the progress.
    protocol : str, default "default"
        Whose way of reading ratings out of faces is followed: "default" or "cao2023";
        another than the default has a results folder of its own, so that both can be compared.
    keep_maps : {"all", "sample", "none"} or None
        Of which images the maps are kept; as `study.toml` says where None.

    Returns
    -------
    Run
        With `performance`, and the results in `Run.results`.

    Raises
    ------
    TraitlensError
        If the study has faults, the weights cannot be had, or memory or disk will not do.
    """
    study = follow_protocol(check(folder, watcher), protocol)
    if keep_maps is not None:
        study = with_maps_kept(study, keep_maps)
    if out is None and protocol != "default":
        out = study.folder / f"results-{protocol}"
    done = Run(study, out, machine, watcher)
    try:
        needed = estimate(study, done.results, done.machine)
        if needed.needs:
            done.watcher.say(str(needed))
        refuse_what_cannot_fit(needed, done.results)
        done.report()
    finally:
        done.close()
    return done
