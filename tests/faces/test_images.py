"""Image files of every kind, whole and broken, and the squares made of them."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from skimage.transform import EuclideanTransform, estimate_transform

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.cropping import Crop, prepare_image
from traitlens.faces.frames import (
    CANONICAL_ANCHORS,
    LEFT_PUPIL,
    MOUTH_CORNERS,
    RIGHT_PUPIL,
    Frame,
    face_anchors,
    fit_similarity,
    make_frame,
)
from traitlens.faces.images import _Budget, check_images, load_image
from traitlens.problems import TraitlensError


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    """A smooth picture, 60 wide and 40 high, different in every corner."""
    small = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((60, 40), Image.Resampling.BICUBIC))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def mesh(left: tuple, right: tuple, mouth: tuple) -> np.ndarray:
    """A mesh of which only the points that place a face mean something."""
    points = np.tile(np.mean([left, right, mouth], axis=0), (478, 1))
    points[LEFT_PUPIL], points[RIGHT_PUPIL] = left, right
    points[list(MOUTH_CORNERS)] = mouth
    return points


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_lossless_formats_come_back_whatever_the_name_says(tmp_path: Path, picture: np.ndarray, suffix: str):
    path = tmp_path / "face.jpg"
    Image.fromarray(picture).save(path, format=suffix, lossless=True)
    np.testing.assert_array_equal(load_image(path), picture)


@pytest.mark.parametrize("suffix", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, picture: np.ndarray, suffix: str, orientation: int):
    stored = {  # how the camera stored the upright picture
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, 1),
        7: np.rot90(picture, 1)[:, ::-1][::-1, ::-1].copy(),
        8: np.rot90(picture, -1),
    }
    stored[7] = picture[::-1, ::-1].transpose(1, 0, 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"face.{suffix}"
    options = {"jpeg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(stored[orientation])).save(path, exif=exif, **options)
    np.testing.assert_allclose(load_image(path).astype(int), picture.astype(int), rtol=0, atol=6)


def test_12_bits_in_16_are_refused(tmp_path: Path, picture: np.ndarray):
    grey = picture[:, :, 0].astype(np.uint16)
    for name in ("twelve.tif", "twelve.png"):
        Image.fromarray(grey * 16).save(tmp_path / name)
        with pytest.raises(TraitlensError, match=r"nearly black: the largest of its 16-bit values .* by 16"):
            load_image(tmp_path / name)


def test_formats_that_are_not_read_are_named(tmp_path: Path, picture: np.ndarray):
    Image.fromarray(picture).save(tmp_path / "face.jpg", format="BMP")
    with pytest.raises(
        TraitlensError, match="is a BMP file, which traitlens does not read; save the image again"
    ):
        load_image(tmp_path / "face.jpg")
    (tmp_path / "face.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    with pytest.raises(TraitlensError, match=r"face\.heic"):
        load_image(tmp_path / "face.heic")


def test_photographs_of_telephones(tmp_path: Path, picture: np.ndarray):
    heif = pytest.importorskip("pillow_heif")
    large = np.kron(picture, np.ones((4, 4, 1), np.uint8))
    heif.from_pillow(Image.fromarray(large)).save(tmp_path / "face.heic", quality=-1)
    assert np.abs(load_image(tmp_path / "face.heic").astype(int) - large).mean() < 4


def test_grey_16_bit_and_palette(tmp_path: Path, picture: np.ndarray):
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.tif")
    for name in ("grey.png", "deep.png", "deep.tif"):
        np.testing.assert_array_equal(load_image(tmp_path / name), np.repeat(grey[..., None], 3, axis=2))
    palette = Image.fromarray(picture).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(load_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


def test_transparency_shows_the_background(tmp_path: Path, picture: np.ndarray):
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[:10], alpha[10:20] = 0, 51
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "face.png")
    pixels = load_image(tmp_path / "face.png", background=(255, 0, 100))
    np.testing.assert_array_equal(pixels[:10], np.broadcast_to([255, 0, 100], (10, 60, 3)))
    mixed = np.rint(picture[10:20] * 0.2 + np.array([255, 0, 100]) * 0.8)
    np.testing.assert_allclose(pixels[10:20], mixed, rtol=0, atol=1)
    np.testing.assert_array_equal(pixels[20:], picture[20:])
    grey = np.dstack([picture[..., 0], alpha])
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert (load_image(tmp_path / "grey.png")[:10] == 128).all()


def test_colour_profiles_are_brought_to_srgb(tmp_path: Path, picture: np.ndarray):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    Image.fromarray(picture).save(tmp_path / "same.png", icc_profile=srgb.tobytes())
    np.testing.assert_array_equal(load_image(tmp_path / "same.png"), picture)
    # The same colours with red and blue exchanged, under a profile that says so.
    data = bytearray(srgb.tobytes())
    tags = {bytes(data[132 + 12 * k : 136 + 12 * k]): 132 + 12 * k for k in range(data[131])}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    place = bytes(data).find("sRGB".encode("utf-16-be"))
    data[place : place + 8] = "sBGR".encode("utf-16-be")
    Image.fromarray(picture[..., ::-1].copy()).save(tmp_path / "other.png", icc_profile=bytes(data))
    np.testing.assert_allclose(load_image(tmp_path / "other.png").astype(int), picture, rtol=0, atol=3)
    Image.fromarray(picture).save(tmp_path / "broken.png", icc_profile=b"not a profile")
    np.testing.assert_array_equal(load_image(tmp_path / "broken.png"), picture)


def test_cmyk(tmp_path: Path, picture: np.ndarray):
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "face.jpg", quality=100)
    np.testing.assert_allclose(load_image(tmp_path / "face.jpg").astype(int), picture, rtol=0, atol=12)


def faulty_files(folder: Path, picture: np.ndarray) -> dict[str, str]:
    """Write broken files; map their names to what must be said of them."""
    image = Image.fromarray(picture)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (99, 99, 3), np.uint8)).save(whole, "jpeg")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    image.save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-200])
    (folder / "text.jpg").write_text("no image at all")
    (folder / "empty.png").write_bytes(b"")
    image.save(folder / "gif.png", format="gif")
    image.save(folder / "moves.png", save_all=True, append_images=[image.rotate(90)])
    image.save(folder / "pages.tif", save_all=True, append_images=[image.rotate(90)])
    Image.new("L", (20, 300)).save(folder / "narrow.png")
    Image.new("1", (9100, 9000)).save(folder / "vast.png")
    Image.new("1", (15000, 15000)).save(folder / "bomb.png")
    Image.fromarray(np.ones((40, 40), np.float32)).save(folder / "float.tif")
    return {
        "cut.jpg": "damaged",
        "cut.png": "damaged",
        "text.jpg": "is not a JPEG, PNG, TIFF or WebP image",
        "empty.png": "is empty",
        "gif.png": "is a GIF file, which traitlens does not read",
        "moves.png": "contains 2 images",
        "pages.tif": "contains 2 images",
        "narrow.png": "is only 20 x 300 pixels",
        "vast.png": "more than 50 million pixels",
        "bomb.png": "more than 50 million pixels",
        "float.tif": "stores values other than 8 or 16 bits",
        "missing.jpg": "file not found",
    }


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_fault_is_one_line_that_names_the_file(tmp_path: Path, picture: np.ndarray):
    expected = faulty_files(tmp_path, picture)
    Image.fromarray(picture).save(tmp_path / "good.png")
    for name, words in expected.items():
        with pytest.raises(TraitlensError, match=words) as caught:
            load_image(tmp_path / name)
        assert len(caught.value.problems) == 1
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    names = ["good.png", *expected]
    done: list[int] = []
    problems = check_images([tmp_path / name for name in names], names, done.append)
    assert [problem.file for problem in problems] == list(expected)
    assert all(words in str(problem) for words, problem in zip(expected.values(), problems, strict=True))
    assert sum(done) == len(names)


def test_full_pads_to_a_square():
    pixels = np.zeros((100, 60, 3), np.uint8)
    pixels[:, :, 0] = 255
    prepared = prepare_image(pixels, size=50)
    assert (prepared.pixels[:, :7] == 128).all()
    assert (prepared.pixels[:, 13:37] == [255, 0, 0]).all()
    np.testing.assert_allclose(prepared.frame.map_points([[0, 0], [60, 100]]), [[10, 0], [40, 50]], atol=1e-9)
    np.testing.assert_array_equal(prepared.frame.covered()[0], [10 <= x < 40 for x in range(50)])


def test_a_square_of_the_right_size_stays_as_it_is(rng: np.random.Generator):
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepare_image(pixels, size=64).pixels, pixels)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.3, 8.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, 3.0])
def test_face_crop_brings_pupils_and_mouth_to_their_places(factor: float, angle: float):
    size = 128
    anchors = np.array(CANONICAL_ANCHORS) * size / 512
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    side = int(size * factor * 1.5)
    in_image = (anchors - size / 2) @ turn.T + side / 2
    y, x = np.mgrid[:side, :side] + 0.5
    pixels = np.zeros((side, side, 3), np.uint8)
    for channel, (cx, cy) in enumerate(in_image):
        spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (4 * factor) ** 2))
        pixels[..., channel] = np.rint(255 * spot)
    points = mesh(*in_image)
    prepared = prepare_image(pixels, size, "face", points)
    np.testing.assert_allclose(prepared.frame.map_points(face_anchors(points)), anchors, rtol=0, atol=1e-6)
    y, x = np.mgrid[:size, :size] + 0.5
    for channel, (cx, cy) in enumerate(anchors):
        spot = prepared.pixels[..., channel] / 255
        centre = np.array([(spot * x).sum(), (spot * y).sum()]) / spot.sum()
        np.testing.assert_allclose(centre, [cx, cy], rtol=0, atol=0.1)


def test_shrinking_makes_no_false_patterns():
    pixels = np.zeros((1600, 1600, 3), np.uint8)
    pixels[:, ::2] = 255  # a grating much finer than the prepared pixels
    points = mesh((600, 700), (1000, 700), (800, 1139.4))
    inner = prepare_image(pixels, 128, "face", points).pixels
    assert np.abs(inner.astype(float) - 127.5).max() < 20


def test_reference_crop():
    points = mesh((40, 50), (60, 50), (50, 70))
    points[0], points[1] = (30, 20), (70, 80)
    frame = prepare_image(np.zeros((100, 100, 3), np.uint8), 100, "reference", points).frame
    # The box is 40 x 60: the square has sides of 78 around (50, 50 - 9).
    np.testing.assert_allclose(frame.map_back([[0, 0], [100, 100]]), [[11, 2], [89, 80]], rtol=0, atol=1e-9)


def test_crops_that_cannot_be_made():
    pixels = np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(TraitlensError, match="unknown crop 'fase'; did you mean 'face'"):
        prepare_image(pixels, crop="fase")
    with pytest.raises(TraitlensError, match="needs landmarks"):
        prepare_image(pixels, crop="face")


@given(
    st.floats(0.05, 20),
    st.floats(-3.1, 3.1),
    st.tuples(*[st.floats(-999, 999)] * 2),
    st.integers(0, 2**32 - 1),
)
def test_similarity_is_found_and_undone(scale: float, angle: float, shift: tuple, seed: int):
    source = np.random.default_rng(seed).uniform(0, 100, (5, 2))
    turn = scale * EuclideanTransform(rotation=angle).params[:2, :2]
    target = source @ turn.T + shift
    matrix = fit_similarity(source, target)
    np.testing.assert_allclose(matrix, np.column_stack([turn, shift]), rtol=1e-6, atol=1e-6)
    frame = make_frame(matrix, 10, "face", (3, 4))
    np.testing.assert_allclose(frame.map_back(frame.map_points(source)), source, rtol=1e-9, atol=1e-6)
    assert frame.scale == pytest.approx(scale, rel=1e-6)
    assert Frame.from_json(json.loads(json.dumps(frame.to_json()))) == frame


@pytest.mark.filterwarnings("ignore:.*estimate_transform:FutureWarning")
def test_similarity_equals_scikit_image(rng: np.random.Generator):
    source, target = rng.normal(size=(2, 6, 2))
    expected = estimate_transform("similarity", source, target).params[:2]
    np.testing.assert_allclose(fit_similarity(source, target), expected, rtol=1e-9, atol=1e-9)


def test_what_lies_beside_the_photograph():
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    points = mesh((12, 10), (28, 10), (20, 27.575))  # the face reaches over every edge
    coloured = prepare_image(pixels, 64, Crop("face", background=(255, 0, 7)), points)
    continued = prepare_image(pixels, 64, "face", points)
    inside = coloured.frame.covered()
    assert 0.2 < inside.mean() < 0.95
    assert (coloured.pixels[0, 0] == (255, 0, 7)).all()
    # Outside, every pixel is that of the nearest place on the edge.
    y, x = np.nonzero(~inside)
    places = coloured.frame.map_back(np.column_stack([x, y]) + 0.5)
    nearest = np.clip(np.floor(places), 0, 39).astype(int)
    away = np.abs(places - np.clip(places, 0, 40)).max(axis=1)
    far = away > 2
    corner = far & (places < -2).all(axis=1)
    assert corner.any()
    expected = pixels[nearest[corner, 1], nearest[corner, 0]]
    np.testing.assert_allclose(continued.pixels[y, x][corner].astype(int), expected, rtol=0, atol=1)


def test_reference_crop_of_ones_own_margins_and_level():
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    points = mesh((40, 50), (60, 50), (50, 70))
    points[0], points[1] = (30, 20), (70, 80)
    pixels = np.zeros((200, 200, 3), np.uint8)
    crop = Crop("reference", larger=1.0, up=0.5, rotate=True)
    frame = prepare_image(pixels, 100, crop, points @ turn.T + [40, 20]).frame
    # The box is 40 x 60: the square has sides of 120 around (50, 50 - 30).
    corners = np.array([[-10.0, -40.0], [110.0, -40.0], [110.0, 80.0]])
    expected = corners @ turn.T + [40, 20]
    np.testing.assert_allclose(frame.map_back([[0, 0], [100, 0], [100, 100]]), expected, rtol=0, atol=1e-9)
    level = frame.map_points(points @ turn.T + [40, 20])
    assert level[LEFT_PUPIL, 1] == pytest.approx(level[RIGHT_PUPIL, 1])
    assert Crop.from_json(json.loads(json.dumps(crop.to_json()))) == crop
    assert Crop.from_json({"crop": "face", "size": 224}) == Crop("face")


def test_threads_together_decode_no_more_pixels_than_one_budget():
    budget, inside, most = _Budget(100), [], []

    def decode(pixels):
        with budget.reserve(pixels):
            inside.append(pixels)
            most.append(sum(inside))
            time.sleep(0.002)
            inside.remove(pixels)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [60, 30, 10, 500, 70, 40] * 5))  # 500 waits until it is alone
    assert len(most) == 30
    assert {total for total in most if total > 100} == {500}
    with pytest.raises(ZeroDivisionError), budget.reserve(100):
        1 / 0  # noqa: B018
    with budget.reserve(100):
        pass


@pytest.mark.parametrize(
    "crop", ["face", Crop("reference"), Crop("reference", up=1e5), Crop("reference", larger=1e4)]
)
@pytest.mark.parametrize("moved", [0, 1e5, -1e5, 1e12])
def test_what_lies_far_beyond_the_image_is_refused(crop, moved):
    points = canonical_mesh().points / 4 + moved
    if moved == 0 and crop in ("face", Crop("reference")):
        assert prepare_image(np.zeros((128, 128, 3), np.uint8), 64, crop, points).pixels.shape == (64, 64, 3)
        return
    with pytest.raises(TraitlensError, match="reaches far beyond the image"):
        prepare_image(np.zeros((128, 128, 3), np.uint8), 64, crop, points)
