"""Limits for callers whom nobody knows: by where they come from, and by what they ask about. Counters lie in the database."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from litestar import Request

from backend.core.problems import TooManyRequests
from backend.submissions.counting import count
from backend.web.app import Resources

Limit = tuple[int, timedelta]


def demand_within(resources: Resources, asked: Sequence[tuple[str, str, Limit]], now: datetime) -> None:
    """Count one anonymous request under each of `asked` (kind, whose, limit), in an act of its own that stays whatever follows.

    Raises:
        TooManyRequests: one of the limits is used up.
    """
    refused: TooManyRequests | None = None
    with resources.sessions.begin() as session:
        for what, whose, limit in asked:
            try:
                count(session, what, whose, limit, now)
            except TooManyRequests as problem:
                refused = problem
    if refused is not None:
        raise refused


def client_of(request: Request[Any, Any, Any], resources: Resources) -> str:
    """Return the network that a request comes from: an IPv4 address or an IPv6 /64; forwarded headers count from trusted proxies alone."""
    host = request.client.host if request.client is not None else ""
    if host in resources.settings.trusted_proxies:
        host = request.headers.get("x-forwarded-for", host).rsplit(",", 1)[-1].strip()[:64]
    try:
        address = ip_address(host)
    except ValueError:
        return "unknown"
    return str(address) if address.version == 4 else address.exploded[:19]
