"""Create the screenshots of docs/app.md by running a browser test of the app.

Usage: CHROMIUM=/path/to/chromium python scripts/write_app_pictures.py
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

STEPS = {"0_begin": "begin", "1_pictures": "pictures", "2_ratings": "ratings", "3_faults": "faults",
         "4_run": "run", "5_read": "read"}  # fmt: skip
WIDTH, MOST_HEIGHT = 960, 1000


def main() -> None:
    """Run the test, and write a screenshot of each step to docs/images."""
    target = Path(__file__).parents[1] / "docs" / "images"
    with tempfile.TemporaryDirectory() as folder:
        test = ["tests/app/test_browser.py", "-k", "Mouse"]
        command = [sys.executable, "-m", "pytest", "-q", "-m", "slow", *test]
        subprocess.run(command, env=os.environ | {"TRAITLENS_SCREENSHOTS": folder}, check=True)
        for step, name in STEPS.items():
            keep(Path(folder) / f"{step}_1440.png", target / f"app_{name}.png")


def keep(file: Path, target: Path) -> None:
    """Write a screenshot at a smaller size, cut off at the bottom if it is long."""
    picture = Image.open(file).convert("RGB")
    picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    picture = picture.crop((0, 0, WIDTH, min(picture.height, MOST_HEIGHT)))
    picture.quantize(128).save(target, optimize=True)


if __name__ == "__main__":
    main()
