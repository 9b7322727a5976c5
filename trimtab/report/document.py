"""A report as sections of blocks: written once, rendered as a page and as Markdown.

Blocks hold text that is ready to read. Charts are the one thing that Markdown leaves out, so what a chart shows must
stand in a table or a sentence too.
"""

from dataclasses import dataclass

from trimtab.report.words import Card, Tone


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph; `muted` for asides."""

    text: str
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A coloured box: a strong first line and a list."""

    strong: str
    lines: tuple[str, ...] = ()
    tone: Tone = "neutral"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list, numbered where the order matters."""

    lines: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """An inline SVG with its caption; pages only."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Column:
    """Head of a column: `number` aligns right, `wide` keeps prose from being squeezed."""

    label: str
    number: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: text, a small line below it, and a tone where it is a mark."""

    text: str
    note: str = ""
    tone: Tone | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        columns: The head.
        rows: Cells, as many as there are columns.
        caption: What the table shows; may be empty.
        main: Index of the row that matters most.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    main: int | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """Text to copy."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks that a reader opens on demand."""

    summary: str
    blocks: "tuple[Block, ...]"


Block = Paragraph | Heading | Note | Bullets | Chart | Table | Code | Folded


@dataclass(frozen=True, slots=True)
class Part:
    """One section.

    Attributes:
        anchor: Unique within the document; letters and hyphens.
        short: Name in the bar.
        title: Heading.
        blocks: Content.
    """

    anchor: str
    short: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A report.

    Attributes:
        title: Title of the page.
        kicker: The line above the headline.
        lead: The one sentence to read.
        cards: The headlines.
        sections: The rest.
        foot: Where it comes from.
    """

    title: str
    kicker: str
    lead: str
    cards: tuple[Card, ...]
    sections: tuple[Part, ...]
    foot: str


def head(*labels: str) -> tuple[Column, ...]:
    """Heads of columns: `#` before a label marks numbers, `~` prose.

    >>> head("Arm", "#Units")[1]
    Column(label='Units', number=True, wide=False)
    """
    return tuple(Column(label.lstrip("#~"), label.startswith("#"), label.startswith("~")) for label in labels)


def row(*cells: str | Cell) -> tuple[Cell, ...]:
    """Cells of a row; text alone is a cell."""
    return tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells)
