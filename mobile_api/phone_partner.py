"""What a partner's phone keeps of the statements it witnessed, so that a lost first phone loses nothing that both have signed (protocol §2.1).

It keeps the envelope, kilobytes and never the files, until the server's receipt for it verifies; the first phone's own upload, before or
after, finds the same statement and changes nothing.
"""

from typing import NamedTuple

from evidence.envelope import check_shape
from mobile_api.phone import Phone
from mobile_api.phone_link import Offline, Refused
from mobile_api.phone_receipts import check_receipt


class Handed(NamedTuple):
    """How far the kept statements came: taken in by the server, of them receipted and let go, and finally refused."""

    sent: int
    let_go: int
    refused: int


def send_witnessed(phone: Phone) -> Handed:
    """Send every kept statement, in the order of signing, and let go of those whose receipt verifies. Safe at any time, any number of times.

    A statement whose files the lost phone took with it stays kept: it has no receipt until they come or a supervisor ends the wait.
    """
    sent = let_go = refused = 0
    for digest, manifest_id, envelope in phone.notebook.witnessed():
        try:
            answer = phone.link.call(
                "POST", "/mobile/v1/evidence-manifests", content=envelope, headers={"Content-Type": "application/jose+json"}).json()
            sent += 1
            told = answer if answer.get("receipt") else phone.link.call("GET", f"/mobile/v1/receipts/{manifest_id}").json()
            if told.get("receipt"):
                check_receipt(check_shape(envelope).payload, told["receipt"], told["proof"], phone.resolver("receipt"), phone.pinned_log)
                phone.notebook.forget_witnessed(digest)
                let_go += 1
        except Refused as refusal:
            refused += refusal.is_final
        except Offline:
            break
    return Handed(sent=sent, let_go=let_go, refused=refused)
