"""Pictures by their look: an index of perceptual hashes that finds every one within a distance, whatever its age (EVD-09).

A hash of 64 bits is kept in four bands of 16, each indexed. Two hashes at most 3 bits apart agree in one band exactly; at most 11 bits
apart, they differ by at most 2 bits in one of the bands (pigeonhole: 4 × 3 = 12). So asking each band for its 137 values within 2 bits finds
every hash within 11 bits and, compared whole, none beyond what is asked. `similar_bits_max` of the policy is 8.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final
from uuid import UUID

from sqlalchemy import Select, select, union_all
from sqlalchemy.orm import Session

from backend.exhibits.model import RECORDING_ROLES
from backend.exhibits.tables import ItemRow, LookRow, ManifestRow
from evidence.examination import Photo
from evidence.manifest import Role
from evidence.verify import FORM_ROLES, KnownPhoto

BANDS: Final = 4
BAND_BITS: Final = 16
BAND_RADIUS: Final = 2
BITS_GUARANTEED: Final = BANDS * (BAND_RADIUS + 1) - 1
HINTS_MAX: Final = 20
"""Nearest look-alikes told of one picture, the newest of equals first: a black picture looks like every other."""
NOT_COMPARED: Final = frozenset({*RECORDING_ROLES, *FORM_ROLES, Role.REFUSAL})
_MASKS: Final = tuple(sum(1 << bit for bit in bits) for number in range(BAND_RADIUS + 1) for bits in combinations(range(BAND_BITS), number))


def bands_of(phash: str) -> tuple[int, int, int, int]:
    """Return the four bands of a hash of 16 hex digits, the first digits first."""
    first, second, third, fourth = (int(phash[at:at + 4], 16) for at in range(0, 16, 4))
    return first, second, third, fourth


def keep(session: Session, item: ItemRow, photo: Photo) -> None:
    """Enter an examined picture; forms, cards and what belongs to no visit are never compared by look."""
    visit_id = session.scalars(select(ManifestRow.visit_id).where(ManifestRow.id == item.manifest_id)).one()
    if item.role in NOT_COMPARED or visit_id is None:
        return
    first, second, third, fourth = bands_of(photo.phash)
    session.add(LookRow(item_key=item.id, visit_id=visit_id, phash=photo.phash, band_1=first, band_2=second, band_3=third, band_4=fourth))
    session.flush()


def alike(session: Session, visit_id: UUID | None, photo: Photo, bits_max: int) -> tuple[KnownPhoto, ...]:
    """Return the pictures of other visits that look like this one or its mirror image, nearest first, at most `HINTS_MAX`."""
    assert 0 <= bits_max <= BITS_GUARANTEED, "the bands guarantee no more"
    near: dict[UUID, tuple[int, str]] = {}
    for phash in (photo.phash, photo.mirror_phash):
        for row in session.execute(candidates(phash, visit_id)):
            item_key, other = row.item_key, row.phash
            bits = (int(phash, 16) ^ int(other, 16)).bit_count()
            if bits <= bits_max:
                near[item_key] = min(near.get(item_key, (bits, other)), (bits, other))
    nearest = sorted(sorted(near, reverse=True), key=lambda one: near[one][0])[:HINTS_MAX]
    roles = {row.id: row.role for row in session.execute(select(ItemRow.id, ItemRow.role).where(ItemRow.id.in_(nearest)))}
    return tuple(KnownPhoto(reference=str(one), phash=near[one][1], role=roles[one]) for one in nearest)


def candidates(phash: str, visit_id: UUID | None) -> Select[UUID, str]:
    """Return the query of all pictures of other visits that come near in one band, some of them more than once."""
    found = union_all(*_by_band(phash)).subquery()
    query = select(found.c.item_key, found.c.phash)
    return query if visit_id is None else query.where(found.c.visit_id != visit_id)


def _by_band(phash: str) -> Iterator[Select[UUID, UUID, str]]:
    for column, band in zip((LookRow.band_1, LookRow.band_2, LookRow.band_3, LookRow.band_4), bands_of(phash), strict=True):
        yield select(LookRow.item_key, LookRow.visit_id, LookRow.phash).where(column.in_([band ^ mask for mask in _MASKS]))
