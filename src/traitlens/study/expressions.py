"""Regular expressions of a study, matched in linear time.

Studies may be untrusted, and expressions such as `(a+)+$` take exponential time with Python's `re`. RE2, a
part of Arrow, matches in linear time, without look-ahead, look-behind and back-references.

References
----------
Cox (2007), "Regular expression matching can be simple and fast". RE2, "Syntax".
"""

import re
from collections.abc import Sequence

_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P<\w+>|\(\?|\(|[^\\(\[]+|.", re.DOTALL)
"""Escapes, classes of characters, openings of groups, and the rest of an expression."""

_LETTERS = r"\p{L}\p{M}\p{N}_"
"""Meaning of \\w in Python: letters and digits of every script."""


def check_expression(pattern: str) -> None:
    """Check that an expression can be matched.

    Raises
    ------
    ValueError
        If it is none, or uses what cannot be matched in linear time.
    """
    extract(pattern, [""])


def extract(pattern: str, texts: Sequence[str], ignore_case: bool = False) -> list[dict[str, str] | None]:
    r"""Search texts for an expression.

    Parameters
    ----------
    pattern : str
        A regular expression. Groups with names are found by these; where there are none, the first group, or
        else the whole match, is called "0".
    texts : sequence of str
        The texts.
    ignore_case : bool, default False
        Whether upper and lower case are alike.

    Returns
    -------
    list of (dict of str to str, or None)
        For each text the groups of the first match; None where nothing matches.

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
    """List the groups that :func:`extract` finds.

    Returns
    -------
    list of str
        Their names; "0" where none has one.
    """
    return list(_to_linear(pattern)[1].values())


def _to_linear(pattern: str) -> tuple[str, dict[str, str]]:
    """Convert an expression for RE2, naming all groups that are read; return it with these names."""
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
