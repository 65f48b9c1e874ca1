"""Parsing of the formula of a model of raters, such as "group * aq + age + sex"."""

import re

_TOKEN = re.compile(r"\s*(?:`[^`\n]+`|[^\W\d]\w*|[+*:()])")
MOST_VARIABLES = 12


def parse_formula(formula: str) -> list[tuple[str, ...]]:
    """Parse the right-hand side of a model formula into terms.

    The syntax is that of R, restricted to column names, `+`, `*`, `:` and parentheses, so that the settings
    of a study cannot run code.

    Parameters
    ----------
    formula : str
        Formula such as "group * aq + age"; enclose names that contain spaces in backticks.

    Returns
    -------
    list of tuple of str
        The variables of each term: one, or two in an interaction.

    Raises
    ------
    ValueError
        If the formula is invalid, has no variable or more than 12, or an interaction of three or more.

    Examples
    --------
    >>> parse_formula("group * aq + age")
    [('group',), ('aq',), ('age',), ('group', 'aq')]
    """
    place = 0
    while place < len(formula.rstrip()):
        token = _TOKEN.match(formula, place)
        if token is None:
            raise ValueError(
                f"{formula[place:].strip()[:20]!r} is not understood: write names of columns with +, *, : "
                f"and "
                "parentheses"
            )
        place = token.end()
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    try:
        parsed = [tuple(str(factor.expr) for factor in term.factors) for term in Formula(formula)]
    except (FormulaicError, SyntaxError, RecursionError, TypeError) as error:
        raise ValueError("it is not a valid formula; an example is group * aq + age") from error
    terms = [tuple(name.strip("`") for name in term) for term in parsed if term != ("1",)]
    names = {name for term in terms for name in term}
    if not names or len(names) > MOST_VARIABLES:
        raise ValueError(f"it needs 1 to {MOST_VARIABLES} variables")
    if any(len(term) > 2 for term in terms):
        raise ValueError("an interaction can have at most two variables")
    return terms


def formula_variables(formula: str) -> list[str]:
    """Return the distinct variables of a formula.

    Returns
    -------
    list of str
        Column names in the order of the terms.

    Examples
    --------
    >>> formula_variables("group * aq + age")
    ['group', 'aq', 'age']
    """
    return list(dict.fromkeys(name for term in parse_formula(formula) for name in term))
