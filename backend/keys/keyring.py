"""What the rest of the house asks of the keys: sign for a purpose, seal, search. Loaded once, passed down."""

import hashlib
import unicodedata
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from backend.keys.model import SIGNING_PURPOSES, KeyPurpose, KeyRecord, KeyState, KeyUnknown, KeyVault
from evidence.es256 import compact_sign
from evidence.keys import PublicKey, key_from_jwk


class Keyring:
    """The active key of each purpose, and every retired one for verifying and opening."""

    def __init__(self, vault: KeyVault) -> None:
        self._vault = vault

    @property
    def vault(self) -> KeyVault:
        """The port behind this keyring."""
        return self._vault

    def active(self, purpose: KeyPurpose) -> KeyRecord:
        """Return the newest active key of `purpose`.

        Raises:
            KeyUnknown: there is none; `fieldvisit keys init` makes it.
        """
        found = [record for record in self._vault.records() if record.purpose is purpose and record.state is KeyState.ACTIVE]
        if not found:
            raise KeyUnknown(f"no active {purpose.value} key; run `fieldvisit keys init`")
        return found[-1]

    def rotate(self, purpose: KeyPurpose, now: datetime) -> KeyRecord:
        """Make a new active key; the former one keeps verifying and opening."""
        return self._vault.create(purpose, now)

    def sign(self, purpose: KeyPurpose, payload: dict[str, Any], typ: str) -> str:
        """Sign `payload` as a compact ES256 JWS with the active key of `purpose`."""
        assert purpose in SIGNING_PURPOSES, purpose
        kid = self.active(purpose).kid
        return compact_sign(payload, lambda message: self._vault.sign(kid, message), typ=typ, kid=kid)

    def public_keys(self, purpose: KeyPurpose | None = None) -> tuple[KeyRecord, ...]:
        """Return the public history of `purpose`, or of every purpose that has public keys, oldest first."""
        return tuple(r for r in self._vault.records() if r.public is not None and purpose in (None, r.purpose))

    def resolve(self, purpose: KeyPurpose, kid: str) -> PublicKey | None:
        """Return the public key `kid` if it is one of `purpose`, retired ones included."""
        for record in self._vault.records():
            if record.kid == kid and record.purpose is purpose and isinstance(record.public, dict):
                return key_from_jwk(record.public)
        return None

    def sign_checkpoint(self, message: bytes) -> bytes:
        """Sign the text of a log checkpoint: 64 bytes of Ed25519."""
        return self._vault.sign(self.active(KeyPurpose.LOG).kid, message)

    def log_public_key(self) -> Ed25519PublicKey:
        """Return the active log key."""
        public = self.active(KeyPurpose.LOG).public
        assert isinstance(public, str)
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))

    def log_public_keys(self) -> tuple[Ed25519PublicKey, ...]:
        """Return every log key, the active one first: what a former one signed stays signed."""
        found = [record.public for record in self._vault.records() if record.purpose is KeyPurpose.LOG]
        return tuple(Ed25519PublicKey.from_public_bytes(bytes.fromhex(one)) for one in reversed(found) if isinstance(one, str))

    def search_hmac(self, field: str, text: str) -> bytes:
        """Return the 32 bytes under which `text` of `field` is found again; the text is NFKC-folded and stripped of white space first."""
        folded = "".join(unicodedata.normalize("NFKC", text).split()).casefold()
        return self._vault.mac(self.active(KeyPurpose.SEARCH).kid, field.encode() + b"\0" + folded.encode())

    def wrap(self, secret: bytes, context: bytes) -> tuple[str, bytes]:
        """Wrap `secret` under the active master key; returns that key's kid and the wrapped bytes."""
        kid = self.active(KeyPurpose.MASTER).kid
        return kid, self._vault.wrap(kid, secret, context)

    def unwrap(self, kid: str, wrapped: bytes, context: bytes) -> bytes:
        """Open what `wrap` made."""
        return self._vault.unwrap(kid, wrapped, context)

    def salt_of(self, text: str) -> str:
        """Return a stable 128-bit salt in hex for `text`, unguessable without the search key."""
        return hashlib.sha256(self._vault.mac(self.active(KeyPurpose.SEARCH).kid, b"salt\0" + text.encode())).hexdigest()[:32]
