"""Files of altered pictures say that they were altered."""

import numpy as np
import pytest
from PIL import Image

from traitlens.experiment.picture_files import read_provenance, write_contact_sheet, write_picture
from traitlens.problems import TraitlensError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def test_a_picture_keeps_its_bits_and_its_provenance(tmp_path):
    write_picture(tmp_path / "a.png", PIXELS, {"base": "mü.png", "step": 0.5})
    assert read_provenance(tmp_path / "a.png") == {"altered": True, "base": "mü.png", "step": 0.5}
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), PIXELS)
        assert "altered by computer" in image.text["Description"]
        assert "algorithmicallyEnhanced" in image.text["XML:com.adobe.xmp"]


def test_a_picture_without_provenance_is_an_error(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "plain.png")
    with pytest.raises(TraitlensError, match="contains no provenance"):
        read_provenance(tmp_path / "plain.png")


def test_contact_sheets_have_pages(tmp_path):
    pages = write_contact_sheet(tmp_path, [(f"face {i}", [PIXELS, PIXELS, None]) for i in range(13)])
    assert [page.name for page in pages] == ["contact_sheet_01.png", "contact_sheet_02.png"]
