"""The tests' own world holds on both engines."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.staff.tables import DeviceRow, StaffRow
from tests.support.world import shared_keyring, world


def test_the_world_is_made_of_distinct_people_with_distinct_phones(session: Session, now: datetime) -> None:
    made = world(session, shared_keyring(), now)
    people = list(made.everyone())
    assert len({person.id for person in people}) == len(people) == session.scalar(select(func.count()).select_from(StaffRow))
    assert made.bilal.on_phone.device != made.dong.on_phone.device
    assert session.scalar(select(func.count()).select_from(DeviceRow)) == 3
    assert made.chen.actor.bank == made.bank_b.id != made.lin.actor.bank
