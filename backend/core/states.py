"""States by table: which status follows which event, and nothing besides."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from backend.core.problems import IllegalTransition

Status = TypeVar("Status", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


def follow(table: Mapping[tuple[Status, Event], Status], status: Status, event: Event) -> Status:
    """Return the status that `table` names after `event`.

    Raises:
        IllegalTransition: the table names none.
    """
    following = table.get((status, event))
    if following is None:
        raise IllegalTransition(current=status.value, event=event.value)
    return following
