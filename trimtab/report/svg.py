"""Figures as inline SVG whose colours follow the page, so that one figure serves light, dark and print.

Charts are drawn in stand-in colours; in the SVG each stand-in becomes a CSS variable of the page. Text stays text, in
the page's font. matplotlib is imported on first use and without pyplot: there is no global state.
"""

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from trimtab.errors import TrimtabError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-in colour to CSS variable. The values matter to nobody but must differ.
INK, MUTED, LINE, MAIN, ACCENT, GOOD, BAD, PAPER = (f"#0{digit}0{digit}0{digit}" for digit in range(1, 9))
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    MAIN: "main",
    ACCENT: "accent",
    GOOD: "good",
    BAD: "bad",
    PAPER: "paper",
}
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a column name may hold a dollar sign
    "svg.hashsalt": "trimtab",
    "font.family": "sans-serif",
    "font.size": 13,
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 13,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 1,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "lines.solid_capstyle": "butt",
}


def draw(
    name: str, description: str, paint: Callable[["Figure", "Axes"], None], *, width: int = 736, height: int = 360
) -> str:
    """Draw one chart.

    Args:
        name: Unique within a page; letters, digits and hyphens.
        description: What the chart shows, for those who do not see it.
        paint: Draws on the figure and its one set of axes.
        width: Width in CSS pixels at natural size.
        height: Height in CSS pixels at natural size.

    Returns:
        An `<svg>` element without any outward reference.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        paint(figure, figure.add_subplot())
        buffer = io.StringIO()
        canvas.print_svg(buffer, metadata={"Date": None})
    return _for_page(buffer.getvalue(), name, description)


def _for_page(svg: str, name: str, description: str) -> str:
    """The drawing without what belongs to a file of its own, its ids unique to `name`, its colours the page's."""
    box = re.search(r'viewBox="0 0 (\S+) (\S+)"', svg)
    if box is None:
        raise TrimtabError(f"figure '{name}' was drawn without a size.")
    body = svg[svg.index("<svg") :].split(">", 1)[1]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r' id="', f' id="{name}-', body)
    body = re.sub(r'(xlink:)?href="#', f'href="#{name}-', body).replace("url(#", f"url(#{name}-")
    body = re.sub(r"font-family: [^;\"]+; ", "", body)
    for stand_in, variable in _VARIABLES.items():
        body = body.replace(stand_in, f"var(--{variable})")
    return (
        f'<svg viewBox="{box.group(0)[9:-1]}" role="img" aria-label="{escape(description)}" '
        f'style="max-width: {box.group(1)}px">{body.strip()}'
    )
