"""Every kind of event that phones send, by name; one module per slice adapts bodies to the slice's actions."""

from typing import Any

from mobile_api.envelope import EventKind
from mobile_api.event_kinds import cash, disputes, visits

KINDS: dict[str, EventKind[Any]] = {**visits.KINDS, **disputes.KINDS, **cash.KINDS}
