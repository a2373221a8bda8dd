"""How the reference phone renews its key: the old one asks and consents, the new one proves itself."""

from evidence.es256 import compact_sign
from evidence.keys import PrivateKey, public_jwk, thumbprint
from mobile_api.phone import Phone


def renew(phone: Phone, new_key: PrivateKey) -> bool:
    """Ask to renew the key or, once a second person has granted it, do so; tells whether the new key is in force.

    What the old key signed keeps it and is sent as it is; the chain begins anew under the new key. Raises Offline, Refused.
    """
    offered = phone.link.call("POST", "/mobile/v1/device-renewals").json()
    if offered["challenge"] is None:
        return False
    last, new_kid = phone.notebook.next_link(), thumbprint(new_key)
    shared = {"app": "fieldvisit", "challenge": offered["challenge"], "staff": phone.staff_id}
    consent = {**shared, "old": phone.kid, "new": new_kid, "last_seq": last.seq - 1, "last_digest": last.prev}
    phone.link.call("POST", "/mobile/v1/device-renewals/complete", json={
        "jwk": public_jwk(new_key), "proof": compact_sign(dict(shared), new_key, typ="device-enrolment+jws", kid=new_kid),
        "consent": compact_sign(consent, phone.link.key, typ="device-renewal+jws", kid=phone.kid)})
    phone.notebook.begin_chain()
    phone.link.take_key(new_key)
    phone.fetch_beacon()                                    # The signed time that it held was for the former key.
    return True
