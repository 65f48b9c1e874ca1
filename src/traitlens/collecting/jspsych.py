"""Export of a study's session as a static jsPsych 8 experiment, for JATOS or any web server.

A jsPsych plugin shows the same pages (`view.js`) as traitlens's own server; the orders of trials are computed
in advance by :mod:`.session_steps`.
"""

import base64
import hashlib
import html
import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from traitlens.collecting.design import EVERYONE, prepare_stimuli, read_design, settings_for_page
from traitlens.collecting.panels import PANELS, panel_link
from traitlens.collecting.questionnaires import describe_questionnaires, read_questionnaires
from traitlens.collecting.session_manager import read_session_texts
from traitlens.collecting.session_steps import SessionDesign, SessionStep, make_steps, opening_steps
from traitlens.digests import digest
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.progress import Watcher
from traitlens.storage import atomic_write
from traitlens.study.settings import CollectingSettings

PAGES = Path(__file__).parent / "pages"
SCRIPT = "dist/index.browser.min.js"
"""Path of jsPsych's script within its npm package."""

SAVES = ("download", "jatos", "pavlovia")
PAVLOVIA = "lib/jspsych-7-pavlovia-2022.1.1.js"
"""Address of the jsPsych plugin that Pavlovia adds to every experiment."""
MOST_ORDERS = 500

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{policy}<title>Study</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
</head>
<body>
<div id="page"></div>
<noscript>This study needs JavaScript. Please tell the person who runs it.</noscript>
{scripts}
</body>
</html>
"""


def write_experiment(
    folder: Path,
    out: Path,
    scripts: Path | None = None,
    cdn: str | None = None,
    save: str = "download",
    orders: int = 40,
    watcher: Watcher | None = None,
) -> None:
    """Write a study's session as a jsPsych experiment, in a folder for any web server.

    Parameters
    ----------
    folder : Path
        The study folder.
    out : Path
        The folder to create; must be empty if it exists.
    scripts : Path
        Folder with a copy of the npm package `jspsych`, version 8; its script is copied into the experiment.
    cdn : str, optional
        Web address from which the page loads jsPsych's script instead. Browsers run the script only if it is
        identical to the one in `scripts`.
    save : {"download", "jatos", "pavlovia"}, default "download"
        "download": the participant saves a file at the end; "jatos": JATOS receives every answer at once;
        "pavlovia": Pavlovia's plugin saves a CSV file at the end.
    orders : int, default 40
        Number of orders of trials for each group; each participant gets one of them.
    watcher : Watcher, optional
        Shows the progress.

    Raises
    ------
    TraitlensError
        If the study has faults, or jsPsych's script is missing.
    """
    folder, out = Path(folder), Path(out)
    script = _find_script(scripts)
    origin = "" if cdn is None else _get_origin(cdn)
    if save not in SAVES:
        raise unknown_choice("value of save", save, SAVES)
    if not 1 <= orders <= MOST_ORDERS:
        raise TraitlensError(Problem(f"the number of orders is {orders}", f"choose 1 to {MOST_ORDERS}"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TraitlensError(Problem("already exists", "use a new folder", str(out)))
    design, settings = read_design(folder)
    texts = read_session_texts(folder, design, settings)
    questionnaires = read_questionnaires(folder, design.questionnaires, settings.collecting.languages)
    faces = prepare_stimuli(folder, design, watcher)
    groups = design.groups or (EVERYONE,)
    sessions = {group: [make_steps(design, group, place) for place in range(orders)] for group in groups}
    content = {
        "study": settings.name,
        "key": digest(settings.name, [list(faces.names), list(design.traits), design.seed])[:12],
        "save": save,
        "questionnaires": describe_questionnaires(questionnaires),
        "panel": _describe_panel(settings.collecting),
        "texts": texts,
        "scale": settings_for_page(design),
        "traits": design.traits,
        "images": faces.names,
        "asks_group": len(design.groups) > 1,
        "opening": len(opening_steps(design)),
        "orders": {
            group: [[_encode_step(step, design, faces.names) for step in steps] for steps in kept]
            for group, kept in sessions.items()
        },
    }
    with atomic_write(out) as temporary:
        (temporary / "faces").mkdir(parents=True)
        for number, path in enumerate(faces.files):
            shutil.copyfile(path, temporary / "faces" / f"{number}.jpg")
        for name in ("style.css", "view.js", "experiment.js"):
            shutil.copyfile(PAGES / name, temporary / name)
        if cdn is None:
            (temporary / "jspsych").mkdir()
            shutil.copyfile(script, temporary / "jspsych" / Path(SCRIPT).name)
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (temporary / "design.js").write_text(f"const TRAITLENS = {text};\n", encoding="utf-8")
        (temporary / "index.html").write_text(_make_page(script, cdn, origin, save), encoding="utf-8")


def _find_script(scripts: Path | None) -> Path:
    """Return the path of jsPsych's script in a copy of its npm package."""
    if scripts is None:
        advice = "name a copy of the npm package jspsych with --scripts; --cdn needs it too, for comparison"
        raise TraitlensError(Problem("the source of jsPsych is missing", advice))
    package = Path(scripts) / "package.json"
    try:
        about = json.loads(package.read_text(encoding="utf-8"))
        version = str(about.get("version", "")) if about.get("name") == "jspsych" else ""
    except (OSError, ValueError, AttributeError):
        version = ""
    if not version.startswith("8.") or not (Path(scripts) / SCRIPT).is_file():
        advice = "npm install jspsych@8, and name node_modules/jspsych"
        raise TraitlensError(Problem("does not contain jsPsych 8", advice, str(scripts)))
    return Path(scripts) / SCRIPT


def _get_origin(cdn: str) -> str:
    """Return the origin (scheme and host) of a script's web address."""
    parts = urlsplit(cdn)
    if parts.scheme != "https" or not parts.netloc or not parts.path.endswith(".js"):
        advice = f"use the https address of jsPsych's {SCRIPT}"
        raise TraitlensError(Problem(f"{cdn!r} is not the address of a script", advice))
    return f"https://{parts.netloc}"


def _encode_step(step: SessionStep, design: SessionDesign, images: tuple[str, ...]) -> list[object]:
    """Encode a step for the page, with indices in place of the names of traits and images."""
    image = None if step.image is None else images.index(step.image)
    traits = [design.traits.index(trait) for trait in step.traits]
    return [step.kind, traits, image, step.repeat, step.wanted, step.questionnaire]


def _describe_panel(settings: CollectingSettings) -> dict[str, object] | None:
    """Return what the page needs to know about the panel: title, parameters of its address, and link back."""
    if settings.panel is None:
        return None
    panel = PANELS[settings.panel]
    link = panel_link(settings.panel, settings.completion, "{id}")
    completion = None if link is None else link.replace("%7Bid%7D", "{id}")
    return {"title": panel.title, "parameters": panel.parameters, "completion": completion}


def _make_page(script: Path, cdn: str | None, origin: str, save: str) -> str:
    """Return the HTML page; it allows only its own scripts, unless JATOS or Pavlovia adds others."""
    sources = f"'self' {origin}".strip()
    policy = (
        "default-src 'none'; img-src 'self' data:; style-src 'self'; base-uri 'none'; form-action 'none'; "
        f"script-src {sources}"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">\n'
    theirs = {"jatos": ["jatos.js"], "pavlovia": [PAVLOVIA]}.get(save, [])
    own = ["view.js", "design.js", "experiment.js"]
    tags = [f'<script src="{file}"></script>' for file in own]
    if cdn is None:
        jspsych = f'<script src="jspsych/{script.name}"></script>'
    else:
        digest_of_script = base64.b64encode(hashlib.sha384(script.read_bytes()).digest()).decode()
        jspsych = (
            f'<script src="{html.escape(cdn)}" integrity="sha384-{digest_of_script}" '
            'crossorigin="anonymous"></script>'
        )
    first = [jspsych, *(f'<script src="{file}"></script>' for file in theirs)]
    tags = [*(reversed(first) if save == "jatos" else first), *tags]
    return PAGE.format(policy="" if theirs else meta, scripts="\n".join(tags))
