"""A phone's key gives way to its successor: asked by the old key, granted by another person, signed by both, used once."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow
from backend.console import phones
from backend.exhibits.tables import FindingRow, ManifestRow
from backend.keys.keyring import Keyring
from backend.staff import devices, renewals
from backend.staff.model import DeviceEvent, DeviceState
from backend.staff.tables import DeviceRenewalRow, DeviceRow
from backend.web.app import Resources
from backend.web.auth import console_actor, phone_actor
from evidence.canonical import b64u_encode
from evidence.es256 import compact_sign
from evidence.facts import CaptureFacts
from evidence.keys import PrivateKey, generate_key, public_jwk, thumbprint
from mobile_api import login, manifests
from mobile_api import renewals as routes
from mobile_api.phone import Door as PhoneDoor
from mobile_api.phone import Phone
from mobile_api.phone_link import Link, Refused
from mobile_api.phone_notebook import Notebook
from mobile_api.phone_renewal import renew
from tests.support.cash import Door, door
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.phones import PUBLIC_URL, enrolment_proof
from tests.support.world import Person, world

COMPLETE = "/mobile/v1/device-renewals/complete"


class Office:
    """Bilal's phone, his visit, and the people who grant."""

    def __init__(self, resources: Resources, client: TestClient[Any], clock: SteppedClock, at: Door) -> None:
        self.resources, self.client, self.clock, self.at, self.made = resources, client, clock, at, at.made
        bilal = at.made.bilal
        assert bilal.phone is not None
        self.phone = Phone(
            Link(client, PUBLIC_URL, bilal.phone.key, clock), Notebook(None), staff_id=str(bilal.id), tenant="fieldvisit", clock=clock)
        known = [one for one in resources.keyring.public_keys() if isinstance(one.public, dict)]
        self.phone.pin({
            purpose: [{"kid": one.kid, "jwk": one.public} for one in known if one.purpose == purpose] for purpose in ("beacon", "receipt")})
        self.old_kid = self.phone.kid
        facts = at.facts
        assert at.made.dong.phone is not None
        self.door = PhoneDoor(
            visit=str(facts.visit_id), visit_version=facts.version, case=str(facts.case_id), bank=str(facts.bank_id),
            partner=str(at.made.dong.id), partner_kid=at.made.dong.phone.kid)

    def approve(self, person: Person, renewal_id: str) -> Any:
        with self.resources.sessions.begin() as session:
            headers = console_headers(session, person, self.clock.now)
        return self.client.post(f"/api/v1/device-renewals/{renewal_id}/approve", headers=headers)

    def ask(self) -> Any:
        return self.phone.link.call("POST", "/mobile/v1/device-renewals").json()

    def granted(self) -> Any:
        """Ask, have it granted, and return the challenge."""
        assert self.approve(self.made.amina, self.ask()["renewal"]["id"]).status_code == 200
        return self.ask()["challenge"]

    def body(self, nonce: str, fresh: PrivateKey, *, by: PrivateKey | None = None, proof_by: PrivateKey | None = None, **changes: Any) -> Any:
        old = by or self.phone.link.key
        said = {"app": "fieldvisit", "challenge": nonce, "staff": str(self.made.bilal.id), "old": self.old_kid, "new": thumbprint(fresh),
                "last_seq": 0, "last_digest": "0" * 64, **changes}
        return {"jwk": public_jwk(fresh), "proof": enrolment_proof(proof_by or fresh, nonce, str(self.made.bilal.id)),
                "consent": compact_sign(said, old, typ="device-renewal+jws", kid=thumbprint(old))}

    def refused(self, body: Any) -> str:
        with pytest.raises(Refused) as told:
            self.phone.link.call("POST", COMPLETE, json=body)
        return told.value.name

    def change(self, event: DeviceEvent) -> None:
        with self.resources.sessions.begin() as session:
            devices.change_device(session, self.made.amina.actor, devices.DeviceChange(kid=self.old_kid, event=event, reason="test"), self.clock.now)

    def states(self) -> dict[str, DeviceState]:
        with self.resources.sessions() as session:
            return {row.kid: row.state for row in session.scalars(select(DeviceRow).where(DeviceRow.staff_id == self.made.bilal.id))}

    def state(self) -> str:
        self.clock.step(30)
        return self.phone.state(self.door, CaptureFacts(occasion="door_plate"))

    def findings(self, digest: str) -> dict[str, str]:
        with self.resources.sessions() as session:
            query = select(FindingRow).join(ManifestRow, ManifestRow.id == FindingRow.manifest_id).where(ManifestRow.digest == digest)
            return {row.code: row.grade.value for row in session.scalars(query)}


@pytest.fixture
def office(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path) -> Iterator[Office]:
    with joined.begin() as session:
        made = world(session, keyring)
        at = door(session, keyring, made)
    clock = SteppedClock(at.now)
    resources = make_resources(joined, keyring, tmp_path, clock)
    routers = [
        signed_in(phone_actor, [*login.ROUTES, *manifests.ROUTES, *routes.ROUTES]), signed_in(console_actor, phones.ROUTES), *login.OPEN_ROUTES]
    with make_client(resources, routers) as client:
        yield Office(resources, client, clock, at)


# -- Refused -------------------------------------------------------------------------------------------------------------------


def test_EVD_09_nothing_is_renewed_without_a_second_person(office: Office) -> None:
    asked = office.ask()
    assert asked["challenge"] is None
    assert office.refused(office.body(b64u_encode(bytes(32)), generate_key())) == "conflict"
    assert office.approve(office.made.yara, asked["renewal"]["id"]).status_code == 404
    assert office.approve(office.made.farid, asked["renewal"]["id"]).status_code == 403
    with office.resources.sessions() as session, pytest.raises(DBAPIError):
        session.execute(update(DeviceRenewalRow).values(approved_by=office.made.bilal.id, approved_at=office.clock.now))
    assert office.ask()["renewal"] == asked["renewal"]
    assert office.approve(office.made.amina, asked["renewal"]["id"]).status_code == 200
    assert office.approve(office.made.amina, asked["renewal"]["id"]).status_code == 409


def test_EVD_09_both_keys_must_sign_this_challenge_person_and_pair_of_keys(office: Office) -> None:
    new, other, stale = generate_key(), generate_key(), office.granted()
    challenge = office.ask()["challenge"]                          # Asking again makes the earlier one useless.
    for body in (
        office.body(stale, new), office.body(challenge, new, by=other), office.body(challenge, new, proof_by=other),
        office.body(challenge, new, new=thumbprint(other)), office.body(challenge, new, old=thumbprint(other)),
        office.body(challenge, new, staff=str(office.made.dong.id)), office.body(challenge, new, challenge=stale),
        office.body(challenge, new, extra="member"), office.body(challenge, new, last_seq=-1), office.body(challenge, new, last_digest="x"),
        {**office.body(challenge, new), "consent": office.body(challenge, new)["proof"]},
    ):
        assert office.refused(body) == "unauthenticated", body
    used = office.body(challenge, office.phone.link.key)           # Its own successor.
    assert office.refused(used) == "conflict"
    assert office.states() == {office.old_kid: DeviceState.ACTIVE}


def test_EVD_09_a_challenge_lasts_ten_minutes(office: Office) -> None:
    challenge = office.granted()
    office.clock.step(devices.CHALLENGE_LIFE_S)
    assert office.refused(office.body(challenge, generate_key())) == "unauthenticated"


@pytest.mark.parametrize("event", [DeviceEvent.SUSPEND, DeviceEvent.REVOKE])
def test_EVD_09_a_lost_phone_cannot_renew_at_any_step(office: Office, event: DeviceEvent) -> None:
    asked = office.ask()
    office.change(event)
    for path in ("/mobile/v1/device-renewals", COMPLETE):
        with pytest.raises(Refused) as told:
            office.phone.link.call("POST", path, json=office.body(b64u_encode(bytes(32)), generate_key()) if path == COMPLETE else None)
        assert told.value.name == "device-not-active"
    assert office.approve(office.made.amina, asked["renewal"]["id"]).status_code == 409


def test_EVD_09_a_phone_suspended_after_its_grant_cannot_renew(office: Office) -> None:
    challenge = office.granted()
    office.change(DeviceEvent.SUSPEND)
    assert office.refused(office.body(challenge, generate_key())) == "device-not-active"
    # Past the door too: what was read before the suspension decides nothing.
    with office.resources.sessions() as session, pytest.raises(Exception, match="conflict"):
        renewals.complete(session, office.made.bilal.on_phone, renewals.NewKey(jwk={}, proof="", consent="", model=""), office.clock.now)


def test_EVD_09_a_phone_past_its_year_is_enrolled_anew(office: Office) -> None:
    office.granted()
    office.clock.step(timedelta(days=devices.DEVICE_VALID_DAYS).total_seconds())
    with pytest.raises(Refused) as told:
        office.ask()
    assert told.value.name == "device-not-active"


def test_EVD_09_a_renewal_is_used_once_and_never_replayed(office: Office) -> None:
    new = generate_key()
    body = office.body(office.granted(), new)
    office.phone.link.call("POST", COMPLETE, json=body)
    assert office.refused(body) == "device-not-active"             # By the old key.
    office.phone.link.take_key(new)
    assert office.refused(body) == "conflict"                      # By the new one: nothing is open for it.
    with office.resources.sessions() as session:
        row = session.scalars(select(DeviceRenewalRow)).one()
        assert (row.old_kid, row.new_kid, row.challenge) == (office.old_kid, thumbprint(new), None)
        for values in ({"new_kid": office.old_kid}, {"used_at": None}, {"consent": "another"}):
            with pytest.raises(DBAPIError), session.begin_nested():
                session.execute(update(DeviceRenewalRow).values(**values))


# -- Renewed -------------------------------------------------------------------------------------------------------------------


def test_EVD_09_the_old_key_keeps_what_it_signed_and_the_new_one_begins_a_chain(office: Office) -> None:
    office.phone.fetch_beacon()
    before = [office.state(), office.state()]
    office.phone.fetch_beacon()
    office.granted()
    new = generate_key()
    assert renew(office.phone, new)
    assert office.states() == {office.old_kid: DeviceState.REVOKED, thumbprint(new): DeviceState.ACTIVE}
    office.clock.step(60)
    office.phone.fetch_beacon()
    after = office.state()
    report = office.phone.sync(events_too=False)
    assert (report.refused, report.statements) == ((), 3)
    for digest in before:
        assert office.findings(digest).get("device-revoked-since") == "doubt", "nothing but the phone bounds it"
        assert "chain-after-renewal" not in office.findings(digest)
    assert not {"device-revoked-since", "chain-gap", "chain-broken"} & set(office.findings(after))
    with office.resources.sessions() as session:
        assert session.scalars(select(ManifestRow.seq).where(ManifestRow.device == thumbprint(new))).one() == 1
        row = session.scalars(select(DeviceRenewalRow)).one()
        assert (row.last_seq, row.last_digest) == (2, before[1])
        steps = session.scalars(select(AuditEntryRow).where(AuditEntryRow.tag == "device.renewed").order_by(AuditEntryRow.seq))
        assert [one.details["step"] for one in steps] == ["asked", "granted", "proven"]


def test_EVD_09_what_the_old_key_appends_after_its_end_is_a_fraud_sign(office: Office) -> None:
    first = office.state()
    kept = office.phone.link.key
    office.granted()
    new = generate_key()
    assert renew(office.phone, new)
    # The old key lives on in other hands: it goes on from where its chain ended, with a time from before.
    office.phone.notebook.begin_chain()
    office.phone.notebook.add_link(1, first)
    office.phone.link.take_key(kept)
    office.clock.step(-20)
    forged = office.phone.state(office.door, CaptureFacts(occasion="door_plate"))
    office.phone.link.take_key(new)
    office.clock.step(20)
    office.phone.sync(events_too=False)
    assert office.findings(forged)["chain-after-renewal"] == "fraud_sign"
    assert "chain-after-renewal" not in office.findings(first)
