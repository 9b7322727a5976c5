"""Whether data are fit for use: each row judged, each column judged, and nothing lost on the way."""

from trimtab.sessions.validation.findings import Finding, Severity, Validated
from trimtab.sessions.validation.validate import require_usable, validate

__all__ = ["Finding", "Severity", "Validated", "require_usable", "validate"]
