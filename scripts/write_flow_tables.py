"""Update the tables of stages and files in docs/architecture.md."""

import re
from pathlib import Path

from tests.test_documentation import describe_stages

from traitlens.artifacts import ARTIFACTS
from traitlens.pipeline import FLOW

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def main() -> None:
    """Replace both tables on the page."""
    files = "".join(f"| `{one.path}` | {one.meaning} |\n" for one in ARTIFACTS.values())
    tables = {
        "stages": describe_stages(FLOW),
        "artifacts": f"| file | what it holds |\n|---|---|\n{files}",
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text = re.sub(pattern, lambda found, table=table: found[1] + table + found[2], text, flags=re.DOTALL)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
