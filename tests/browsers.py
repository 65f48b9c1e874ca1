"""A browser for tests of pages, and what axe finds in them.

Chromium is found by the environment variable CHROMIUM, or on the PATH.
"""

import os
import shutil
import subprocess

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]
MOST_PRESSES = 20
"""Presses of Tab after which any action must be reached from the heading before it."""
RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'], iframes: false}"


def fetch_axe(folder):
    """Fetch axe-core with the user's own client; None where it cannot be had."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4"]
    if shutil.which("npm") is None:
        return None
    if subprocess.run(command, cwd=folder, capture_output=True, timeout=180, check=False).returncode:
        return None
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def find_barriers(page, axe):
    """List what axe finds, in light and dark; nothing without axe."""
    found = []
    for scheme in ("light", "dark") if axe else ():
        page.emulate_media(color_scheme=scheme)
        page.evaluate(axe)
        for fault in page.evaluate(f"axe.run(document, {RULES})")["violations"]:
            where = [node["html"][:100] for node in fault["nodes"][:2]]
            found.append((scheme, fault["impact"], fault["id"], *where))
    return found


def count_tab_stops(page):
    """Count the stops of Tab between headings, at which users of keyboards and screen readers can stop."""
    return page.evaluate(
        """() => {
          const counts = [0];
          const all = 'h1, h2, h3, a[href], button, input, select, summary, [tabindex]';
          const stops = (one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility();
          for (const one of document.querySelectorAll(all)) {
            if (/^H[123]$/.test(one.tagName)) counts.push(0);
            else if (stops(one)) counts[counts.length - 1] += 1;
          }
          return counts;
        }"""
    )
