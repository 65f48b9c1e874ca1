"""Compute maps with iNNvestigate; benchmarks/relevance.py runs this script in a separate environment."""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import innvestigate
import numpy as np
import tensorflow as tf
import tensorflow.keras as keras

_, _, inputs, output, threads, clock = sys.argv
clock = getattr(time, clock)
tf.compat.v1.disable_eager_execution()
tf.config.threading.set_intra_op_parallelism_threads(int(threads))
layers = keras.layers
file = np.load(inputs)
names = [key[4:-7] for key in file.files if key.startswith("vgg.") and key.endswith(".weight")]
model = keras.Sequential([layers.InputLayer((224, 224, 3))])
for place, name in enumerate(names):
    weight = file[f"vgg.{name}.weight"]
    model.add(layers.Conv2D(len(weight), 3, padding="same", activation="relu", name=name))
    model.get_layer(name).set_weights([weight.transpose(2, 3, 1, 0), file[f"vgg.{name}.bias"]])
    if place + 1 == len(names) or names[place + 1].split("_")[0] != name.split("_")[0]:
        model.add(layers.MaxPooling2D(2, 2))
model.add(layers.GlobalAveragePooling2D())
model.add(layers.Dense(1024, activation="relu", name="fc1"))
model.add(layers.Dense(1, name="fc2"))
for name in ("fc1", "fc2"):
    model.get_layer(name).set_weights([file[f"{name}_weight"].T, file[f"{name}_bias"]])
images = file["images"][..., ::-1].astype("float32") - np.array([103.939, 116.779, 123.68], "float32")
maps = {}
for method in file["innvestigate_methods"].tolist():
    options = {"low": -123.68, "high": 151.061} if method == "deep_taylor.bounded" else {}
    analyzer = innvestigate.create_analyzer(method, model, **options)
    maps[method] = np.stack([analyzer.analyze(image[None])[0].sum(-1) for image in images])
np.savez(output, **maps)
analyzer = innvestigate.create_analyzer("lrp.sequential_preset_a_flat", model)
analyzer.analyze(images[:1])
four = images[:1].repeat(4, 0)
analyzer.analyze(four)
print(json.dumps({"ready": True}), flush=True)
for _ in sys.stdin:
    start = clock()
    analyzer.analyze(images[:1])
    one = clock() - start
    start = clock()
    analyzer.analyze(four)
    batch = (clock() - start) / 4
    print(json.dumps({"seconds_per_map": min(one, batch)}), flush=True)
