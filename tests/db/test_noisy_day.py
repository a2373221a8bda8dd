"""An honest, noisy day of 200 visits: under 2 % reach quarantine, while every planted fraud is found (F24)."""

from collections import Counter
from datetime import datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.exhibits.findings import findings_of
from backend.exhibits.model import Standing
from backend.exhibits.tables import FindingRow, ManifestRow
from evidence.model import Grade
from tests.support.noisy_day import DOORS_PER_PAIR, FRAUDS, PAIRS, honest_day, plant, quarantined_visits
from tests.support.world import shared_keyring, world

KEYRING = shared_keyring()
PER_FRAUD = 2


@pytest.mark.slow
def test_F24_an_honest_noisy_day_is_not_quarantined_and_every_planted_fraud_is(
    session: Session, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    if session.get_bind().dialect.name != "sqlite":
        pytest.skip("the judgements are the same; one engine's day is long enough")
    day = honest_day(session, KEYRING, world(session, KEYRING, now), seed=20261127)
    day.examine(day.made.now)
    honest = quarantined_visits(day)
    standings = Counter(session.scalars(select(ManifestRow.standing)))
    why = Counter(session.scalars(select(FindingRow.code).where(FindingRow.grade == Grade.FRAUD_SIGN)))
    told = Counter(session.scalars(select(FindingRow.code).where(FindingRow.grade != Grade.FRAUD_SIGN)))
    planted = {(fraud, number): plant(day, fraud, number) for fraud in FRAUDS for number in range(PER_FRAUD)}
    day.examine(day.made.now)
    missed = []
    for (fraud, number), manifest_id in planted.items():
        row = session.get_one(ManifestRow, manifest_id)
        if row.standing is not Standing.QUARANTINED or fraud not in {one.name for one in findings_of(session, manifest_id)}:
            missed.append((fraud, number, row.standing))
    with capsys.disabled():
        print(f"\n{PAIRS * DOORS_PER_PAIR} visits, {sum(standings.values())} statements: {dict(standings)}; quarantined visits {len(honest)}: "
              f"{dict(why)}; told {told.most_common(12)}; frauds found {len(planted) - len(missed)} of {len(planted)}")
    assert missed == []
    assert len(day.visits) == PAIRS * DOORS_PER_PAIR + len(planted)
    assert len(honest) * 100 < 2 * PAIRS * DOORS_PER_PAIR, why
