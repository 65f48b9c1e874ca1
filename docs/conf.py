"""How the documentation is built: `make docs`, without a network, every warning an error."""

import shutil
import sys
from pathlib import Path

import traitlens

DOCS = Path(__file__).parent
# What the gallery is made with, and what its examples share.
sys.path[:0] = [str(DOCS), str(DOCS / "examples")]

project = "traitlens"
author = "The traitlens developers"
copyright = author
version = release = traitlens.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples", "auto_examples/**/*.ipynb"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc tells the types
numpydoc_show_class_members = False
numpydoc_use_plots = False

html_theme = "pydata_sphinx_theme"
html_title = "traitlens"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"**": ["sidebar-nav-bs"], "index": []}
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 5,
    "footer_start": ["copyright"],
    "footer_end": [],
}

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"example_study\.py",
    "image_scrapers": ("gallery.save_figures",),
    "reset_modules": ("gallery.forget_figures",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1,
    "plot_gallery": "True",
}


def copy_report(app, exception):
    """Copy the report that an example made beside the pages."""
    report = DOCS / "examples" / "simulated_study" / "results" / "report.html"
    if exception is None and report.exists():
        shutil.copy(report, Path(app.outdir) / "simulated_study_report.html")


def setup(app):
    """Connect what the build does at its end."""
    app.connect("build-finished", copy_report)
