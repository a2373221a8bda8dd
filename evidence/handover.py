"""Hand an original to one recipient and nobody else: its key encrypted to the recipient's own (ECDH-ES, RFC 7518 §4.6).

The bytes travel as `evidence.sealing` seals them; `evidence.verify_pack --open KEY` opens both without any code of ours.
"""

from typing import Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from evidence.errors import MalformedError
from evidence.keys import PublicKey, key_from_jwk, public_jwk, thumbprint
from evidence.sealing import KEY_BYTES

ALG: Final = "ECDH-ES"
ENC: Final = "A256GCM"


def recipient_key(jwk: object) -> PublicKey:
    """Read a recipient's public P-256 JWK.

    Raises:
        MalformedError: not exactly a public P-256 key; a private one is refused, since its owner alone may hold it.
    """
    if not isinstance(jwk, dict) or set(jwk) != {"kty", "crv", "x", "y"}:
        raise MalformedError("a recipient's key is a public P-256 JWK with exactly kty, crv, x, y")
    return key_from_jwk(jwk)


def seal_item_key(item_key: bytes, recipient: PublicKey) -> str:
    """Return the item key as a compact JWE that only the recipient opens."""
    if len(item_key) != KEY_BYTES:
        raise ValueError(f"an item key has {KEY_BYTES} bytes")
    header = {"alg": ALG, "enc": ENC, "kid": thumbprint(recipient)}
    try:
        return jwe.encrypt_compact(header, item_key, ECKey.import_key(dict(public_jwk(recipient))), algorithms=[ALG, ENC])
    except JoseError as error:
        raise MalformedError(f"the recipient's key cannot be used ({type(error).__name__})") from None
