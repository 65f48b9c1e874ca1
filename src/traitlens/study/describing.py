"""Description in words of how an import maps columns, for the terminal."""

from traitlens.study.settings import RatingsSettings


def describe_mapping(mapping: RatingsSettings) -> str:
    """Describe in words how the columns of a table are mapped, one line for each setting that is set."""
    spread = mapping.spread
    shown = ", ".join(spread) if len(spread) < 13 else f"{spread[0]} ... {spread[-1]} ({len(spread)} columns)"
    lines = ["a row for each judgement"]
    if mapping.layout == "wide":
        lines = [f"a column for each of the {mapping.columns}: {shown}"]
    if mapping.files_are is not None:
        each = {"traits": "a trait", "groups": "a group", "raters": "a rater", "parts": "a part of one table"}
        what = "sheet" if mapping.sheets else "file"
        lines.append(f"each {what} is {each[mapping.files_are]}")
    for word in ("rater", "group", "image", "trait", "rating", "repeat"):
        column = getattr(mapping, word)
        if column is not None:
            lines.append(f"{word}: column {column!r}")
    if mapping.trait_name is not None:
        lines.append(f"trait: {mapping.trait_name!r} for all ratings")
    if mapping.pattern is not None:
        lines.append(f"split by: {mapping.pattern!r}")
    if mapping.group_pattern is not None:
        lines.append(f"group: {mapping.group_pattern!r} in the rater's name")
    if mapping.by_number:
        lines.append("images: matched by the numbers in their names")
    for column, values in mapping.only.items():
        lines.append(f"rows with {column!r}: {', '.join(values)}")
    if mapping.missing:
        lines.append(f"codes for missing ratings: {', '.join(mapping.missing)}")
    if mapping.keep:
        lines.append(f"further columns kept: {', '.join(mapping.keep)}")
    return "\n".join(lines)
