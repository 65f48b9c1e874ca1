"""Options of a command that override a study's settings: a published protocol, fewer maps."""

from dataclasses import replace
from typing import get_args

from traitlens.problems import unknown_choice
from traitlens.study.reading import Study
from traitlens.study.settings import ReadoutSettings, RunSettings

PROTOCOLS = ("default", "cao2023")
"""Names of the protocols."""


def follow_protocol(study: Study, name: str) -> Study:
    """Return a study with the readout of a protocol, and the same images, ratings and folds.

    Parameters
    ----------
    study : Study
        The study with its own settings.
    name : str
        One of :data:`PROTOCOLS`; "default" keeps the settings.

    Returns
    -------
    Study
        The study with the protocol's settings.

    Raises
    ------
    TraitlensError
        If the protocol is unknown.
    """
    if name not in PROTOCOLS:
        raise unknown_choice("protocol", name, PROTOCOLS)
    if name == "default":
        return study
    settings = study.settings.model_copy(update={"readout": ReadoutSettings(method=name)})
    return replace(study, settings=settings)


def with_maps_kept(study: Study, keep: str) -> Study:
    """Return a study with another choice of maps to keep.

    Parameters
    ----------
    study : Study
        The study with its own settings.
    keep : {"all", "sample", "none"}
        Of which images the maps are kept.

    Raises
    ------
    TraitlensError
        If the choice is unknown.
    """
    choices = get_args(RunSettings.model_fields["keep_maps"].annotation)
    if keep not in choices:
        raise unknown_choice("choice of maps", keep, choices)
    return replace(
        study,
        settings=study.settings.model_copy(update={"run": RunSettings.model_validate({"keep_maps": keep})}),
    )
