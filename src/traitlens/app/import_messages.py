"""Messages of the import, reworded for the app: names of fields replace options of the command line."""

import re
from typing import Final

MISSING_FIELD: Final = "Cells that mean no rating"
NUMBER_TICK: Final = "Match pictures by the numbers in their names"
REPEAT_TICK: Final = "Ratings that come twice are repetitions, in their order"
ABSENT_TICK: Final = "Leave out ratings of pictures that are not there"

_WHO = "choose who is shown in the step Pictures"
_FORMS: Final = (
    (r"use --missing CODE", f"write it under “{MISSING_FIELD}”"),
    (r"name it with --missing", f"write it under “{MISSING_FIELD}”"),
    (
        r"use --missing (\S+), or --scale LOWEST HIGHEST if it is a rating",
        rf"write \1 under “{MISSING_FIELD}”, or the lowest and highest possible rating if it is a rating",
    ),
    (r"use --missing (\S+)", rf"write \1 under “{MISSING_FIELD}”"),
    (r"\s*\(--missing\)", ""),
    (r"use --number-repeats", f"tick “{REPEAT_TICK}”"),
    (r"\s*\(--number-repeats\)", ""),
    (r"use --by-number", f"tick “{NUMBER_TICK}”"),
    (r"say --leave-out-absent", f"tick “{ABSENT_TICK}”"),
    (r"use --identity .*", _WHO),
    (r"identities by --identity image", "identities: another person in each picture"),
    (r"identities by --identity folder", "identities: one person in each sub-folder"),
    (r"identities by --identity name", "identities, by the beginning of the names"),
    (r"\s*\(--(image|rater)\)", ""),
    (r"say --(image|rater|group|trait|rating) COLUMN", r"choose the column that holds: \1"),
    (r"use --columns raters or --columns traits", "choose whether each column is one rater or one trait"),
    (r"name the columns yourself: --group, --rater \.\.\.", "choose what each column holds"),
    (r"say --group, --raters, or --group-pattern", "choose the column of the group"),
)
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]+)")


def reword_for_app(text: str) -> str:
    """Replace options of the command line in a message by the names of the app's fields.

    An option without a field in the app remains, with the command it belongs to.

    Examples
    --------
    >>> reword_for_app("correct it, or use --missing CODE")
    'correct it, or write it under “Cells that mean no rating”'
    >>> reword_for_app("another --encoding?")
    'another --encoding (of the command “traitlens import table”)?'
    """
    for form, words in _FORMS:
        text = re.sub(form, words, text)
    return _OPTION.sub(r"--\1 (of the command “traitlens import table”)", text)
