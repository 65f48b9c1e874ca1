"""Build the wheel of the package traitlens-vgg16, with the verified weights.

The weights are not part of the repository. They are taken from the cache or downloaded, and verified by their
digest.

Usage: python scripts/build_weights_package.py [FOLDER]
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.numpy import save_file

from traitlens.features.weights import PACKAGE_MODULE, cached_weights, vgg16_weights

SOURCE = Path(__file__).parents[1] / "packages" / "traitlens-vgg16"


def main(folder: Path) -> None:
    """Add the weights to a copy of the package, and build the wheel of this copy in a folder."""
    tensors, source = vgg16_weights(announce=print)
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(SOURCE, Path(temporary) / SOURCE.name))
        save_file(tensors, copy / "src" / PACKAGE_MODULE / cached_weights().name)
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(copy)]
        subprocess.run(command, check=True)
    (wheel,) = folder.glob(f"{PACKAGE_MODULE}-*.whl")
    print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB, weights from {source}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
