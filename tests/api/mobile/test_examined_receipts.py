"""The reference phone believes that its statement was examined only by a receipt that stands in the pinned log."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from backend.audit import log
from backend.exhibits import receipts
from backend.exhibits.tables import ManifestRow
from evidence.errors import EvidenceError
from tests.api.mobile.test_renewals import Office, office

__all__ = ["office"]


def test_EVD_09_an_examined_receipt_is_verified_against_the_pinned_log_and_shows_no_finding(office: Office) -> None:
    resources, phone, now = office.resources, office.phone, office.clock.now
    known = [one for one in resources.keyring.public_keys() if isinstance(one.public, dict)]
    keys = {purpose: [{"kid": one.kid, "jwk": one.public} for one in known if one.purpose == purpose] for purpose in ("beacon", "receipt")}
    phone.pin(keys, (resources.origin, resources.keyring.log_public_key().public_bytes_raw()))
    digest = office.state()
    assert phone.sync(events_too=False).statements == 1
    assert not phone.is_examined(digest)
    with resources.sessions.begin() as session:
        row = session.scalars(select(ManifestRow).where(ManifestRow.digest == digest)).one()
        report = receipts.report_of(session, row)
        assert report is not None
        log.append(session, "examined", report, now)
    log.sequence(resources.sessions, resources.keyring, resources.origin, now)
    with resources.sessions.begin() as session:
        assert receipts.issue_examined(session, resources.keyring, row.id, now, origin=resources.origin) is not None
    assert phone.is_examined(digest)
    assert "report" not in msgspec.json.decode(phone.link.call("GET", f"/mobile/v1/receipts/{row.id}").content)
    phone.pin(keys, (resources.origin, Ed25519PrivateKey.generate().public_key().public_bytes_raw()))
    with pytest.raises(EvidenceError):
        phone.is_examined(digest)
