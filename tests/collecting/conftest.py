import shutil

import pytest
from PIL import Image

from traitlens.collecting.session_steps import make_steps
from traitlens.collecting.transactions import Answer, complete_step, start_session, store_answer
from traitlens.study.drawing.face import draw_face
from traitlens.study.drawing.parameters import draw_parameters

SETTINGS = """
groups = ["autistic", "non-autistic"]
traits = ["warm", "critical"]
scale = [1, 7]

[collecting]
"""


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Twelve drawn faces."""
    folder = tmp_path_factory.mktemp("drawn")
    for image in range(12):
        face = draw_face(draw_parameters(5, image, 0), 64)
        Image.fromarray(face.picture).save(folder / f"{image:02d}.png")
    return folder


@pytest.fixture
def make_study(tmp_path, drawn):
    """Make a study without ratings: drawn faces and settings."""

    def make(images=6, settings="practice = 1\nchecks = 1\nrepeats = 0.34\n", name="study"):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        for path in sorted(drawn.glob("*.png"))[:images]:
            shutil.copyfile(path, folder / "images" / path.name)
        (folder / "study.toml").write_text(SETTINGS + settings, encoding="utf-8")
        return folder

    return make


GERMAN = """
[groups]
autistic = "Ich bin autistisch."
non-autistic = "Ich bin nicht autistisch."
[traits.warm]
question = "Wie warmherzig sieht diese Person aus?"
low = "gar nicht warmherzig"
high = "sehr warmherzig"
[traits.critical]
question = "Wie kritisch sieht diese Person aus?"
low = "gar nicht kritisch"
high = "sehr kritisch"
"""


@pytest.fixture(scope="session")
def write_german():
    """Write the German words of the study's traits and groups."""

    def write(folder):
        (folder / "texts").mkdir()
        (folder / "texts" / "de.toml").write_text(GERMAN, encoding="utf-8")

    return write


@pytest.fixture
def take_part():
    """Answer as a participant would: `rating_of(participant, number)` gives each rating."""

    def answer_all(store, design, participant, group, rating_of, stop=None):
        store.submit(complete_step(participant, 0)).result()
        lay_out = lambda place: make_steps(design, group, place)  # noqa: E731
        store.submit(start_session(participant, 1, group, lay_out)).result()
        for number, step in list(enumerate(store.steps(participant)))[2:stop]:
            if step.kind in ("practice", "trial", "check"):
                rating = step.wanted if step.kind == "check" else rating_of(participant, number)
                given = Answer(rating, 700.0 + number, None, "touch 390x844", "de")
                store.submit(store_answer(participant, number, step, given)).result()
            elif step.kind != "end":
                store.submit(complete_step(participant, number)).result()

    return answer_all
