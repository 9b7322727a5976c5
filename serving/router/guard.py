"""Tokens: who may send outcomes, and who may see and change routes."""

import hmac
import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Literal

from serving.router.http import Headers, Refused, header
from trimtab.errors import BadInput

Scope = Literal["outcomes", "admin"]
VARIABLES: Mapping[Scope, str] = {"outcomes": "TRIMTAB_OUTCOMES_TOKEN", "admin": "TRIMTAB_ADMIN_TOKEN"}


class Guard:
    """Checks bearer tokens.

    Args:
        tokens: Token by scope; whoever asks may pass where it is empty.
    """

    def __init__(self, tokens: Mapping[Scope, str]) -> None:
        self._tokens = {scope: token.encode() for scope, token in tokens.items()}

    def check(self, scope: Scope, headers: Headers) -> None:
        """Let a request pass.

        Args:
            scope: What it wants.
            headers: Its headers.

        Raises:
            Refused: Its token is absent or wrong, with 401.
        """
        wanted = self._tokens.get(scope, b"")
        kind, _, given = header(headers, b"authorization").partition(b" ")
        if wanted and not (kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), wanted)):
            raise Refused(401, "the token is absent or wrong.", remedy="Send it as 'Authorization: Bearer TOKEN'.")


def guard_of(environment: Mapping[str, str], *, address: str, unguarded: bool = False) -> Guard:
    """The guard of a server.

    Args:
        environment: Holds the tokens; a line end behind one, as files and Secrets have it, is no part of it.
        address: Address that the server is bound to.
        unguarded: Whether tokens may be unset although others can reach the address.

    Raises:
        BadInput: Others can reach the address, and a token is unset.
    """
    tokens = {scope: environment.get(name, "").strip() for scope, name in VARIABLES.items()}
    missing = [VARIABLES[scope] for scope, token in tokens.items() if not token]
    if missing and not unguarded and not ip_address(address.partition("%")[0]).is_loopback:
        raise BadInput(
            f"the router is bound to {address}, which others can reach, and {' and '.join(missing)} is unset.",
            remedy="Set it, bind to 127.0.0.1, or give --open.",
        )
    return Guard(tokens)


def environment_guard(*, address: str, unguarded: bool) -> Guard:
    """`guard_of` this process's environment."""
    return guard_of(os.environ, address=address, unguarded=unguarded)
