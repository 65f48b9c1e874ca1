"""Print a random sample of docstrings, comments, messages and functions, for a reader to judge.

Would a native speaker who knows scikit-learn and nilearn rewrite this docstring or message? Would they find
this function within a minute from the list of folders and files? At most one in ten should fail.

    python scripts/sample_words.py [--seed 1] [--under src/traitlens/readouts ...]
"""

import argparse
import ast
import inspect
import io
import random
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "traitlens"
TEXT = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}.* ")
"""Pattern of strings with at least three words; shorter strings are names and units."""


def main() -> None:
    """Print 60 docstrings and comments, 40 messages for users, and 12 functions."""
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
    """Return the docstrings and comments, the messages for users, and the functions of a module."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    name = path.relative_to(ROOT).as_posix()
    words, texts, functions = [], [], []
    pieces: set[int] = set()
    for node, before in with_previous(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            pieces.add(id(node.value))
            if isinstance(node.value.value, str):
                context = lines[before - 1].strip() if before else ""
                docstring = indent(inspect.cleandoc(node.value.value), "    ")
                words.append(f"{name}:{node.lineno}: {context}\n{docstring}")
        elif isinstance(node, ast.JoinedStr):
            pieces |= {id(part) for part in node.values}
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{...}" for part in node.values
            )
            add_text(texts, f"{name}:{node.lineno}", text)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            add_text(texts, f"{name}:{node.lineno}", node.value)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            first = (ast.get_docstring(node) or "").split("\n")[0]
            if first:
                functions.append(f"{first} ({name}: {node.name})")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"# *(noqa|type:|fmt:)", token.string):
            words.append(f"{name}:{token.start[0]}: {lines[token.start[0] - 1].strip()}")
    return words, texts, functions


def with_previous(tree: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    """Yield every node of a tree, with the first line of what a docstring there describes, or 0."""
    yield tree, 0
    for field in ast.walk(tree):
        for children in (value for _, value in ast.iter_fields(field) if isinstance(value, list)):
            before = getattr(field, "lineno", 0)
            for child in children:
                if isinstance(child, ast.stmt):
                    yield child, before
                    before = child.lineno
    for field in ast.walk(tree):
        if isinstance(field, ast.JoinedStr):
            yield field, 0
    for field in ast.walk(tree):
        if isinstance(field, ast.Constant):
            yield field, 0


def add_text(texts: list[str], place: str, text: str) -> None:
    """Append a text for users; names, units, queries and markup are none."""
    if TEXT.search(text) and not text.lstrip().startswith(("<", "SELECT", "INSERT", "CREATE", "UPDATE")):
        texts.append(f"{place}: {' '.join(text.split())}")


if __name__ == "__main__":
    main()
