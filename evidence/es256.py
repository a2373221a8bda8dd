"""One ES256 signature over `protected.payload`, and compact tokens with exactly `alg`, `kid`, `typ` in their header.

The strict shape is checked here, before the JOSE library sees a byte: the library's "valid" is wider than ours.
"""

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from evidence.canonical import JsonObject, b64u_decode, b64u_encode, canonicalise, parse_strict
from evidence.errors import MalformedError, SignatureInvalid, UnknownDevice, WrongAlgorithm
from evidence.keys import KeyResolver, PublicKey, SigningKey, public_jwk

ALG: Final = "ES256"
SIGNATURE_BYTES: Final = 64
HEADER_CHARS_MAX: Final = 1_200
TOKEN_CHARS_MAX: Final = 2_000_000


class _Registry(jws.JWSRegistry):
    max_header_length = HEADER_CHARS_MAX
    max_payload_length = TOKEN_CHARS_MAX


_REGISTRY: Final = _Registry(algorithms=[ALG], strict_check_header=False)


def sign_bytes(message: bytes, key: SigningKey) -> bytes:
    """Return the 64 bytes r‖s of an ES256 signature.

    Raises:
        WrongAlgorithm: the key is not on P-256, or the signing function returned another length.
    """
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key(message)
        if len(signature) != SIGNATURE_BYTES:
            raise WrongAlgorithm(f"the signing function returned {len(signature)} bytes, {SIGNATURE_BYTES} are expected")
        return signature
    public_jwk(key)                                                   # Refuses another curve.
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def demand_signature(token: str, key: PublicKey, pointer: str = "") -> None:
    """Verify the three parts of a compact token whose shape was checked before.

    Raises:
        SignatureInvalid: it does not verify, for whatever reason the library gives.
        WrongAlgorithm: the key is not on P-256.
    """
    public_jwk(key)                                                   # Refuses another curve.
    try:
        jws.deserialize_compact(token, ECKey.import_key(key), registry=_REGISTRY)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        # The library leaks foreign exceptions on odd input; one answer for all.
        raise SignatureInvalid(f"the signature does not verify ({type(error).__name__})", pointer) from None


def read_header(protected: str, names: frozenset[str], pointer: str = "") -> JsonObject:
    """Read a protected header that has exactly the members named, `alg` ES256 among them.

    Raises:
        MalformedError: not strict JSON, or other members (`crit`, `b64`, `jwk`, `jku`, `x5c` …).
        WrongAlgorithm: `alg` is not ES256.
    """
    if len(protected) > HEADER_CHARS_MAX:
        raise MalformedError(f"header of {len(protected)} characters, at most {HEADER_CHARS_MAX} are allowed", pointer)
    try:
        header = parse_strict(b64u_decode(protected))
    except MalformedError as error:
        raise MalformedError(error.reason, pointer + error.pointer) from None
    if header.get("alg") != ALG:
        raise WrongAlgorithm("alg must be ES256", f"{pointer}/alg")
    if set(header) != names:
        raise MalformedError(f"the protected header has exactly {', '.join(sorted(names))}", pointer)
    return header


def demand_signature_shape(signature: str, pointer: str = "") -> None:
    """Demand 64 bytes in canonical base64url. Raises MalformedError."""
    if len(b64u_decode(signature, pointer)) != SIGNATURE_BYTES:
        raise MalformedError(f"an ES256 signature has {SIGNATURE_BYTES} bytes", pointer)


def compact_sign(payload: JsonObject, key: SigningKey, *, typ: str, kid: str) -> str:
    """Sign a JSON object as a compact JWS with header exactly `alg`, `kid`, `typ`."""
    protected = b64u_encode(canonicalise({"alg": ALG, "kid": kid, "typ": typ}))
    signing_input = f"{protected}.{b64u_encode(canonicalise(payload))}"
    return f"{signing_input}.{b64u_encode(sign_bytes(signing_input.encode('ascii'), key))}"


def compact_peek(token: str, typ: str) -> tuple[dict[str, str], JsonObject]:
    """Read header and payload of a compact JWS of strict shape, *without* trusting them. Raises as `compact_verify`."""
    if len(token) > TOKEN_CHARS_MAX or not token.isascii() or token.count(".") != 2:
        raise MalformedError("a compact token has three base64url parts")
    protected, body, signature = token.split(".")
    header = read_header(protected, frozenset({"alg", "kid", "typ"}), "/protected")
    kid = header["kid"]
    if header["typ"] != typ:
        raise MalformedError(f"typ must be {typ}", "/protected/typ")
    if not isinstance(kid, str) or not kid:
        raise MalformedError("kid must be a text", "/protected/kid")
    demand_signature_shape(signature, "/signature")
    return {"alg": ALG, "kid": kid, "typ": typ}, parse_strict(b64u_decode(body, "/payload"), bytes_max=TOKEN_CHARS_MAX)


def compact_verify(token: str, resolve_key: KeyResolver, *, typ: str) -> tuple[dict[str, str], JsonObject]:
    """Verify a compact JWS and return its header and payload.

    Raises:
        MalformedError: shape, header members, `typ`, or payload outside the strict JSON subset.
        WrongAlgorithm: `alg` is not ES256.
        UnknownDevice: `resolve_key` does not know the `kid`.
        SignatureInvalid: it does not verify.
    """
    header, payload = compact_peek(token, typ)
    key = resolve_key(header["kid"])
    if key is None:
        raise UnknownDevice("no such key", "/protected/kid")
    demand_signature(token, key, "/signature")
    return header, payload
