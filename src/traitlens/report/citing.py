"""List of references to cite for an analysis."""

from pathlib import Path

import traitlens
from traitlens.report.results import read_results
from traitlens.report.wording import REFERENCES, describe_methods

ALWAYS = ("bach", "cao", "simonyan")
"""Keys of the references for the default settings."""


def list_references(results: Path | None = None) -> list[str]:
    """Return the references to cite, in APA style.

    Parameters
    ----------
    results : Path or None
        A results folder, to cite the methods that its study used; None for the default settings.

    Returns
    -------
    list of str
        traitlens first, then the others by author.

    Raises
    ------
    TraitlensError
        If the folder is not a results folder.

    Examples
    --------
    >>> print(list_references()[0])
    The traitlens developers. (2026). traitlens (Version 0.1.0) [Computer software].
    """
    itself = (
        f"The traitlens developers. (2026). traitlens (Version {traitlens.__version__}) [Computer software]."
    )
    if results is None:
        return [itself, *(REFERENCES[key] for key in ALWAYS)]
    return [itself, *describe_methods(read_results(results)).references]
