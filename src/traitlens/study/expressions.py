"""Matching of the regular expressions in a study's settings, in linear time.

A study may come from someone else, and expressions such as `(a+)+$` take exponential time with Python's `re`.
RE2, which Arrow contains, takes linear time, but has no look-ahead, look-behind and back-references.

References
----------
Cox (2007), "Regular expression matching can be simple and fast". RE2, "Syntax".
"""

import re
from collections.abc import Sequence

_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P<\w+>|\(\?|\(|[^\\(\[]+|.", re.DOTALL)
"""Tokens of an expression: escapes, character classes, openings of groups, and everything else."""

_LETTERS = r"\p{L}\p{M}\p{N}_"
"""Character class of RE2 that matches what \\w matches in Python: letters and digits of every script."""


def check_expression(pattern: str) -> None:
    """Check that a regular expression is valid and can be matched in linear time.

    Raises
    ------
    ValueError
        If the expression is invalid, or uses look-ahead, look-behind or back-references.
    """
    extract(pattern, [""])


def extract(pattern: str, texts: Sequence[str], ignore_case: bool = False) -> list[dict[str, str] | None]:
    r"""Extract the groups of a regular expression from strings.

    Parameters
    ----------
    pattern : str
        A regular expression. If it has named groups, these are extracted; otherwise its first group, or the
        whole match if it has no group, is extracted under the name "0".
    texts : sequence of str
        The strings to search.
    ignore_case : bool, default False
        Whether to ignore the difference between upper and lower case.

    Returns
    -------
    list of (dict of str to str, or None)
        For each string, the groups of the first match; None if nothing matches.

    Raises
    ------
    ValueError
        If the expression cannot be matched.

    Examples
    --------
    >>> extract(r"^(?P<image>.+)_(?P<trait>\w+)$", ["face_01_warm", "age"])
    [{'image': 'face_01', 'trait': 'warm'}, None]
    >>> extract(r"^(\w+)-\d+", ["zoë-12.jpg"])
    [{'0': 'zoë'}]
    """
    import pyarrow as pa  # large, and needed by few studies
    import pyarrow.compute as pc

    linear, names = _to_linear(pattern)
    flags = "(?i)" if ignore_case else ""
    try:
        found = pc.extract_regex(pa.array(texts, pa.string()), flags + linear).to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(" ".join(str(error).split())[:160]) from None
    return [None if one is None else {names[key]: value for key, value in one.items()} for one in found]


def group_names(pattern: str) -> list[str]:
    """Return the names of the groups that :func:`extract` returns for an expression: "0" if it names none."""
    return list(_to_linear(pattern)[1].values())


def _to_linear(pattern: str) -> tuple[str, dict[str, str]]:
    """Translate an expression to RE2; also return the name of each group by its name in the translation."""
    parts = _PARTS.findall(pattern)
    named = [part[4:-1] for part in parts if part.startswith("(?P<")]
    if len(set(named)) < len(named):
        raise ValueError("two groups have the same name")
    first = next((place for place, part in enumerate(parts) if part == "("), None)
    written = []
    for place, part in enumerate(parts):
        if part == "(":
            part = "(?P<g0>" if not named and place == first else "(?:"
        elif part == r"\w":
            part = f"[{_LETTERS}]"
        elif part == r"\W":
            part = f"[^{_LETTERS}]"
        elif part.startswith("["):
            part = part.replace(r"\w", _LETTERS)
        elif part == r"\Z":
            part = r"\z"
        written.append(part)
    linear = "".join(written)
    if named:
        return linear, {name: name for name in named}
    return (linear if first is not None else f"(?P<g0>{linear})"), {"g0": "0"}
