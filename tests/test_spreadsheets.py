"""Text that spreadsheet programs would run as a formula."""

import openpyxl
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traitlens.spreadsheets import protect, unprotect
from traitlens.storage import read_table, write_table
from traitlens.study.writing import WRITERS, write_table_as

EVIL = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", '=HYPERLINK("http://evil.example")']
texts = st.text(st.sampled_from("='+-@\t1e.a"), max_size=6)


@given(st.lists(texts, min_size=1), st.lists(texts, min_size=1, max_size=3, unique=True))
def test_protected_text_is_no_formula_and_comes_back(values, names):
    table = pd.DataFrame(dict.fromkeys(names, values))
    shown = protect(table)
    for text in [*shown.columns, *shown.to_numpy().ravel()]:
        if len(text) > 1 and text[0] in "=+-@\t\r":
            float(text)
    pd.testing.assert_frame_equal(unprotect(shown), table)
    sorts = table.astype("category")
    pd.testing.assert_frame_equal(unprotect(protect(sorts)), sorts)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx"])
def test_no_table_holds_formulas(tmp_path, suffix):
    assert suffix in WRITERS
    table = pd.DataFrame({"rater": EVIL, "=1+1": 1.5})
    path = tmp_path / f"table{suffix}"
    write_table_as(table, path)
    if suffix == ".xlsx":
        cells = [cell for row in openpyxl.load_workbook(path).active.iter_rows() for cell in row]
        assert not [cell for cell in cells if cell.data_type == "f"]
        assert {cell.value for cell in cells} >= {"=1+1", *EVIL}
    else:
        written = pd.read_csv(path, sep="\t" if suffix == ".tsv" else ",")
        assert written["rater"].tolist() == [f"'{text}" for text in EVIL]
        assert "'=1+1" in written


def test_results_are_read_as_they_were(tmp_path):
    table = pd.DataFrame({"rater": EVIL, "image": "-5", "rating": 1.5})
    write_table(tmp_path / "table.csv", table)
    assert pd.read_csv(tmp_path / "table.csv")["rater"].str.startswith("'").all()
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), table, check_dtype=False)
