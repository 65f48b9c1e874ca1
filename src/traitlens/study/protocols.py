"""What a command may ask of a study beside its own settings: a published protocol, fewer maps."""

from dataclasses import replace
from typing import get_args

from traitlens.problems import unknown_choice
from traitlens.study.reading import Study
from traitlens.study.settings import ReadoutSettings, RunSettings

PROTOCOLS = ("default", "cao2023")
"""Names of the protocols."""


def follow_protocol(study: Study, name: str) -> Study:
    """Give a study the readout of a protocol; images, ratings and folds stay.

    Parameters
    ----------
    study : Study
        The study with its own settings.
    name : str
        One of :data:`PROTOCOLS`; "default" leaves the settings as they are.

    Returns
    -------
    Study
        The study, read out as the protocol says.

    Raises
    ------
    TraitlensError
        If there is no such protocol.
    """
    if name not in PROTOCOLS:
        raise unknown_choice("protocol", name, PROTOCOLS)
    if name == "default":
        return study
    settings = study.settings.model_copy(update={"readout": ReadoutSettings(method=name)})
    return replace(study, settings=settings)


def with_maps_kept(study: Study, keep: str) -> Study:
    """Give a study another choice of the maps that are kept.

    Parameters
    ----------
    study : Study
        The study with its own settings.
    keep : {"all", "sample", "none"}
        Of which images the maps are kept.

    Returns
    -------
    Study
        The study with this choice.

    Raises
    ------
    TraitlensError
        If there is no such choice.
    """
    choices = get_args(RunSettings.model_fields["keep_maps"].annotation)
    if keep not in choices:
        raise unknown_choice("choice of maps", keep, choices)
    return replace(
        study,
        settings=study.settings.model_copy(update={"run": RunSettings.model_validate({"keep_maps": keep})}),
    )
