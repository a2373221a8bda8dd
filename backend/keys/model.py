"""The deployment's own keys: what each is for and what state it is in. Pure.

No key of a bank, a phone or a person is among them: those stay where they were made.
"""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec


class KeyPurpose(StrEnum):
    """One purpose per key; a key made for one is never used for another."""

    LOG = "log"                  # Ed25519: checkpoints of the transparency log.
    RECEIPT = "receipt"          # ES256: receipts for evidence, which a phone verifies before it deletes.
    BUNDLE = "bundle"            # ES256: day bundles.
    ACCESS = "access"            # ES256: the phones' fifteen-minute access tokens.
    BEACON = "beacon"            # ES256: signed time.
    BADGE = "badge"              # ES256: collectors' badge pages.
    DERIVATION = "derivation"    # ES256: statements that a stamped copy comes from a logged original.
    WEBHOOK = "webhook"          # ES256: notices to banks.
    MASTER = "master"            # AES-256: wraps every case key.
    SEARCH = "search"            # HMAC-SHA-256: equality search over sealed columns.


SIGNING_PURPOSES = frozenset(KeyPurpose) - {KeyPurpose.MASTER, KeyPurpose.SEARCH, KeyPurpose.LOG}


class KeyState(StrEnum):
    """ACTIVE makes new signatures or seals; RETIRED only verifies and opens old ones."""

    ACTIVE = "active"
    RETIRED = "retired"


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told about a key. `public` is a P-256 JWK, a C2SP verifier key for the log, or None for a secret key."""

    kid: str
    purpose: KeyPurpose
    state: KeyState
    created_at: datetime
    retired_at: datetime | None
    public: dict[str, str] | str | None


class KeyVault(Protocol):
    """The port to whatever holds the secrets: a folder here, a KMS or HSM elsewhere. Secrets never cross it.

    Every method raises `KeyUnknown` for a kid that the vault does not hold.
    """

    def records(self) -> tuple[KeyRecord, ...]:
        """Return every key, oldest first."""

    def create(self, purpose: KeyPurpose, now: datetime) -> KeyRecord:
        """Make a new active key of `purpose`; the one active before it is retired."""

    def sign(self, kid: str, message: bytes) -> bytes:
        """Sign: 64 bytes r‖s of ES256, or 64 bytes of Ed25519."""

    def mac(self, kid: str, message: bytes) -> bytes:
        """Return the 32 bytes of HMAC-SHA-256 over `message`."""

    def wrap(self, kid: str, secret: bytes, context: bytes) -> bytes:
        """Encrypt `secret` with AES-256-GCM, bound to `context`."""

    def unwrap(self, kid: str, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt what `wrap` made for the same key and context."""


class KeyUnknown(LookupError):
    """The vault holds no such key."""


class KeyFolderError(RuntimeError):
    """The key folder is missing, unreadable, unsafe or wrapped under another passphrase; the message says which and what to do."""
