"""How templates become pages: escaped, strict about absent values, with the words of the reports as filters."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trimtab.report import words
from trimtab.types import StageSkipped

_FILTERS = (
    "integer", "decimal", "percent", "percent_interval", "decimal_interval", "duration", "metric_name", "capital",
)  # fmt: skip


def environment() -> Environment:
    """The environment that all pages are rendered in."""
    made = Environment(
        loader=PackageLoader("trimtab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.tests["skipped"] = lambda value: isinstance(value, StageSkipped)
    made.filters.update({name: getattr(words, name) for name in _FILTERS})
    made.filters["kind"] = lambda block: type(block).__name__
    made.filters["drawn"] = Markup  # svg.draw escapes what it is given
    return made
