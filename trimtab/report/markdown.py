"""A document as Markdown, for a pull request, a wiki or a mail."""

import re
from collections.abc import Sequence

from trimtab.report.document import (
    Block,
    Bullets,
    Cell,
    Chart,
    Code,
    Document,
    Folded,
    Heading,
    Note,
    Paragraph,
    Table,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def render_markdown(document: Document) -> str:
    """The document as Markdown; charts are left out, since tables and sentences hold their numbers.

    Args:
        document: What to write.
    """
    parts = [f"# {escape(document.title)}", f"**{escape(document.lead)}**"]
    parts.append("\n".join(f"- {_card(card.label, card.figure, card.sentence)}" for card in document.cards))
    for section in document.sections:
        parts.append(f"## {escape(section.title)}")
        parts += _blocks(section.blocks)
    parts += ["---", escape(document.foot)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line.

    >>> escape("a|b_c")
    'a\\|b\\_c'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _card(label: str, figure: str, sentence: str) -> str:
    return f"{escape(label)}: **{escape(figure)}**. {escape(sentence[:1].upper() + sentence[1:])}"


def _blocks(blocks: Sequence[Block]) -> list[str]:
    return [text for block in blocks if (text := _block(block))]


def _block(block: Block) -> str:
    text = ""
    match block:
        case Paragraph():
            text = escape(block.text)
        case Heading():
            text = f"### {escape(block.text)}"
        case Note():
            text = _note(block)
        case Bullets():
            marks = (f"{place}." if block.numbered else "-" for place in range(1, len(block.lines) + 1))
            text = "\n".join(f"{mark} {escape(line)}" for mark, line in zip(marks, block.lines, strict=True))
        case Table():
            text = _table(block)
        case Code():
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
            text = f"{fence}{block.language}\n{block.text.rstrip()}\n{fence}"
        case Folded():
            text = "\n\n".join([f"### {escape(block.summary)}", *_blocks(block.blocks)])
        case Chart():
            pass
    return text


def _note(note: Note) -> str:
    lines = [f"> **{escape(note.strong)}**"]
    lines += [">", *(f"> - {escape(line)}" for line in note.lines)] if note.lines else []
    return "\n".join(lines)


def _table(table: Table) -> str:
    lines = [f"{escape(table.caption)}\n"] if table.caption else []
    lines.append(_line([escape(column.label) or " " for column in table.columns]))
    lines.append(_line(["---:" if column.number else "---" for column in table.columns]))
    for place, row in enumerate(table.rows):
        cells = [_cell(cell) for cell in row]
        if place == table.main:
            cells[0] = f"**{cells[0]}**"
        lines.append(_line(cells))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    note = f" ({escape(cell.note)})" if cell.note else ""
    return f"{escape(cell.text)}{note}"
