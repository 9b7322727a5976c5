import pytest

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
    Part,
    Table,
    head,
    row,
)
from trimtab.report.markdown import render_markdown
from trimtab.report.words import Card


def _document(*blocks: Block) -> Document:
    return Document(
        "T", "K", "Lead.", (Card("Label", "42", "more words."),), (Part("a", "A", "About", blocks),), "Foot."
    )


def _body(*blocks: Block) -> str:
    return render_markdown(_document(*blocks)).split("## About\n\n")[1].split("\n\n---")[0]


def test_the_headline_comes_first() -> None:
    assert render_markdown(_document()).startswith("# T\n\n**Lead.**\n\n- Label: **42**. More words.\n\n## About")


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (Paragraph("a\n b"), "a b"),
        (Heading("h"), "### h"),
        (Note("Strong.", ("one", "two")), "> **Strong.**\n>\n> - one\n> - two"),
        (Note("Alone."), "> **Alone.**"),
        (Bullets(("x", "y"), numbered=True), "1. x\n2. y"),
        (Bullets(("x",)), "- x"),
        (Code("a: ```\n", "yaml"), "````yaml\na: ```\n````"),
        (Folded("More", (Paragraph("p"),)), "### More\n\np"),
    ],
)
def test_a_block_reads_as_it_does_on_the_page(block: Block, text: str) -> None:
    assert _body(block) == text


def test_charts_are_left_out() -> None:
    assert _body(Paragraph("before"), Chart("<svg/>", "caption"), Paragraph("after")) == "before\n\nafter"


def test_a_table_keeps_its_columns_whatever_its_cells_hold() -> None:
    table = Table(head("Arm", "#Units"), (row("a|b", Cell("1", "low")), row("c", "2")), "Caption", main=1)
    assert _body(table) == "Caption\n\n| Arm | Units |\n| --- | ---: |\n| a\\|b | 1 (low) |\n| **c** | 2 |"


def test_markup_in_names_is_only_text() -> None:
    assert _body(Paragraph("*a* _b_ <script> [x](y) `c`")) == r"\*a\* \_b\_ \<script\> \[x\](y) \`c\`"
