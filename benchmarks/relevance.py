"""Compare speed and values of relevance maps with those of iNNvestigate, zennit and Captum.

    python benchmarks/relevance.py [--images 2] [--rounds 3] [--readouts 22] [--only NAME ...]
                                   [--processor-time]

All programs use the same weights and images. Each other program runs in a separate environment (.venv-NAME
beside the project), which is created the first time. The programs take turns for several rounds, so that
other load on the machine affects all of them; the best round counts. Results are printed as ratios and
written to benchmarks/results/relevance.json. On a shared machine, `--processor-time --threads 1` measures
processor time instead of elapsed time.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CACHE = ROOT / "benchmarks" / "cache"
PEERS = {
    "innvestigate": ["tensorflow-cpu==2.14.1", "innvestigate==2.1.2", "numpy<2"],
    "torch": ["torch==2.13.0", "numpy", "zennit", "captum", "matplotlib", "tqdm", "click", "Pillow"],
}
PROGRAMS = {
    "innvestigate": "innvestigate",
    "zennit": "torch",
    "zennit, same rules": "torch",
    "captum": "torch",
    "gradient": "torch",
}
METHOD = "lrp.sequential_preset_a_flat"
INNVESTIGATE_METHODS = [
    METHOD,
    "lrp.sequential_preset_b_flat",
    "lrp.sequential_preset_a",
    "lrp.epsilon",
    "lrp.w_square",
    "lrp.z_plus",
    "lrp.alpha_2_beta_1",
    "deep_taylor",
    "gradient",
    "input_t_gradient",
    "guided_backprop",
    "deconvnet",
]
"""Methods whose maps are compared; traitlens and iNNvestigate use the same names."""


def environment(peer: str) -> Path:
    """Create the environment of another program unless it exists, and return its Python interpreter."""
    folder = ROOT / f".venv-{peer}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        print(f"installing {', '.join(PEERS[peer])} into {folder.name} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        # zennit and Captum require packages that are not needed here (torchvision, GPU libraries).
        without = ["zennit", "captum"] if peer == "torch" else []
        rest = [name for name in PEERS[peer] if name not in without]
        subprocess.run([*install, *rest], check=True)
        if without:
            subprocess.run([*install, "--no-deps", *without], check=True)
        ready.touch()
    return python


def write_inputs(images: int) -> Path:
    """Write the network's weights, a readout and images to a file that all programs read."""
    from traitlens.features.weights import vgg16_weights

    CACHE.mkdir(parents=True, exist_ok=True)
    file = CACHE / "relevance_inputs.npz"
    rng = np.random.default_rng(0)
    tensors, _ = vgg16_weights(None, print)
    # Colours are far from black and white. Clipped values would tie in maximum pooling, and rounding would
    # decide which unit receives the relevance, differently on different processors.
    coarse = rng.uniform(60, 195, (images, 14, 14, 3)).astype(np.float32)
    smooth = coarse.repeat(16, 1).repeat(16, 2) + rng.normal(0, 12, (images, 224, 224, 3))
    arrays = {
        "images": smooth.clip(0, 255).astype(np.uint8),
        "fc1_weight": rng.normal(0, 0.06, (1024, 512)).astype(np.float32),
        "fc1_bias": rng.normal(0, 0.05, 1024).astype(np.float32),
        "fc2_weight": rng.normal(0, 0.06, (1, 1024)).astype(np.float32),
        "fc2_bias": np.full(1, 20, np.float32),  # some methods require a positive output
        "innvestigate_methods": np.array(INNVESTIGATE_METHODS),
    }
    np.savez(file, **arrays, **{f"vgg.{name}": values for name, values in tensors.items()})
    return file


class Peer:
    """Another program in a separate process, which measures its seconds per map on request."""

    def __init__(self, name: str, inputs: Path, threads: int, clock: str):
        python = environment(PROGRAMS[name])
        script = ROOT / "benchmarks" / "peers" / f"{PROGRAMS[name]}_maps.py"
        self.maps_file = CACHE / f"{name}.npz"
        self.process = subprocess.Popen(
            [python, script, name, inputs, self.maps_file, str(threads), clock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.read()  # wait until the program has warmed up

    def read(self) -> dict:
        """Wait for a message of the program, and return its content."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit("a peer ended without an answer")

    def go(self) -> float:
        """Request one measurement, and return the seconds per map."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.read()["seconds_per_map"]

    def end(self) -> dict[str, np.ndarray]:
        """End the program, and return its maps by method."""
        self.process.stdin.close()
        self.process.wait()
        return dict(np.load(self.maps_file)) if self.maps_file.exists() else {}


def measure(work, clock: str) -> float:
    start = getattr(time, clock)()
    work()
    return getattr(time, clock)() - start


def largest_difference(maps: np.ndarray, ours: np.ndarray) -> float:
    """Return the largest difference between maps of any image, as a share of the map's largest value."""
    return float((np.abs(maps - ours).max((1, 2)) / np.abs(maps).max((1, 2))).max())


def multiply_add_count(backbone) -> float:
    """Return the floating point operations of all convolutions but the first at 224 pixels."""
    size, total = 224, 0
    for layer in backbone.layers[1:]:
        if layer.kind == "max_pool":
            size //= 2
        else:
            total += 2 * layer.weight.numel() * size * size
    return float(total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readouts", type=int, default=22)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--bf16", action="store_true", help="time bf16 even where it is emulated")
    parser.add_argument("--processor-time", action="store_true", help="count the processor's time")
    options = parser.parse_args()
    clock = "process_time" if options.processor_time else "perf_counter"

    import torch

    from traitlens.features.backbone import load_backbone
    from traitlens.readouts.readout import DenseReadout
    from traitlens.relevance.attribution import Explainer, analyze

    torch.set_num_threads(options.threads)
    inputs = write_inputs(options.images)
    with np.load(inputs) as file:
        images = file["images"]
        head = [file[name] for name in ("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")]
    backbone = load_backbone("vgg16")
    rng = np.random.default_rng(1)
    readouts = [DenseReadout.from_arrays(*head)]
    for _ in range(options.readouts - 1):
        noise = [values + rng.normal(0, 0.02, values.shape).astype(np.float32) for values in head]
        readouts.append(DenseReadout.from_arrays(*noise))
    whole, single = Explainer(backbone, readouts), Explainer(backbone, readouts[:1])
    print("starting the peers, one after another ...", flush=True)
    peers = {name: Peer(name, inputs, options.threads, clock) for name in options.only}
    square = torch.randn(2048, 2048)
    work = {
        "traitlens, all readouts": (lambda: whole.explain(images[0]), len(readouts)),
        "traitlens, one readout": (lambda: single.explain(images[0]), 1),
        "forward pass": (lambda: backbone.activations(images[:1], ["block5_pool"]), 1),
        "matrix product": (lambda: square @ square, 1),
    }
    flags = torch.backends.cpu.get_cpu_capability()
    features = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    native_bf16 = "avx512_bf16" in features or "amx_bf16" in features
    rough = Explainer(backbone.to("cpu", "bf16"), readouts)
    if native_bf16 or options.bf16:
        work["traitlens bf16, all readouts"] = (lambda: rough.explain(images[0]), len(readouts))
    times: dict[str, list[float]] = {}
    for run, _ in work.values():
        run()
    for number in range(options.rounds):
        for name, (run, maps) in work.items():
            times.setdefault(name, []).append(measure(run, clock) / maps)
        for name, peer in peers.items():
            times.setdefault(name, []).append(peer.go())
        print(f"round {number + 1} of {options.rounds} done", flush=True)
    best = {name: min(values) for name, values in times.items()}

    # Values that nearly tie in maximum pooling, or are near zero at a ReLU, are decided by rounding, which
    # differs between programs. In double precision, the effect is negligible.
    precise = backbone.to("cpu", "float64")
    agreement = {}
    for name, peer in peers.items():
        for method, maps in peer.end().items():
            ours, exact = (
                analyze(one, readouts[:1], images, method).values[0] for one in (backbone, precise)
            )
            agreement[f"{name}: {method}"] = {
                "largest difference / largest value": largest_difference(maps, ours),
                "in double precision here": largest_difference(maps, exact),
                "correlation": float(np.corrcoef(maps.ravel(), ours.ravel())[0, 1]),
            }
    exact, bf16 = analyze(backbone, readouts[:2], images[:1]), rough.explain(images[0]).relevance[:2]
    agreement["traitlens bf16"] = {
        "correlation": float(np.corrcoef(exact.values.ravel(), bf16.values.ravel())[0, 1])
    }

    all_, alone = best["traitlens, all readouts"], best["traitlens, one readout"]
    peak = 2 * 2048**3 / best["matrix product"]
    ratios = {
        f"{name} / traitlens ({len(readouts)} readouts), per map": best[name] / all_ for name in peers
    } | {f"{name} / traitlens (1 readout, 1 image)": best[name] / alone for name in peers}
    if "traitlens bf16, all readouts" in best:
        ratios |= {
            f"{name} / traitlens bf16, per map": best[name] / best["traitlens bf16, all readouts"]
            for name in peers
        }
    ratios |= {
        "traitlens per map / forward pass": all_ / best["forward pass"],
        "backward pass, share of peak": multiply_add_count(backbone) / all_ / peak,
    }
    if "gradient" in best:
        ratios["traitlens per map / plain gradient"] = all_ / best["gradient"]
    result = {
        "method": METHOD,
        "machine": platform.processor() or platform.machine(),
        "capability": flags,
        "bf16 in hardware": native_bf16,
        "threads": options.threads,
        "clock": clock,
        "readouts": len(readouts),
        "seconds per map": best,
        "peak GFLOP/s": peak / 1e9,
        "ratios": ratios,
        "agreement": agreement,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "relevance.json").write_text(json.dumps(result, indent=2) + "\n")
    for name, value in ratios.items():
        print(f"{value:8.3f}  {name}")
    for name, values in agreement.items():
        print(f"{name}: " + ", ".join(f"{what} {value:.2g}" for what, value in values.items()))


if __name__ == "__main__":
    main()
