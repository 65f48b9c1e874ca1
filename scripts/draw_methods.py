"""Draw the figure of docs/methods.md: one simulated face, and its maps by many methods.

    python scripts/draw_methods.py docs/images/methods.png

The ratings of the drawn faces depend on the mouth only, so a correct map shows the mouth.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from traitlens.relevance.analyze import analyze

from traitlens.features.backbone import load_backbone
from traitlens.features.taps import Tap, compute_features
from traitlens.readouts.readout import FeatureSpace
from traitlens.readouts.ridge import fit_ridge
from traitlens.report.colouring import colour, smooth, symmetric_limit
from traitlens.report.picture_rows import Panel, Row, draw_rows
from traitlens.study.drawing.face import draw_face
from traitlens.study.drawing.parameters import draw_parameters, score_parts

FACES, SIZE, PART = 100, 224, "mouth"
METHODS = (
    ("lrp.sequential_preset_a_flat", "preset A flat"),
    ("lrp.sequential_preset_a", "preset A"),
    ("lrp.sequential_preset_b_flat", "preset B flat"),
    ("lrp.sequential_preset_b", "preset B"),
    ("lrp.z_plus", "z plus"),
    ("deep_taylor.bounded", "deep Taylor, bounded"),
    ("zennit.epsilon_gamma_box", "gamma and box"),
    ("lrp.flat", "flat"),
    ("lrp.w_square", "w square"),
    ("lrp.epsilon", "epsilon"),
    ("input_t_gradient", "input × gradient"),
    ("gradient", "gradient"),
    ("guided_backprop", "guided backprop"),
    ("deconvnet", "deconvnet"),
)
COLUMNS = 5


def main() -> None:
    """Simulate faces and ratings, fit readouts, and draw the maps of one face."""
    faces = [draw_parameters(seed=4, identity=number, image=0) for number in range(FACES)]
    pixels = np.stack([draw_face(face, SIZE).picture for face in faces])
    names = [f"{number}.png" for number in range(FACES)]
    folds = pd.DataFrame({"image": names, "identity": names, "fold": np.arange(FACES) % 4})
    scores = np.array([score_parts(face)[PART] for face in faces])
    targets = pd.DataFrame({"group": "all", "trait": PART, "image": names, "rating": 4 + scores})
    backbone, space = load_backbone("vgg16"), FeatureSpace(Tap("block4_pool", 7))
    features = np.concatenate(
        [compute_features(backbone, [one[None]], [space.tap])[space.tap] for one in pixels]
    )
    fitted = fit_ridge({space: features}, targets, folds)
    print(fitted)
    predicted = fitted.predictions.set_index("image")["predicted"]
    shown = names.index(predicted.idxmax())
    readout = fitted.find("all", PART, int(folds["fold"][shown]))
    panels = [Panel(pixels[shown], "the face")]
    for method, title in METHODS:
        relevance = smooth(analyze(backbone, [readout], pixels[[shown]], method).values[0, 0])
        panels.append(Panel(colour(relevance, symmetric_limit(relevance)), title))
        print(f"{method:<32}{relevance.sum():+.3f}", flush=True)
    rows = [Row(panels[start : start + COLUMNS], None) for start in range(0, len(panels), COLUMNS)]
    draw_rows(rows, width=183, clipped=True).savefig(Path(sys.argv[1]), dpi=200)


if __name__ == "__main__":
    main()
