"""The explorer's page: controls, the face with each group's map, and the most similar faces."""

import io
import tempfile
from collections.abc import MutableMapping
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
from nicegui import run, ui
from PIL import Image

from traitlens.columns import OBSERVED, PREDICTED
from traitlens.explorer.elements import button, choice, files, link, text
from traitlens.explorer.explorer_data import ExplorerData
from traitlens.explorer.face_view import FaceView, ShownFace, draw_map
from traitlens.explorer.served_files import list_files
from traitlens.naming import file_names
from traitlens.problems import TraitlensError
from traitlens.report.colouring import colour, data_uri
from traitlens.report.picture_rows import UNIT, per_percent
from traitlens.report.wording import LIMITS

PAIR: Final = 2
"""A difference map is shown if this number of groups is chosen."""
ALL: Final = ""
"""Value of the choice of all groups."""
IMPRESSIONS: Final = "Predictions are impressions that raters would form, never facts about the person shown."
PRIVATE: Final = (
    "This page shows every face of the study, also those that may not be published. It is available "
    "on this computer only; nothing is sent elsewhere, and faces that you add are not stored."
)
NEW: Final = "Add a photograph that is not part of the study"
NO_READOUTS: Final = "New faces cannot be predicted: these results contain no readouts; run the study again"
NEW_FACE: Final = (
    "A new face: each group's prediction is the mean over the study's readouts. It is more reliable "
    "the more the picture resembles those of the study in pose, light and framing."
)
ORDER: Final = "All faces, from the lowest to the highest predicted rating (arrow keys, Home, End)"
NAMED: Final = {
    "lrp.sequential_preset_a_flat": "Relevance propagation (the default)",
    "lrp.z_plus": "Relevance propagation, z-plus rule",
    "integrated_gradients": "Integrated gradients",
    "input_t_gradient": "Input times gradient",
    "smoothgrad": "SmoothGrad",
}
"""Labels of the most common methods; all other methods are listed under their technical names."""
BEYOND: Final = (
    "This face is farther from the study's faces than any of them is from its nearest one. The readouts have "
    "not learnt from such pictures: a prediction can be far off, and a map would explain a guess."
)
CUES: Final = (
    "Cue of each region: the points that it adds to the prediction, by the readouts of regions "
    "(cues/group_cues.csv)."
)
TO_CHOSEN: Final = """const strip = document.getElementById('strip');
const chosen = strip.querySelector('[aria-selected="true"]');
const middle = (strip.clientWidth - (chosen ? chosen.clientWidth : 0)) / 2;
if (chosen) strip.scrollLeft = chosen.offsetLeft - strip.offsetLeft - middle;"""
"""JavaScript that scrolls the strip of faces to the chosen face."""
KEYS: Final = """(event) => {
  const all = [...event.currentTarget.children];
  const here = all.indexOf(document.activeElement);
  const places = {ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: all.length - 1};
  const to = places[event.key];
  if (to === undefined) return;
  event.preventDefault();
  if (!all[to]) return;
  all[to].focus();
  emit(to);
}"""
"""JavaScript handler for keyboard navigation of the face strip, as in the report."""
LIKENESS: Final = (
    "Of 100 faces like the study's, about {share:.0f} would be as far from the nearest face of the study as "
    "this one, or farther, by the features that the readouts read."
)
BAND: Final = (
    "± and the band: root mean squared error of the predictions of study faces that a readout had not seen."
)
NEAREST: Final = "Similar over all groups and traits, in standard deviations of the predictions."


class Page:
    """The explorer's page as shown in one browser window."""

    def __init__(self, data: ExplorerData, uploads: MutableMapping[str, bytes]):
        self.data = data
        self.uploads = uploads
        self.face = data.face(data.images[0])
        self.trait = data.results.traits[0]
        self.group = ALL
        self.method = data.methods[0] if data.methods else ""
        self.opacity, self.threshold = 50, 0
        self.view: FaceView | None = None
        self.insist = False
        self.turn = 0
        self.order: list[str] = []

    def build(self) -> None:
        """Build the page; the first face is drawn when the browser is connected."""
        ui.add_css(_style())
        ui.run_javascript("document.documentElement.lang = 'en'")
        with ui.element("section").classes("page"):
            name = self.data.results.study.get("name") or self.data.results.folder.resolve().name
            text("h1", f"{name}: faces and maps")
            text("p", IMPRESSIONS)
            text("p", PRIVATE, "faint")
            self.controls = ui.element("section").classes("controls").props('aria-label="What to show"')
            self._build_controls()
            text("p", ORDER, "faint").props("id=strip-label")
            self.strip = ui.element("div").classes("faces").props('id="strip" role="listbox"')
            self.strip.props('aria-labelledby="strip-label" aria-orientation="horizontal"')
            self.strip.on("keydown", self._step, js_handler=KEYS)
            self._build_strip()
            self.choose_one = ui.element("section").props('aria-label="Several faces"')
            self.message = text("p", "", "warning").props("role=alert")
            self.busy = text("p", "", "busy").props("role=status")
            self.stage = ui.element("section").props('aria-label="Face and maps"')
            text("h2", "Reading the maps")
            for wrong, reason in LIMITS:
                text("p", f"{wrong} {reason}", "faint")
            self._build_files()
        ui.timer(0, self.show, once=True)

    def _build_controls(self) -> None:
        """Build the controls with the current choices; any earlier controls are replaced."""
        data, groups = self.data, self.data.results.groups
        images = {name: name for name in data.images}
        if self.face.fold is None:
            images = {"": "(a new face)"} | images
        own = "" if self.face.fold is None else self.face.name
        everybody = {ALL: "All groups"} | {group: group for group in groups}
        self.controls.clear()
        with self.controls:
            choice("Face", images, own, self._choose_face)
            choice("Trait", {one: one for one in data.results.traits}, self.trait, self._choose("trait"))
            choice("Group", everybody, self.group, self._choose("group"))
            named = {one: NAMED[one] for one in data.methods if one in NAMED}
            named |= {one: NAMED.get(one, one) for one in data.methods[:1]}
            rest = {one: one for one in data.methods if one not in named}
            choice("Method", named, self.method, self._choose("method"), more=("All others", rest))
            self._slider("Face beneath the map", "opacity")
            self._slider("Hide relevance below", "threshold", " of the scale")
            with ui.element("div").classes("drop"):
                if data.models is None:
                    text("p", NO_READOUTS, "faint")
                else:
                    files(NEW, "/upload/face", self._drop, "image/jpeg,image/png,image/tiff,image/webp")

    def _build_strip(self) -> None:
        """Build the strip of all faces, ordered by the chosen group's prediction of the chosen trait."""
        self.order = self.data.order(self.trait, self.group or None)
        self.options = {}
        self.strip.clear()
        with self.strip:
            for name in self.order:
                option = ui.element("button").props('type="button" role="option"')
                with option:
                    number = self.data.images.index(name)
                    image = ui.element("img").props('loading="lazy" decoding="async"')
                    image.props["src"], image.props["alt"] = f"/faces/{number}.jpg", name
                option.on("click", partial(self._choose_face, name))
                self.options[name] = option
        self._mark()

    def _mark(self) -> None:
        """Mark the chosen face in the strip as the only one in the tab order."""
        first = self.face.name if self.face.name in self.options else self.order[0]
        for name, option in self.options.items():
            option.props["aria-selected"] = "true" if name == self.face.name else "false"
            option.props["tabindex"] = "0" if name == first else "-1"

    async def _step(self, event: Any) -> None:
        """Choose the face that was reached by a key."""
        await self._choose_face(self.order[int(event.args)], event)

    def _slider(self, label: str, name: str, unit: str = "") -> None:
        """Build a slider for a percentage."""
        with ui.element("div").classes("slide"):
            caption = text("label", f"{label}: {getattr(self, name)} %{unit}", "faint")
            slider = ui.element("input").props('type="range" min="0" max="100" step="5"')
            slider.props["^value"] = str(getattr(self, name))
            slider.props["aria-label"] = label
            caption.props["for"] = slider.html_id

            def move(event: Any) -> None:
                setattr(self, name, int(event.args))
                caption.text = f"{label}: {event.args} %{unit}"

            slider.on("input", move, js_handler="(event) => emit(event.target.value)")
            slider.on("change", self._draw, [])  # when the slider is released

    def _build_files(self) -> None:
        """Build links to files of the results folder."""
        names = list_files(self.data.results.folder)
        if names:
            text("h2", "Files")
            with ui.element("p").classes("files"):
                for name in names:
                    link(name, f"/results/{name}")

    def _choose(self, name: str) -> Any:
        """Return the handler that stores a chosen value and shows the selection."""

        async def choose(value: str) -> None:
            setattr(self, name, value)
            if name in ("trait", "group"):
                self._build_strip()
            await self.show()

        return choose

    async def _choose_face(self, name: str, _event: Any = None) -> None:
        """Show another face of the study."""
        if name in self.data.images:
            self.face = self.data.face(name)
            self.choose_one.clear()
            if _event is not None:
                self._build_controls()
            self._mark()
            await self.show()

    async def _drop(self, event: Any) -> None:
        """Show each uploaded face."""
        if not event.args.get("finished"):
            return
        self.message.text = "; ".join(event.args["refused"])
        for kept in event.args["kept"]:
            name = Path(kept["name"]).name or "photograph"
            await self._look_at(self.uploads.pop(kept["id"], b""), name)

    async def _look_at(self, content: bytes, name: str, number: int | None = None) -> None:
        """Predict and show a new face; if the picture shows several faces, ask for one of them first."""
        self.choose_one.clear()
        with tempfile.TemporaryDirectory(prefix="traitlens-") as folder:
            path = Path(folder) / "photograph"
            path.write_bytes(content)
            self.busy.text = "Predicting impressions …"
            try:
                several = [] if number is not None else await run.io_bound(self.data.find_several, path, name)
                if several:
                    self.busy.text = ""
                    self._offer(content, name, several)
                    return
                face = await run.io_bound(self.data.predict_new_face, path, name, number or 0)
            except TraitlensError as error:
                self.busy.text = ""
                self.message.text = "; ".join(map(str, error.problems))
                return
        if face is not None:
            self.face, self.insist = face, False
            self._build_controls()
            self._mark()
            await self.show()

    def _offer(self, content: bytes, name: str, several: list[np.ndarray]) -> None:
        """Draw a button for each face of a picture, from which the user chooses one."""
        with self.choose_one:
            text("p", f"{name} shows {len(several)} faces. Which one?")
            with ui.element("div").classes("faces"):
                for number, square in enumerate(several):
                    option = ui.element("button").props('type="button"')
                    with option:
                        _picture(square, f"Face {number + 1} of {len(several)}", 64)
                    option.on("click", partial(self._look_at, content, name, number), [])

    async def show(self) -> None:
        """Compute and draw the maps of the selection; discard the result if the selection has changed."""
        self.turn += 1
        turn = self.turn
        self.busy.text = "Computing maps …"
        try:
            view = await run.io_bound(self.data.make_view, self.face, self.trait, self.method, self.insist)
            self.message.text = ""
        except TraitlensError as error:
            self.message.text = str(error)
            view = None
        if turn == self.turn and not self.stage.is_deleted:
            self.busy.text = ""
            self.view = view or self.view
            self._draw()
            ui.run_javascript(TO_CHOSEN)

    def _draw(self) -> None:
        """Draw the face, each group's map and the most similar faces."""
        if self.view is None:
            return
        view, groups = self.view, self.data.results.groups
        shown = [group for group in groups if self.group in (ALL, group)]
        self.stage.clear()
        with self.stage:
            text("h2", f"{view.face.name}: {view.trait}")
            if view.face.fold is None:
                text("p", NEW_FACE).classes("faint")
                self._draw_likeness(view)
            elif not self.data.may_publish(view.face):
                text("span", "may not be published").classes("tag")
            width = f"max-width: {(len(shown) + 1 + (len(shown) == PAIR)) * 404}px"
            with ui.element("div").classes("pictures").style(width):
                with ui.element("figure"):
                    _picture(view.face.pixels, f"The face {view.face.name}")
                    text("figcaption", "As the network sees it").classes("faint")
                for group in shown:
                    self._draw_group(view, group)
                self._draw_difference(view, shown)
            text("p", BAND, "faint")
            if view.maps:
                _draw_ramp(float(per_percent(np.full(view.face.pixels.shape[:2], view.limit))[0, 0]))
            self._draw_ways_out(view, shown)
            self._draw_cues(view, shown)
            self._draw_nearest(view, shown)

    def _draw_likeness(self, view: FaceView) -> None:
        """Draw the gauge of likeness to the study's faces; a face beyond their range gets a warning."""
        if view.likeness is None:
            return
        share = 100 * view.likeness.share
        with ui.element("div").classes("likeness"):
            gauge = ui.element("meter").props('min="0" max="100" low="5" optimum="100"')
            gauge.props["value"] = f"{share:.0f}"
            gauge.props["aria-label"] = "Likeness to the study's faces"
            text("span", f"Likeness to the study's faces: {share:.0f} of 100")
        text("p", LIKENESS.format(share=share), "faint")
        if view.likeness.beyond:
            text("p", BEYOND, "warning")
            if not self.insist:
                button("Show the map nevertheless", self._show_nevertheless)

    async def _show_nevertheless(self) -> None:
        """Compute and show the maps of a face beyond the range of the study's faces."""
        self.insist = True
        await self.show()

    def _draw_ways_out(self, view: FaceView, shown: list[str]) -> None:
        """Draw the button that saves the pictures, and the command that draws them as a figure."""
        if not view.maps:
            return
        command = self.data.command(
            view.face, view.trait, self.group or None, self.method, self.opacity / 100
        )
        with ui.element("p").classes("ways"):
            button("Save the pictures", lambda: self._save(view, shown))
            if command is None:
                text("span", "No command can draw a figure of this face with this method.", "faint")
            else:
                text("span", "The same as a figure:", "faint")
                text("code", command)

    def _save(self, view: FaceView, shown: list[str]) -> None:
        """Save the face and its maps side by side as a PNG file."""
        maps = [view.maps[group] for group in shown if group in view.maps]
        if len(shown) == PAIR and len(maps) == PAIR:
            maps.append(maps[0] - maps[1])
        pictures = [view.face.pixels, *(self._lay_over(view.face, one, view.limit) for one in maps)]
        buffer = io.BytesIO()
        Image.fromarray(np.hstack(pictures)).save(buffer, "PNG")
        (name,) = file_names([f"{Path(view.face.name).stem} {view.trait}"])
        private = "" if view.face.fold is None or self.data.may_publish(view.face) else "_not_for_publication"
        ui.download.content(buffer.getvalue(), f"{name}{private}.png", "image/png")

    def _draw_cues(self, view: FaceView, shown: list[str]) -> None:
        """Draw the table of the cues of a face, by region and group."""
        cues = self.data.cues(view.face.name, view.trait) if view.face.fold is not None else None
        groups = [group for group in shown if cues is not None and group in cues]
        if cues is None or not groups:
            return
        text("p", CUES, "faint").props("id=cues-label")
        with ui.element("table").classes("cues").props("aria-labelledby=cues-label"):
            with ui.element("thead"), ui.element("tr"):
                for head in ("Region", *groups):
                    text("th", head).props("scope=col")
            with ui.element("tbody"):
                for region, row in cues.iterrows():
                    with ui.element("tr"):
                        text("th", str(region)).props("scope=row")
                        for group in groups:
                            text("td", f"{row[group]:+.2f}".replace("-", "−"))

    def _draw_group(self, view: FaceView, group: str) -> None:
        """Draw a group's map over the face, with the group's predicted and mean ratings."""
        predicted = view.face.rating(PREDICTED, group, view.trait)
        observed = view.face.rating(OBSERVED, group, view.trait)
        with ui.element("figure"):
            if group in view.maps:
                drawn = self._lay_over(view.face, view.maps[group], view.limit)
                _picture(drawn, f"Map of {group} for {view.trait} over the face {view.face.name}")
            else:
                waits = view.likeness is not None and view.likeness.beyond and not self.insist
                missing = "The map is hidden; to show it, use the button above."
                text("p", missing if waits else "There is no map of this group for this trait.", "faint")
            with ui.element("figcaption"):
                text("div", group).classes("group")
                if predicted is not None:
                    label = f"Predicted impression: {predicted:.2f}"
                    error = self.data.error(group, view.trait)
                    label += "" if error is None else f" ± {error:.2f}"
                    impression = text("div", label).classes("impression")
                    impression.props["data-value"] = repr(predicted)
                if observed is not None:
                    text("div", f"Mean rating: {observed:.2f}").classes("faint")
            _draw_scale(
                self.data.results.study.get("scale"), predicted, observed, self.data.error(group, view.trait)
            )

    def _draw_difference(self, view: FaceView, shown: list[str]) -> None:
        """Draw the difference between the maps of two groups, on the colour scale of the maps."""
        if len(shown) != PAIR or not all(group in view.maps for group in shown):
            return
        first, second = shown
        with ui.element("figure"):
            drawn = self._lay_over(view.face, view.maps[first] - view.maps[second], view.limit)
            _picture(drawn, f"Map of {first} less that of {second} over the face {view.face.name}")
            with ui.element("figcaption"):
                text("div", f"{first} − {second}", "group")
                text("div", f"Red: raised the prediction for {first} more", "faint")

    def _lay_over(self, face: ShownFace, relevance: np.ndarray, limit: float) -> np.ndarray:
        """Draw a map over its face with the opacity and threshold of the sliders."""
        return draw_map(face.pixels, relevance, limit, self.opacity / 100, self.threshold / 100)

    def _draw_nearest(self, view: FaceView, shown: list[str]) -> None:
        """Draw the faces of the study with the most similar predicted impressions."""
        text("h2", "Faces of the study with the most similar predicted impressions")
        text("p", NEAREST).classes("faint")
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
                        button(face.name, partial(self._choose_face, face.name, True))
                        text("div", f"Predicted: {', '.join(texts)}").classes("faint")


def _draw_scale(
    scale: Any, predicted: float | None, observed: float | None, error: float | None = None
) -> None:
    """Draw the predicted rating with its error band, and the mean rating, on a line for the rating scale."""
    if not scale:
        return
    low, high = map(float, scale)
    with ui.element("div").classes("scale").props("aria-hidden=true"):
        if predicted is not None and error is not None:
            ends = np.clip((predicted - low + np.array([-error, error])) / (high - low), 0, 1) * 100
            ui.element("b").style(f"left: {ends[0]:.2f}%; width: {ends[1] - ends[0]:.2f}%")
        for value, kind in ((observed, "observed"), (predicted, "predicted")):
            if value is not None:
                place = 100 * float(np.clip((value - low) / (high - low), 0, 1))
                ui.element("i").classes(kind).style(f"left: {place:.2f}%")
        text("span", f"{low:g}")
        text("span", f"{high:g}")


def _draw_ramp(limit: float) -> None:
    """Draw the colour scale of the maps, from `-limit` to `limit`."""
    with ui.element("div").classes("ramp"):
        _image(_ramp(), "Colours from blue, lowered, over white to red, raised")
        with ui.element("div"):
            text("span", f"−{limit:.2g} lowered")
            text("span", f"raised +{limit:.2g}")
        text("p", UNIT).classes("faint")


def _image(address: str, alternative: str) -> None:
    """Add an image with its alternative text."""
    image = ui.element("img")
    image.props["src"], image.props["alt"] = address, alternative


def _picture(pixels: np.ndarray, alternative: str, side: int | None = None) -> None:
    """Add an image from pixels; an image of fixed size has twice the resolution, for sharp screens."""
    _image(data_uri(pixels, None if side is None else 2 * side, quality=90), alternative)


@cache
def _style() -> str:
    """Read the page's style sheet."""
    return (resources.files("traitlens.explorer") / "page.css").read_text("utf-8")


@cache
def _ramp() -> str:
    """Return an image of the colour scale as a data URI."""
    return data_uri(colour(np.repeat(np.linspace(-1, 1, 256)[None], 8, axis=0), 1.0), quality=95)
