"""A partner's phone keeps what it witnessed: the first phone may be lost, and the statement arrives once all the same (protocol §2.1)."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from backend.exhibits.model import ManifestState
from backend.exhibits.tables import ManifestRow, SignatureRow
from evidence.envelope import check_shape
from evidence.facts import ArrivalFacts
from mobile_api.phone import Phone, sign_together
from mobile_api.phone_link import Link, Refused
from mobile_api.phone_notebook import Notebook
from mobile_api.phone_partner import send_witnessed
from tests.api.mobile.test_renewals import Office, office
from tests.support.http import PUBLIC_URL

__all__ = ["office"]

ARRIVED = ArrivalFacts(
    lead="bilal", credential_worn=True, cosigner_credential_worn=True, audio_device=True, camera_device=True, recording_running=True)


def partner_of(office: Office, path: Path | None = None) -> Phone:
    dong = office.made.dong
    assert dong.phone is not None
    phone = Phone(
        Link(office.client, PUBLIC_URL, dong.phone.key, office.clock), Notebook(path), staff_id=str(dong.id), tenant="fieldvisit", clock=office.clock)
    known = [one for one in office.resources.keyring.public_keys() if isinstance(one.public, dict)]
    phone.pin({purpose: [{"kid": one.kid, "jwk": one.public} for one in known if one.purpose == purpose] for purpose in ("beacon", "receipt")})
    return phone


def stored(office: Office) -> tuple[int, int, list[ManifestState]]:
    with office.resources.sessions() as session:
        count = session.scalar(select(func.count()).select_from(ManifestRow)) or 0
        signed = session.scalar(select(func.count()).select_from(SignatureRow)) or 0
        return count, signed, list(session.scalars(select(ManifestRow.state)))


def arrived(office: Office, partner: Phone) -> str:
    office.clock.step(30)
    digest = office.phone.state(office.door, ARRIVED)
    sign_together(office.phone, partner, digest)
    return digest


def test_VIS_01_a_lost_first_phone_loses_nothing_that_was_witnessed(office: Office, tmp_path: Path) -> None:
    partner = partner_of(office, tmp_path / "partner.sqlite")
    digest = arrived(office, partner)
    partner.notebook.close()
    partner = partner_of(office, tmp_path / "partner.sqlite")                # Its own reboot loses nothing either.
    ((kept, _, envelope),) = partner.notebook.witnessed()
    assert kept == digest
    assert len(check_shape(envelope).signatures) == 2
    assert send_witnessed(partner) == (1, 1, 0)
    assert stored(office) == (1, 2, [ManifestState.COMPLETE])
    assert partner.notebook.witnessed() == []                                # Receipted, and only then let go.
    assert send_witnessed(partner) == (0, 0, 0)


@pytest.mark.parametrize("is_partner_first", [True, False])
def test_EVD_09_both_phones_send_it_and_it_stands_once(office: Office, is_partner_first: bool) -> None:
    partner = partner_of(office)
    arrived(office, partner)
    sends: list[Any] = [lambda: send_witnessed(partner).sent, lambda: office.phone.sync(events_too=False).statements]
    for send in sends if is_partner_first else reversed(sends):
        assert send() == 1
    assert stored(office) == (1, 2, [ManifestState.COMPLETE])
    assert partner.notebook.witnessed() == []


def test_EVD_09_what_has_no_receipt_stays_on_the_partners_phone(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = partner_of(office)
    arrived(office, partner)
    real, answers = partner.link.call, {"refuse": True}

    def call(method: str, path: str, **members: Any) -> Any:
        if answers["refuse"]:
            raise Refused(503, {"type": "/problems/storage-unavailable", "title": "later"})
        return real(method, path, **members)

    monkeypatch.setattr(partner.link, "call", call)
    assert send_witnessed(partner).let_go == 0
    assert len(partner.notebook.witnessed()) == 1
    answers["refuse"] = False
    assert send_witnessed(partner) == (1, 1, 0)


def test_VIS_01_a_statement_that_names_another_partner_is_neither_signed_nor_kept(office: Office) -> None:
    partner = partner_of(office)
    partner.staff_id = str(office.made.hana.id)
    office.clock.step(30)
    digest = office.phone.state(office.door, ARRIVED)
    with pytest.raises(ValueError, match="another partner"):
        sign_together(office.phone, partner, digest)
    assert partner.notebook.witnessed() == []
