"""Sentences and a table on the principal components of the traits."""

from dataclasses import replace

from traitlens.columns import GROUP, TRAIT
from traitlens.report.numbers import bounded, decimal, interval, raters_of
from traitlens.report.results import Results
from traitlens.report.text_tables import Table, leave_out_empty


def describe_components(results: Results) -> list[str]:
    """Describe the number of components of the traits beyond chance in each group.

    Returns
    -------
    list of str
        A paragraph; empty where nothing was computed.
    """
    table = results.loadings
    if table is None:
        return []
    texts = []
    for group in results.groups:
        own = table[table[GROUP] == group]
        if own.empty:
            continue
        kept = int(own.loc[own["kept"], "component"].max()) if own["kept"].any() else 0
        what = {0: "no component", 1: "one component"}.get(kept, f"{kept} components")
        texts.append(f"{what} among {raters_of(group)}")
    if not texts:
        return []
    return [
        f"Beyond chance (parallel analysis; Horn, 1965): {', '.join(texts)}. The table lists their "
        "loadings with 95% intervals over raters; where intervals of two groups overlap "
        "widely, different loadings may be noise."
    ]


def tabulate_loadings(results: Results) -> list[Table]:
    """Format loadings with intervals as a table."""
    if results.loadings is None:
        return []
    rows = [
        [str(row[GROUP]), str(row["component"]), str(row[TRAIT]), bounded(row["loading"]),
         interval(row["low"], row["high"]), decimal(row["eigenvalue"]), decimal(row["chance"]),
         "yes" if row["kept"] else "no"]
        for row in results.loadings.to_dict("records")
    ]  # fmt: skip
    columns = ["Group", "Component", "Trait", "Loading", "95% interval", "Eigenvalue", "By chance",
               "Beyond chance"]  # fmt: skip
    caption = (
        "Components of the traits with intervals. Correlations of traits with components, not rotated; "
        "intervals from a bootstrap of raters, for these images; the eigenvalue by chance is the 95th "
        "percentile with images permuted."
    )
    return [replace(leave_out_empty(caption, columns, rows, 3), file="ratings/trait_loadings.csv")]
