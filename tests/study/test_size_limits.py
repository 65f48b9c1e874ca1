"""Workbooks and MATLAB files that unpack to much more than they look: refused before memory is taken."""

import io
import struct
import zipfile
import zlib

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pytest
from scipy.io import savemat

from traitlens.problems import StudyError
from traitlens.study import size_limits, tables
from traitlens.study.formats import read_cells
from traitlens.study.size_limits import check_matlab, measure_sheets

SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def workbook(path, cells):
    book = openpyxl.Workbook()
    for place, value in cells.items():
        book.active[place] = value
    book.save(path)
    return path


def test_cells_far_apart_are_refused_before_the_sheet_is_read(tmp_path):
    path = workbook(tmp_path / "far.xlsx", {"A1": "rater", "XFD1048576": 1})
    assert measure_sheets(path) == (1048576, 16384)
    with pytest.raises(StudyError, match="declares 1,048,576 x 16,384 cells"):
        read_cells(path)


def test_the_extent_of_a_sheet_is_that_of_its_cells(tmp_path):
    path = workbook(tmp_path / "small.xlsx", {"A1": "rater", "C1": "rating", "A2": "ann", "C7": 3})
    assert measure_sheets(path) == (7, 3)
    assert read_cells(path)["rating"].tolist() == ["", "3"]


@pytest.mark.parametrize(
    "cell", ['<c r="XFD1048576"/>', "<c\nr='XFD1048576'/>", '<x:c xmlns:x="{}" r="&#88;FD1048576"/>']
)
def test_the_place_of_a_cell_is_read_as_xml(tmp_path, cell):
    path = tmp_path / "odd.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "elsewhere/sheet.xml", f'<worksheet xmlns="{SHEET}">{cell.format(SHEET)}</worksheet>'
        )
    assert measure_sheets(path) == (1048576, 16384)


def test_extents_of_binary_and_open_document_sheets(tmp_path):
    row = b"\0\x19" + struct.pack("<I", 1048575) + bytes(21)
    cell = b"\x05\x10" + struct.pack("<I", 16383) + bytes(12)
    with zipfile.ZipFile(tmp_path / "a.xlsb", "w") as archive:
        archive.writestr("xl/worksheets/sheet1.bin", row + cell + b"\x81")
    assert measure_sheets(tmp_path / "a.xlsb") == (1048576, 16384)
    table = "urn:oasis:names:tc:opendocument:xmlns:table:1.0"
    empty = '<t:table-cell t:number-columns-repeated="16000"/>'
    rows = f'<t:table-row t:number-rows-repeated="9000">{empty}</t:table-row>'
    for content, extent in (("", (0, 0)), ('<t:table-cell office:value-type="float"/>', (9001, 16001))):
        with zipfile.ZipFile(tmp_path / "a.ods", "w") as archive:
            archive.writestr(
                "content.xml",
                f'<r xmlns:t="{table}" xmlns:office="o"><t:table>{rows}'
                f"<t:table-row>{empty}{content}</t:table-row>{rows}</t:table></r>",
            )
        assert measure_sheets(tmp_path / "a.ods") == extent


def mat73(path, fill):
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    return path


def cell_array(file, name, targets):
    data = file.create_dataset(name, (len(targets), 1), h5py.ref_dtype)
    data.attrs["MATLAB_class"] = np.bytes_("cell")
    data[:, 0] = [target.ref for target in targets]
    return data


def test_variables_in_other_files_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(64)))
    other = mat73(tmp_path / "other.mat", lambda file: file.create_dataset("x", data=np.arange(4.0)))
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(other), "x", (4,))
    fills = {
        "external": lambda file: file.create_dataset("x", (8,), "f8", external=[(str(secret), 0, 64)]),
        "virtual": lambda file: file.create_virtual_dataset("x", layout),
        "link": lambda file: file.__setitem__("x", h5py.ExternalLink(str(other), "/x")),
        "soft": lambda file: file.__setitem__("x", h5py.SoftLink("/y")),
        "text": lambda file: file.create_dataset("x", data=["a"], dtype=h5py.string_dtype()),
    }
    for name, fill in fills.items():
        with pytest.raises(StudyError, match=r"other files|links|type"):
            read_cells(mat73(tmp_path / f"{name}.mat", fill))

    def hide(file):
        part = file.create_group("#refs#").create_dataset("a", (8,), "f8", external=[(str(secret), 0, 64)])
        cell_array(file, "x", [part])

    with pytest.raises(StudyError, match="stores a variable in other files"):
        read_cells(mat73(tmp_path / "hidden.mat", hide))


def test_cell_arrays_that_fan_out_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MOST_REFERENCES", 1000)

    def fan_out(levels):
        def fill(file):
            target = file.create_dataset("#refs#/0", data=[[1.0]])
            for level in range(levels):
                name = "x" if level == levels - 1 else f"#refs#/{level + 1}"
                target = cell_array(file, name, [target] * 40)

        return fill

    for levels in (3, 12):
        path = mat73(tmp_path / f"{levels}.mat", fan_out(levels))
        with pytest.raises(StudyError, match=r"nested too deeply|more than 1,000 cells|half a gigabyte"):
            check_matlab(path)

    def loop(file):
        data = file.create_dataset("x", (1, 1), h5py.ref_dtype)
        data[0, 0] = data.ref
        file["y"] = file["/"]

    with pytest.raises(StudyError, match="nested too deeply"):
        check_matlab(mat73(tmp_path / "loop.mat", loop))


def test_sizes_count_over_the_whole_file(tmp_path):
    def many(file):
        for number in range(40):
            file.create_dataset(f"x{number}", (2**21,), "f8", chunks=(2**21,), compression="gzip")

    def repeated(file):
        cell_array(file, "x", [file.create_dataset("#refs#/a", (2**24,), "f8", chunks=(2**20,))] * 40)

    for number, fill in enumerate((many, repeated)):
        with pytest.raises(StudyError, match="more than half a gigabyte"):
            read_cells(mat73(tmp_path / f"{number}.mat", fill))


def test_compressed_variables_are_measured_before_they_are_unpacked(tmp_path, monkeypatch):
    stream = io.BytesIO()
    savemat(stream, {"x": np.zeros((1, 1))})
    packer, element = zlib.compressobj(9), b""
    for _ in range(600):
        element += packer.compress(bytes(2**20))
    element += packer.flush()
    path = tmp_path / "bomb.mat"
    path.write_bytes(stream.getvalue()[:128] + struct.pack("<II", 15, len(element)) + element)
    with pytest.raises(StudyError, match="more than half a gigabyte"):
        read_cells(path)
    rows = {"rater": np.array(["ann", "ben"], object), "rating": np.array([1.0, 2.0])}
    savemat(tmp_path / "fine.mat", rows, do_compression=True)
    assert read_cells(tmp_path / "fine.mat")["rating"].tolist() == ["1", "2"]


def test_tables_that_declare_too_much_are_refused(tmp_path, monkeypatch):
    table = pd.DataFrame({"rater": ["a"] * 1000, "image": "b", "trait": "c", "rating": 1.0})
    table.to_parquet(tmp_path / "ratings.parquet")
    assert len(read_cells(tmp_path / "ratings.parquet")) == 1000
    monkeypatch.setattr(size_limits, "MOST_VALUES", 3999)
    with pytest.raises(StudyError, match="declares 1,000 rows and 4 columns"):
        read_cells(tmp_path / "ratings.parquet")
    _, [problem] = tables.read_table(tmp_path / "ratings.parquet")
    assert "declares 1,000 rows and 4 columns" in str(problem)
    (tmp_path / "ratings.csv").write_text(",".join(f"a{number}" for number in range(50_000)) + "\n1\n")
    _, [problem] = tables.read_table(tmp_path / "ratings.csv")
    assert "declares 50,000 columns" in str(problem)
    (tmp_path / "ratings.csv").write_text("," * 2**21 + "\n1\n")
    assert tables.read_table(tmp_path / "ratings.csv")[1]
