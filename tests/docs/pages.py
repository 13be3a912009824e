"""The pages of the documentation as blocks of code, and what stands below each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OUTPUT = "text"


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        page: The file below ``docs/``.
        line: Of its first fence.
        language: What stands behind the fence.
        code: Its text.
        output: The ``text`` block directly below it, ``None`` without one.
        follows: The language of the block directly above it.
    """

    page: str
    line: int
    language: str
    code: str
    output: str | None
    follows: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order, without those that are the output of another."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    made = []
    for before, match, after in zip([None, *found], found, [*found[1:], None], strict=False):
        is_output = match[1] == _OUTPUT and before is not None and _adjacent(text, before, match)
        if is_output:
            continue
        output = None
        if after is not None and after[1] == _OUTPUT and _adjacent(text, match, after):
            output = after[2]
        follows = before[1] if before is not None and _adjacent(text, before, match) else ""
        line = text.count("\n", 0, match.start()) + 1
        made.append(Block(page, line, match[1], match[2], output, follows))
    return made


def all_blocks(language: str) -> list[Block]:
    """All blocks of a language, of all pages."""
    pages = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
    return [block for page in pages for block in blocks(page) if block.language == language]


def pairs(first: str, second: str) -> list[tuple[Block, Block]]:
    """Blocks of the second language directly below one of the first."""
    found = [pairwise(blocks(path.name)) for path in sorted(DOCS.glob("*.md"))]
    return [
        (one, other)
        for page in found
        for one, other in page
        if one.language == first and other.language == second and other.follows == first
    ]


def matches(printed: str, expected: str) -> bool:
    """Compare with what a page promises, where ``…`` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def _adjacent(text: str, before: re.Match[str], after: re.Match[str]) -> bool:
    return not text[before.end() : after.start()].strip()
