"""The summary of an import in the report."""

from types import SimpleNamespace

import pytest

from traitlens.report.text_tables import tabulate_import


def test_the_import_is_listed():
    rows = [["Table", "r.csv: 72 rows"], ["Rating cells", "72 read, 72 used"]]
    (table,) = tabulate_import(SimpleNamespace(study={"imported": rows}))
    assert table.rows == rows


@pytest.mark.parametrize("imported", [None, [], "x", 3, [[1, 2, 3], {"a": 1}]])
def test_results_of_others_may_hold_anything(imported):
    assert tabulate_import(SimpleNamespace(study={"imported": imported})) == []
