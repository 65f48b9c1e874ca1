"""Faces and meshes: against the tflite interpreter, against points placed by hand, and on what is no face."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from traitlens.faces import face_networks
from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.detection import detect_landmarks, head_pose
from traitlens.faces.face_networks import DETECTOR, MESH, load_network, single_thread
from traitlens.faces.frames import to_canonical
from traitlens.faces.images import load_image
from traitlens.faces.landmark_files import read_tem
from traitlens.problems import ModelError

RECORDED = Path(__file__).parent / "recorded" / "face_detection_short_range_recorded.npz"


def test_detector_answers_as_the_tflite_interpreter_did():
    blocks = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    answer = load_network(DETECTOR).run(np.kron(blocks, np.ones((8, 8, 1))) / 127.5 - 1)
    with np.load(RECORDED) as recorded:
        assert sorted(recorded.files) == sorted(answer)
        for name in recorded.files:
            size = np.abs(recorded[name]).max()  # rounding differs between processors, relative to this
            np.testing.assert_allclose(answer[name], recorded[name], rtol=0, atol=1e-5 * size)


def test_damaged_networks_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(face_networks, "SHA256", {MESH: "0" * 64})
    with pytest.raises(ModelError, match="is damaged; reinstall traitlens"):
        face_networks.Network(MESH)


def test_threads_are_put_back_even_after_an_error():
    before = torch.get_num_threads()
    seen = []

    def fail() -> None:
        with single_thread(), single_thread():
            seen.append(torch.get_num_threads())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [1]
    assert torch.get_num_threads() == before


def test_crop_matrix_frames_the_points_upright():
    rng = np.random.default_rng(1)
    points = torch.tensor(rng.uniform(10, 40, (1, 20, 3)), dtype=torch.float32)
    operation = {"left": 2, "right": 7, "around": list(range(20)), "scale": [1.5, 1.5], "size": [16, 16]}
    matrix = face_networks._find_crop([points], operation, {})[0].numpy()
    in_crop = (points[0, :, :2].numpy() - matrix[:2, 3]) @ np.linalg.inv(matrix[:2, :2]).T
    # The points fill the inner two thirds of the crop, and the line from left to right is level.
    np.testing.assert_allclose(in_crop.min(axis=0), [8 - 16 / 3] * 2, rtol=0, atol=1e-3)
    np.testing.assert_allclose(in_crop.max(axis=0), [8 + 16 / 3] * 2, rtol=0, atol=1e-3)
    assert in_crop[7, 1] == pytest.approx(in_crop[2, 1], abs=1e-3)
    assert in_crop[7, 0] > in_crop[2, 0]
    back = face_networks._move_points(
        [torch.tensor(in_crop)[None].float(), torch.tensor(matrix)[None]], {}, {}
    )
    np.testing.assert_allclose(back[0], points[0, :, :2], rtol=0, atol=1e-3)


def test_crop_reads_features_at_pixel_centres():
    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    matrix = torch.eye(4)
    matrix[:2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    matrix[:2, 3] = torch.tensor([20.0, 15.0])
    crop = face_networks._crop([torch.stack([x, y])[None], matrix[None]], {"size": [16, 16]}, {})
    for row, column in ((0, 0), (3, 11), (15, 15)):
        place = matrix[:2, :2] @ torch.tensor([column + 0.5, row + 0.5]) + matrix[:2, 3]
        np.testing.assert_allclose(crop[0, :, row, column], place, rtol=0, atol=1e-3)


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_no_face_is_found_where_there_is_none(colour: int):
    detection = detect_landmarks(np.full((200, 150, 3), colour, np.uint8))
    assert detection.points is None
    assert detection.notices == ("no face was found",)
    assert detection.n_faces == 0


def test_canonical_mesh_is_symmetric_and_frontal():
    mesh = canonical_mesh()
    np.testing.assert_array_equal(mesh.twins[mesh.twins], np.arange(478))
    mirrored = np.array([512.0, 0.0]) + mesh.points[mesh.twins] * [-1, 1]
    np.testing.assert_allclose(mirrored, mesh.points, rtol=0, atol=1e-3)
    np.testing.assert_allclose(to_canonical(mesh.points), [[1, 0, 0], [0, 1, 0]], rtol=0, atol=0.5)
    assert head_pose(mesh.points) == pytest.approx(0, abs=1e-5)


def test_several_upside_down_and_turned_faces(faces_3dsk: list[Path]):
    face, other = (np.asarray(Image.fromarray(load_image(path)).reduce(4)) for path in faces_3dsk[:2])
    several = detect_landmarks(np.hstack([face, other, face]))
    assert several.n_faces == 3
    assert several.notices == ("3 faces were found; the largest central one is used",)
    assert face.shape[1] < several.points[468, 0] < 2 * face.shape[1]
    upside_down = detect_landmarks(face[::-1, ::-1])
    assert upside_down.points is None
    assert upside_down.notices == ("the face is upside down: turn the image upright",)
    assert "the face is turned by" in detect_landmarks(np.rot90(face)).notices[0]
    small = np.asarray(Image.fromarray(face).resize((72, 96)))
    assert detect_landmarks(small).points is not None


def test_the_mesh_lies_on_points_placed_by_hand(faces_3dsk: list[Path]):
    check_errors(faces_3dsk[::17], pupils=1.5, mouth=2.2)


@pytest.mark.slow
def test_the_mesh_lies_on_points_placed_by_hand_in_all_faces(faces_3dsk: list[Path]):
    check_errors(faces_3dsk, pupils=1.5, mouth=2.2)


def check_errors(paths: list[Path], pupils: float, mouth: float) -> None:
    """Compare with the templates beside the images, in % of the distance between the pupils."""
    errors: dict[str, list[float]] = {"468": [], "473": [], "61": [], "291": []}
    for path in paths:
        found = detect_landmarks(load_image(path))
        assert found.points is not None, path.name
        assert found.n_faces == 1
        assert found.notices == ()
        truth = read_tem(path.with_suffix(".tem")).set_index("point")[["x", "y"]]
        distance = np.linalg.norm(truth.loc["473"] - truth.loc["468"])
        for point, values in errors.items():
            values.append(100 * np.linalg.norm(found.points[int(point)] - truth.loc[point]) / distance)
    assert np.mean(errors["468"] + errors["473"]) < pupils
    assert np.mean(errors["61"] + errors["291"]) < mouth


@pytest.mark.slow
def test_no_face_is_missed_also_half_as_large_and_grey(faces_3dsk: list[Path], faces_omi: list[Path]):
    def missed(path: Path) -> list[str]:
        image = Image.fromarray(load_image(path))
        variants = {"": image, "half": image.reduce(2), "grey": image.convert("L").convert("RGB")}
        found = {kind: detect_landmarks(np.asarray(picture)).points for kind, picture in variants.items()}
        return [f"{path.name} {kind}" for kind, points in found.items() if points is None]

    with single_thread(), ThreadPoolExecutor(2) as pool:
        assert [name for names in pool.map(missed, faces_3dsk + faces_omi) for name in names] == []
