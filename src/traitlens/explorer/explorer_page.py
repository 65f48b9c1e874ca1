"""The explorer's page: controls, the face with each group's map, and the most similar faces."""

import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from nicegui import run, ui

from traitlens.columns import OBSERVED, PREDICTED
from traitlens.explorer.explorer_data import ExplorerData
from traitlens.explorer.face_view import FaceView, ShownFace, draw_map
from traitlens.explorer.served_files import list_files
from traitlens.problems import TraitlensError
from traitlens.report.colouring import colour, data_uri
from traitlens.report.picture_rows import UNIT, per_percent
from traitlens.report.wording import LIMITS

ALL: Final = ""
"""The choice of all groups."""
LARGEST_FILE: Final = 30 * 2**20
IMPRESSIONS: Final = "Predictions are impressions that raters would form, never facts about the person shown."
PRIVATE: Final = (
    "This page shows every face of the study, also those that may not be published. It is available "
    "on this computer only; nothing is sent elsewhere, and faces that you add are not stored."
)
DROP: Final = "Drop a photograph of one face here, or choose a file with +"
NO_READOUTS: Final = "New faces cannot be predicted: these results contain no readouts; run the study again"
NEW_FACE: Final = (
    "A new face: each group's prediction is the mean over the study's readouts. It is more reliable "
    "the more the picture resembles those of the study in pose, light and framing."
)
NEAREST: Final = "Similar over all groups and traits, in standard deviations of the predictions."


class Page:
    """The page in one browser."""

    def __init__(self, data: ExplorerData):
        self.data = data
        self.face = data.face(data.images[0])
        self.trait = data.results.traits[0]
        self.group = ALL
        self.method = data.methods[0] if data.methods else ""
        self.opacity, self.threshold = 50, 0
        self.view: FaceView | None = None
        self.turn = 0

    def build(self) -> None:
        """Build the page; the first face is drawn when the browser is connected."""
        ui.add_css(_style())
        ui.colors(primary="#0072b2")
        with ui.element("main").classes("page"):
            name = self.data.results.study.get("name") or self.data.results.folder.resolve().name
            _text("h1", f"{name}: faces and maps")
            _text("p", IMPRESSIONS)
            _text("p", PRIVATE).classes("faint")
            self._build_controls()
            self.busy = _text("p", "").classes("busy").props("role=status")
            self.stage = ui.element("section")
            _text("h2", "Reading the maps")
            for limit in LIMITS:
                _text("p", limit).classes("faint")
            self._build_files()
        ui.timer(0, self.show, once=True)

    def _build_controls(self) -> None:
        """Build the controls."""
        data, groups = self.data, self.data.results.groups
        with ui.element("section").classes("controls").props('aria-label="What to show"'):
            self.faces = ui.select(
                data.images, label="Face", value=self.face.name, with_input=True, on_change=self._choose_face
            )
            ui.select(data.results.traits, label="Trait", value=self.trait, on_change=self._choose("trait"))
            everybody = {ALL: "All groups"} | {group: group for group in groups}
            ui.select(everybody, label="Group", value=ALL, on_change=self._choose("group"))
            ui.select(data.methods, label="Method", value=self.method, on_change=self._choose("method"))
            self._slider("Face beneath the map", "opacity")
            self._slider("Hide relevance below", "threshold", " of the scale")
            with ui.element("div").classes("drop"):
                drop = ui.upload(
                    label=DROP if data.models is not None else NO_READOUTS,
                    auto_upload=True,
                    max_file_size=LARGEST_FILE,
                    on_upload=self._drop,
                    on_rejected=lambda: _warn(f"files of more than {LARGEST_FILE // 2**20} MB are refused"),
                )
                drop.props('accept="image/jpeg,image/png,image/tiff,image/webp" flat')
                drop.set_enabled(data.models is not None)

    def _slider(self, label: str, name: str, unit: str = "") -> None:
        """Build a slider for a percentage."""
        with ui.element("div").classes("slide"):
            caption = _text("span", f"{label}: {getattr(self, name)} %{unit}").classes("faint")

            def move(event: Any) -> None:
                setattr(self, name, int(event.value))
                caption.text = f"{label}: {event.value} %{unit}"

            slider = ui.slider(min=0, max=100, step=5, value=getattr(self, name), on_change=move)
            slider.props["aria-label"] = label
            slider.on("change", self._draw)  # when the slider is released

    def _build_files(self) -> None:
        """Build links to the results' files."""
        names = list_files(self.data.results.folder)
        if names:
            _text("h2", "Files")
            with ui.element("p").classes("files"):
                for name in names:
                    ui.link(name, f"/results/{name}", new_tab=True)

    def _choose(self, name: str) -> Any:
        """Return the handler of a choice."""

        async def choose(event: Any) -> None:
            setattr(self, name, event.value)
            await self.show()

        return choose

    async def _choose_face(self, event: Any) -> None:
        """Show another face of the study."""
        if event.value in self.data.images:
            self.face = self.data.face(event.value)
            await self.show()

    async def _drop(self, event: Any) -> None:
        """Show a new face; its file is deleted after reading."""
        name = Path(event.file.name.replace("\\", "/")).name or "photograph"
        with tempfile.TemporaryDirectory(prefix="traitlens-") as folder:
            path = Path(folder) / "photograph"
            path.write_bytes(await event.file.read())
            event.sender.reset()
            self.busy.text = "Predicting impressions …"
            try:
                face = await run.io_bound(self.data.see, path, name)
            except TraitlensError as error:
                self.busy.text = ""
                for problem in error.problems:
                    _warn(str(problem))
                return
        if face is not None:
            self.face = face
            self.faces.value = None
            await self.show()

    async def show(self) -> None:
        """Compute and draw the selection; discard it if the selection has changed meanwhile."""
        self.turn += 1
        turn = self.turn
        self.busy.text = "Computing maps …"
        try:
            view = await run.io_bound(self.data.look, self.face, self.trait, self.method)
        except TraitlensError as error:
            _warn(str(error))
            view = None
        if turn == self.turn and not self.stage.is_deleted:
            self.busy.text = ""
            self.view = view or self.view
            self._draw()

    def _draw(self) -> None:
        """Draw the face, each group's map and the most similar faces."""
        if self.view is None:
            return
        view, groups = self.view, self.data.results.groups
        shown = [group for group in groups if self.group in (ALL, group)]
        self.stage.clear()
        with self.stage:
            _text("h2", f"{view.face.name}: {view.trait}")
            if view.face.fold is None:
                _text("p", NEW_FACE).classes("faint")
            elif not self.data.may_publish(view.face):
                _text("span", "may not be published").classes("tag")
            width = f"max-width: {(len(shown) + 1) * 404}px"
            with ui.element("div").classes("pictures").style(width):
                with ui.element("figure"):
                    _picture(view.face.pixels, f"The face {view.face.name}")
                    _text("figcaption", "As the network sees it").classes("faint")
                for group in shown:
                    self._draw_group(view, group)
            if view.maps:
                _draw_ramp(float(per_percent(np.full(view.face.pixels.shape[:2], view.limit))[0, 0]))
            self._draw_nearest(view, shown)

    def _draw_group(self, view: FaceView, group: str) -> None:
        """Draw a group's map and ratings."""
        predicted = view.face.rating(PREDICTED, group, view.trait)
        observed = view.face.rating(OBSERVED, group, view.trait)
        with ui.element("figure"):
            if group in view.maps:
                drawn = self._lay_over(view.face, view.maps[group], view.limit)
                _picture(drawn, f"Map of {group} for {view.trait} over the face {view.face.name}")
            else:
                _text("p", "There is no map of this group for this trait.").classes("faint")
            with ui.element("figcaption"):
                _text("div", group).classes("group")
                if predicted is not None:
                    impression = _text("div", f"Predicted impression: {predicted:.2f}").classes("impression")
                    impression.props["data-value"] = repr(predicted)
                if observed is not None:
                    _text("div", f"Mean rating: {observed:.2f}").classes("faint")
            _draw_scale(self.data.results.study.get("scale"), predicted, observed)

    def _lay_over(self, face: ShownFace, relevance: np.ndarray, limit: float) -> np.ndarray:
        """Draw a map over its face with the sliders' settings."""
        return draw_map(face.pixels, relevance, limit, self.opacity / 100, self.threshold / 100)

    def _draw_nearest(self, view: FaceView, shown: list[str]) -> None:
        """Draw the faces of the study with the most similar predicted impressions."""
        _text("h2", "Faces of the study with the most similar predicted impressions")
        _text("p", NEAREST).classes("faint")
        with ui.element("div").classes("near"):
            for face, maps in view.near:
                predicted = {group: face.rating(PREDICTED, group, view.trait) for group in shown}
                texts = [f"{group} {value:.2f}" for group, value in predicted.items() if value is not None]
                with ui.element("figure"):
                    with ui.element("div").classes("strip"):
                        _picture(face.pixels, f"The face {face.name}", 92)
                        for group in (group for group in shown if group in maps):
                            drawn = self._lay_over(face, maps[group], view.near_limit)
                            _picture(drawn, f"Map of {group} over the face {face.name}", 92)
                    with ui.element("figcaption"):
                        choose = _text("button", face.name)
                        choose.on("click", lambda _event, name=face.name: self.faces.set_value(name))
                        _text("div", f"Predicted: {', '.join(texts)}").classes("faint")


def _draw_scale(scale: Any, predicted: float | None, observed: float | None) -> None:
    """Draw an impression on the rating scale, with its number."""
    if not scale:
        return
    low, high = map(float, scale)
    with ui.element("div").classes("scale").props("aria-hidden=true"):
        for value, kind in ((observed, "observed"), (predicted, "predicted")):
            if value is not None:
                place = 100 * float(np.clip((value - low) / (high - low), 0, 1))
                ui.element("i").classes(kind).style(f"left: {place:.2f}%")
        _text("span", f"{low:g}")
        _text("span", f"{high:g}")


def _draw_ramp(limit: float) -> None:
    """Draw the colour scale."""
    with ui.element("div").classes("ramp"):
        _image(_ramp(), "Colours from blue, lowered, over white to red, raised")
        with ui.element("div"):
            _text("span", f"−{limit:.2g} lowered")
            _text("span", f"raised +{limit:.2g}")
        _text("p", UNIT).classes("faint")


def _text(tag: str, text: str) -> Any:
    """Add a text, which is never parsed as HTML."""
    from nicegui.elements.mixins.text_element import TextElement

    return TextElement(tag=tag, text=text)


def _image(address: str, alternative: str) -> None:
    """Add an image."""
    image = ui.element("img")
    image.props["src"], image.props["alt"] = address, alternative


def _picture(pixels: np.ndarray, alternative: str, side: int | None = None) -> None:
    """Add an image from pixels; images of fixed size have twice the resolution, for dense screens."""
    _image(data_uri(pixels, None if side is None else 2 * side, quality=90), alternative)


def _warn(text: str) -> None:
    """Show an error."""
    ui.notify(text, type="negative", position="top", multi_line=True, timeout=10_000, close_button="Close")


@cache
def _style() -> str:
    """Return the style sheet."""
    return (files("traitlens.explorer") / "page.css").read_text("utf-8")


@cache
def _ramp() -> str:
    """Return an image of the colours from the lowest to the highest relevance."""
    return data_uri(colour(np.repeat(np.linspace(-1, 1, 256)[None], 8, axis=0), 1.0), quality=95)
