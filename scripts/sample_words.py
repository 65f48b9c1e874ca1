"""Draw a random sample of docstrings, comments, texts for users, and functions, for a reader to judge.

Would a native speaker who knows scikit-learn and nilearn rewrite this docstring or text? Would they find this
function within a minute from the listing of the folders? At most one in ten should fail.

    python scripts/sample_words.py [--seed 1] [--under src/traitlens/readouts ...]
"""

import argparse
import ast
import io
import random
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "traitlens"
TEXT = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}.* ")
"""At least three words: shorter strings are names and units."""


def main() -> None:
    """Print 60 docstrings and comments, 40 texts for users, and 12 functions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--under", type=Path, nargs="*", default=[PACKAGE])
    options = parser.parse_args()
    words: list[str] = []
    texts: list[str] = []
    functions: list[str] = []
    for path in sorted(file for folder in options.under for file in Path(folder).resolve().rglob("*.py")):
        own_words, own_texts, own_functions = read_module(path)
        words += own_words
        texts += own_texts
        functions += own_functions
    generator = random.Random(options.seed)
    for heading, found, count in (
        ("Docstrings and comments", words, 60),
        ("Texts for users", texts, 40),
        ("Functions to find", functions, 12),
    ):
        print(f"\n## {heading} ({count} of {len(found):,})\n")
        for number, line in enumerate(generator.sample(found, min(count, len(found))), 1):
            print(f"{number:2}. {line}")


def read_module(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Return docstrings and comments, texts for users, and functions of a module."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    name = path.relative_to(ROOT).as_posix()
    documented = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    words, texts, functions = [], [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            line = f"{name}:{node.lineno}: {' '.join(node.value.split())}"
            if id(node) in documented:
                words.append(line)
            elif TEXT.search(node.value):
                texts.append(line)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            functions.append(f"{node.name}: {(ast.get_docstring(node) or '').splitlines()[:1]} ({name})")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"# *(noqa|type:|fmt:)", token.string):
            words.append(f"{name}:{token.start[0]}: {token.string}")
    return words, texts, functions


if __name__ == "__main__":
    main()
