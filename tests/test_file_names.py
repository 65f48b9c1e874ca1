"""Names of files: different ones for different groups, on every file system."""

import re

from hypothesis import given
from hypothesis import strategies as st

from traitlens.naming import file_names


@given(st.lists(st.text(max_size=80), max_size=12, unique=True))
def test_names_are_plain_and_differ(names):
    written = file_names(names)
    assert len({name.casefold() for name in written}) == len(names)
    assert all(re.fullmatch(r"[\w-]{1,61}", name) for name in written)
    assert not {name.casefold() for name in written} & {"con", "nul", "com1", "lpt9"}


def test_groups_of_signs_and_of_other_scripts_differ():
    assert file_names(["ADHD+", "ADHD-", "男性", "女性", "ADHD+"]) == [
        "ADHD",
        "ADHD-2",
        "男性",
        "女性",
        "ADHD",
    ]
