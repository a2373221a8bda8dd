"""P-256 keys, their JWK form and their RFC 7638 thumbprint, which is the key id everywhere."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec

from evidence.canonical import b64u_decode, b64u_encode, canonicalise, sha256_hex
from evidence.errors import MalformedError, WrongAlgorithm

PublicKey: TypeAlias = ec.EllipticCurvePublicKey
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey
SigningKey: TypeAlias = "PrivateKey | Callable[[bytes], bytes]"
"""A private key, or a function (an HSM's, a KMS's) from the message to the 64 bytes r‖s of its ES256 signature."""
KeyResolver: TypeAlias = Callable[[str], PublicKey | None]
"""Key id to public key; None when the key is unknown."""

_COORDINATE_BYTES: Final = 32


def generate_key() -> PrivateKey:
    """Make a new P-256 private key."""
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: PublicKey | PrivateKey) -> dict[str, str]:
    """Return the public JWK: exactly `kty`, `crv`, `x`, `y`.

    Raises:
        WrongAlgorithm: the key lies on another curve.
    """
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    if public.curve.name != "secp256r1":
        raise WrongAlgorithm(f"curve {public.curve.name}, P-256 is expected")
    numbers = public.public_numbers()
    x, y = (b64u_encode(n.to_bytes(_COORDINATE_BYTES, "big")) for n in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def key_from_jwk(jwk: Mapping[str, object]) -> PublicKey:
    """Read a public P-256 JWK of exactly four members.

    Raises:
        MalformedError: members missing, unknown or private, or a point off the curve.
        WrongAlgorithm: another key type or curve.
    """
    if set(jwk) != {"kty", "crv", "x", "y"}:
        raise MalformedError("a JWK here has exactly kty, crv, x and y")
    if (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
        raise WrongAlgorithm("only EC keys on P-256 are used")
    coordinates = [_coordinate(jwk[name], f"/{name}") for name in ("x", "y")]
    try:
        return ec.EllipticCurvePublicNumbers(coordinates[0], coordinates[1], ec.SECP256R1()).public_key()
    except ValueError:
        raise MalformedError("the point is not on P-256") from None


def thumbprint(key: PublicKey | PrivateKey) -> str:
    """Return the RFC 7638 SHA-256 thumbprint, 43 base64url characters."""
    return b64u_encode(bytes.fromhex(sha256_hex(canonicalise(dict(public_jwk(key))))))


def _coordinate(text: object, pointer: str) -> int:
    if not isinstance(text, str) or len(raw := b64u_decode(text, pointer)) != _COORDINATE_BYTES:
        raise MalformedError("a coordinate is 32 bytes in base64url", pointer)
    return int.from_bytes(raw, "big")
