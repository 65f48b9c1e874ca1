"""Images and models from strangers: one clear message, no hang, bounded memory, nothing written outside."""

import io
import json
import os
import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

LOOK = """
import json, resource, sys, time
from pathlib import Path
from PIL import Image
from traitlens.faces.cropping import prepare_image
from traitlens.faces.images import load_image
from traitlens.problems import TraitlensError
from traitlens.readouts.trait_models import TraitModels

def load(path):
    if path.is_dir():
        return TraitModels.load(path)
    return prepare_image(load_image(path), 64, "full").pixels

def memory():
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 if sys.platform != "darwin" else 1024**2)

Image.init()
usual, found = memory(), {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.perf_counter()
    try:
        load(path)
        told = ""
    except TraitlensError as error:
        told = str(error)
    found[path.name] = [time.perf_counter() - start, told]
print(json.dumps({"found": found, "megabytes": memory() - usual}))
"""


def png(width, height, rows=b"", depth=8, kind=2):
    """Write a PNG by hand, whose header may promise anything."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def encoded(pixels, form, **options):
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def hostile_images(picture, side):
    """Name and content of each hostile image, and whether it should be refused."""
    image = Image.fromarray(picture)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    frames = [image.rotate(90 * turn) for turn in range(3)]
    yield "bomb.png", png(60_000, 60_000, b"\0" * 1000), True
    yield "bomb_real.png", png(9_500, 9_500, b"\0" * (9_500 * 3 + 1) * 9_500), True
    rows = b"\0" * (side * 8 + 1) * side
    for name, depth, kind in [
        ("large", 8, 2),
        ("large_rgba", 8, 6),
        ("large_rgba16", 16, 6),
        ("large_grey_alpha", 8, 4),
        ("large_grey16", 16, 0),
    ]:
        channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
        content = rows[: (side * channels * depth // 8 + 1) * side]
        yield f"{name}.png", png(side, side, content, depth=depth, kind=kind), None if depth == 16 else False
    yield (
        "large.tiff",
        encoded(Image.new("I", (side, side), 60_000), "TIFF", compression="tiff_deflate"),
        False,
    )
    yield "lying_size.png", png(2_000_000_000, 2, b"\0" * 100), True
    yield "no_rows.png", png(64, 64), True
    yield "one.png", encoded(picture[:1, :1], "PNG"), True
    yield "wide.png", png(20_000, 20_000, b"\0" * 5000), True
    yield "wrong.jpg", encoded(picture, "PNG"), False
    yield "cmyk.jpg", encoded(image.convert("CMYK"), "JPEG"), False
    yield "deep.png", encoded(picture[..., 0].astype(np.uint16) * 257, "PNG"), False
    yield "alpha.png", encoded(image.convert("RGBA"), "PNG"), False
    yield "turned.jpg", encoded(image, "JPEG", exif=rotated), False
    yield "cut.jpg", encoded(picture, "JPEG")[:700], True
    yield "cut.png", encoded(picture, "PNG")[:2000], True
    yield "moving.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), None
    yield "moving.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), None
    yield "empty.png", b"", True
    yield "page.png", b"<svg onload='alert(1)'></svg>", True
    yield "script.tiff", b"%!PS\n(attack) run", True
    yield "loop.tiff", b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8), True


def look(folder):
    command = [sys.executable, "-c", LOOK, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("side", "megabytes"), [(2_500, 300), pytest.param(7_000, 1000, marks=pytest.mark.slow)]
)
def test_hostile_images_are_refused_or_read_in_bounded_time_and_memory(picture, tmp_path, side, megabytes):
    folder = tmp_path / "images"
    folder.mkdir()
    refused = {}
    for name, content, refuse in hostile_images(picture, side):
        (folder / name).write_bytes(content)
        refused[name] = refuse
    seen = look(folder)
    for name, (seconds, told) in seen["found"].items():
        assert seconds < 10, name
        assert "\n" not in told, name
        assert refused[name] is None or bool(told) is refused[name], (name, told)
        assert not told or name in told
    assert seen["megabytes"] < megabytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_damaged_images_are_refused_or_read(picture, tmp_path):
    draw = random.Random(7)
    forms = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tiff", "WEBP": ".webp"}
    for form, suffix in forms.items():
        whole = encoded(picture, form)
        for number in range(60):
            damaged = bytearray(whole)
            for _ in range(draw.randint(1, 20)):
                damaged[draw.randrange(min(len(damaged), 10 ** draw.randint(1, 5)))] = draw.randrange(256)
            (tmp_path / f"{number:02d}{suffix}").write_bytes(damaged[: draw.randint(1, len(damaged))])
    seen = look(tmp_path)
    assert len(seen["found"]) == 240
    assert max(seconds for seconds, _ in seen["found"].values()) < 10
    assert seen["megabytes"] < 1000


def test_hostile_model_folders_are_refused(tmp_path):
    manifest = {"format": "traitlens-model", "version": 1}
    hostile = {
        "empty": {},
        "no_json": {"manifest.json": b"{" * 1000, "readouts.safetensors": b""},
        "deep": {"manifest.json": b"[" * 200_000, "readouts.safetensors": b""},
        "huge_number": {"manifest.json": b'{"version": 1' + b"0" * 10_000 + b"}"},
        "pickle": {
            "manifest.json": json.dumps(manifest).encode(),
            "readouts.safetensors": b"\x80\x04cos\nsystem\n.",
        },
        "huge_header": {
            "manifest.json": json.dumps(manifest).encode(),
            "readouts.safetensors": struct.pack("<Q", 2**60) + b"{}",
        },
    }
    for name, files in hostile.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
    if hasattr(os, "symlink"):
        (tmp_path / "link").mkdir()
        (tmp_path / "link" / "manifest.json").symlink_to("/etc/passwd")
    seen = look(tmp_path)
    assert all(told for _, told in seen["found"].values()), seen
    assert max(seconds for seconds, _ in seen["found"].values()) < 10
    assert seen["megabytes"] < 1000


def test_links_and_names_that_leave_the_folder_are_not_followed(picture, tmp_path):
    study = tmp_path / "study"
    (study / "images").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(encoded(picture, "PNG"))
    for name in ("a.png", "b.png"):
        (study / "images" / name).write_bytes(encoded(picture, "PNG"))
    (study / "images" / "link.png").symlink_to(tmp_path / "outside.png")
    rows = [
        f"r{r},all,{image},warm,{r % 3 + 1}" for r in range(3) for image in ("../outside.png", "link.png")
    ]
    (study / "ratings.csv").write_text("rater,group,image,trait,rating\n" + "\n".join(rows) + "\n")
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "traitlens.cli", "run", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert "outside.png" in done.stderr
    assert "link.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
