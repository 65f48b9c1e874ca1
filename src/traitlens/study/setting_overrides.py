"""Overrides of a study's settings by options of a command: a published protocol, and the maps to keep."""

from dataclasses import replace
from typing import get_args

from traitlens.problems import unknown_choice
from traitlens.study.reading import Study
from traitlens.study.settings import ReadoutSettings, RunSettings

PROTOCOLS = ("default", "cao2023")
"""Names of the protocols."""


def follow_protocol(study: Study, name: str) -> Study:
    """Return the study with the readout settings of a published protocol.

    Parameters
    ----------
    study : Study
        The study with its own settings.
    name : str
        One of :data:`PROTOCOLS`; "default" keeps the study's own settings.

    Returns
    -------
    Study
        The study with the readout settings of the protocol; everything else is unchanged.

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


def override_kept_maps(study: Study, keep: str) -> Study:
    """Return the study with another value of the setting `run.keep_maps`.

    Parameters
    ----------
    study : Study
        The study with its own settings.
    keep : {"all", "sample", "none"}
        Images whose maps are kept.

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
