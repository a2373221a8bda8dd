"""Reuse by look: among fifty thousand pictures the planted one is found, through the index, however old; degenerate hashes stay bounded."""

import random
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit import log
from backend.auth.actors import Actor
from backend.core.ids import new_id
from backend.db import upgrade
from backend.exhibits import examinations, looks
from backend.exhibits.findings import add_findings
from backend.exhibits.queries import OF_ANOTHER_BANK, statements_of
from backend.exhibits.tables import ItemRow, LookRow, ManifestRow
from evidence.examination import Examination, Exif, Photo, State, Tail
from evidence.manifest import Role, decode_manifest
from evidence.policy import DEFAULT
from evidence.verify import judge_similarity
from tests.db.test_exhibits_packs import PHOTO, Evidence, evidence_of
from tests.support.engines import Database

ROWS, SEED = 50_000, 20_261_127
BITS = st.sets(st.integers(0, 63), max_size=looks.BITS_GUARANTEED)


def photo(phash: int, mirror: int | None = None) -> Photo:
    turned = f"{(phash ^ (1 << 64) - 1) if mirror is None else mirror:016x}"
    return Photo(width=1, height=1, frames=1, tail=Tail.NONE, tail_bytes=0, phash=f"{phash:016x}", dhash="0" * 16, mirror_phash=turned,
                 mirror_dhash="0" * 16, exif=Exif())


@given(st.integers(0, 2**64 - 1), BITS)
def test_EVD_09_what_is_within_eleven_bits_is_within_two_in_one_band(phash: int, flipped: set[int]) -> None:
    other = phash ^ sum(1 << bit for bit in flipped)
    pairs = list(zip(looks.bands_of(f"{phash:016x}"), looks.bands_of(f"{other:016x}"), strict=True))
    assert any(right in {left ^ mask for mask in looks._MASKS} for left, right in pairs)
    if len(flipped) <= 3:
        assert any(left == right for left, right in pairs)


def test_EVD_09_a_bands_values_are_counted_once() -> None:
    assert len(set(looks._MASKS)) == len(looks._MASKS) == 137
    assert DEFAULT.similar_bits_max <= looks.BITS_GUARANTEED == 11


@pytest.fixture
def evidence(sessions: sessionmaker[Session], tmp_path: Path) -> Evidence:
    """A visit whose photo was looked into."""
    found = evidence_of(sessions, tmp_path)
    with sessions.begin() as session:
        seen = Examination(state=State.EXAMINED, photo=photo(0x5A5A_0F0F_3C3C_9669))
        examinations.store(session, found.item_of(PHOTO).id, seen, found.made.now)
    return found


def plant(session: Session, evidence: Evidence, hashes: list[int], visit_id: UUID, manifest_id: UUID | None = None) -> list[UUID]:
    """Enter pictures of one other visit, by the hash alone; their items are copies of the visit's photo, of its statement or another."""
    template = session.scalars(select(ItemRow).where(ItemRow.role == Role.PHOTO).limit(1)).one()
    columns = {column.name: getattr(template, column.name) for column in ItemRow.__table__.columns}
    ids = [new_id() for _ in hashes]
    session.execute(insert(ItemRow), [
        {**columns, "id": one, "manifest_id": manifest_id or template.manifest_id, "item_id": f"p{number}-{one.hex[-12:]}",
         "sha256": f"{one.hex}{number:032x}"} for number, one in enumerate(ids)])
    names = ("band_1", "band_2", "band_3", "band_4")
    session.execute(insert(LookRow), [
        {"item_key": one, "visit_id": visit_id, "phash": f"{phash:016x}", **dict(zip(names, looks.bands_of(f"{phash:016x}"), strict=True))}
        for one, phash in zip(ids, hashes, strict=True)])
    return ids


def test_EVD_09_an_examined_picture_is_entered_and_cannot_be_changed(evidence: Evidence) -> None:
    with evidence.sessions() as session:
        row = session.scalars(select(LookRow)).one()
        item = session.get_one(ItemRow, row.item_key)
        assert item.size == len(PHOTO)
        assert item.examination["photo"]["phash"] == row.phash
        assert row.visit_id == evidence.visit.visit_id
    for statement in ("UPDATE picture_looks SET band_1 = 1", "DELETE FROM picture_looks"):
        with pytest.raises(DBAPIError), evidence.sessions.begin() as session:
            session.execute(text(statement))


def test_EVD_09_own_visit_is_no_reuse_and_hints_are_bounded(evidence: Evidence) -> None:
    with evidence.sessions.begin() as session:
        ids = plant(session, evidence, [0] * 30 + [1], UUID(int=7))
    with evidence.sessions() as session:
        assert looks.alike(session, UUID(int=7), photo(0), 8) == ()
        found = looks.alike(session, None, photo(0), 8)
        assert len(found) == looks.HINTS_MAX
        assert {one.phash for one in found} == {"0" * 16}
        assert found[0].reference == str(max(ids[:30]))
        assert [one.reference for one in looks.alike(session, None, photo(2**64 - 1, mirror=1), 0)] == [str(ids[-1])]


@pytest.mark.long
def test_EVD_09_a_planted_reuse_is_found_among_fifty_thousand_through_the_index(evidence: Evidence, engine_of: Engine) -> None:
    dice, target = random.Random(SEED), 0x0123_4567_89AB_CDEF
    near = [target ^ sum(1 << bit for bit in dice.sample(range(64), bits)) for bits in (0, 1, 2, 3, 5, 8, 8, 8)]
    far = [target ^ sum(1 << bit for bit in dice.sample(range(64), bits)) for bits in (9, 10, 11)]
    mirrored = target ^ (1 << 64) - 1
    with evidence.sessions.begin() as session:
        planted = plant(session, evidence, [*near, mirrored, *far], UUID(int=7))              # The oldest of all.
        plant(session, evidence, [dice.getrandbits(64) for _ in range(ROWS)], UUID(int=8))
    with engine_of.connect() as connection:
        connection.execute(text("ANALYZE picture_looks"))
        connection.commit()
    with evidence.sessions() as session:
        found = {UUID(one.reference) for one in looks.alike(session, None, photo(target), DEFAULT.similar_bits_max)}
        query = looks.candidates(f"{target:016x}", None)
        seen = len(session.execute(query).all())
        compiled = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN" if session.get_bind().dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = "\n".join(" ".join(map(str, row)) for row in session.connection().exec_driver_sql(f"{explain} {compiled}".replace("%", "%%")))
    assert found == set(planted[:9])
    assert seen < ROWS // 50, f"{seen} candidates"
    for one in range(1, 5):
        assert f"ix_picture_looks_band_{one}" in plan, plan
    assert "Seq Scan" not in plan
    assert "SCAN picture_looks" not in plan


@pytest.fixture
def engine_of(cloned: Database) -> Iterator[Engine]:
    engine = cloned.owner_engine()
    yield engine
    engine.dispose()


def test_EVD_09_the_upgrade_enters_pictures_from_before(evidence: Evidence, cloned: Database) -> None:
    sessions = evidence.sessions
    with sessions() as session:
        expected = session.execute(select(LookRow.item_key, LookRow.phash, LookRow.visit_id, LookRow.band_1, LookRow.band_4)).all()
        assert len(expected) == 1
    upgrade.downgrade(cloned.url, "stamps")
    upgrade.upgrade(cloned.url)
    with sessions() as session:
        found = session.execute(select(LookRow.item_key, LookRow.phash, LookRow.visit_id, LookRow.band_1, LookRow.band_4)).all()
        assert found == expected


def test_SEC_01_a_bank_reads_that_its_picture_is_in_another_banks_case_and_never_which(evidence: Evidence) -> None:
    made, hers = evidence.made, evidence.item_of(PHOTO)
    with evidence.sessions.begin() as session:
        row = session.get_one(ManifestRow, hers.manifest_id)
        columns = {column.name: getattr(row, column.name) for column in ManifestRow.__table__.columns}
        planted: dict[UUID, list[UUID]] = {}
        for number, (bank, pictures) in enumerate(((made.bank_a.id, 1), (made.bank_b.id, 2))):
            entry = log.append(session, "manifest", f"other {number}".encode(), made.now)
            other = {**columns, "id": new_id(), "digest": f"{number}" * 64, "bank_id": bank, "visit_id": None, "log_entry_id": entry}
            session.execute(insert(ManifestRow), [other])
            planted[bank] = plant(session, evidence, [0x5A5A_0F0F_3C3C_9669] * pictures, UUID(int=7 + number), other["id"])
        own, strange = planted.values()
    with evidence.sessions.begin() as session:
        known = looks.alike(session, evidence.visit.visit_id, photo(0x5A5A_0F0F_3C3C_9669), DEFAULT.similar_bits_max)
        assert {UUID(one.reference) for one in known} == {*own, *strange}
        row = session.get_one(ManifestRow, hers.manifest_id)
        declared = next(one for one in decode_manifest(row.payload).items if one.item_id == hers.item_id)
        add_findings(session, row, judge_similarity(declared, photo(0x5A5A_0F0F_3C3C_9669), known, DEFAULT), made.now)

    def read(actor: Actor) -> list[str]:
        with evidence.sessions() as session:
            views = statements_of(session, actor, evidence.visit.visit_id)
        text = msgspec.json.encode(views).decode()
        assert actor.bank is None or not any(str(one) in text for one in (*strange, made.bank_b.id, other["id"]))
        return [one.got for view in views for one in view.findings if one.name == "similar-photo"]

    assert sorted(read(made.lin.actor)) == sorted([f"0 of 64 bits from {own[0]}", f"0 of 64 bits from {OF_ANOTHER_BANK}"])
    assert sorted(read(made.amina.actor)) == sorted(f"0 of 64 bits from {one}" for one in (*own, *strange))
    assert not any(str(one).encode() in evidence.export(made.lin.actor) for one in strange)

