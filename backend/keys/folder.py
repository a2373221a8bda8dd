"""The file vault: one wrapped file per key, 0600, in a folder outside the data folder.

Each secret is wrapped with AES-256-GCM under a key derived by scrypt from the passphrase file. A new key is written as
temp file → fsync → rename → fsync of the folder, so a crash leaves either no key or a whole one.
"""

import hashlib
import hmac
import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_der_private_key

from backend.keys.model import SIGNING_PURPOSES, KeyFolderError, KeyPurpose, KeyRecord, KeyState, KeyUnknown
from evidence.es256 import sign_bytes
from evidence.keys import public_jwk, thumbprint

CREDENTIAL_NAME = "credential"
_SCRYPT_N = 2**15
_NONCE_BYTES = 12


class _KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: the record, and the secret wrapped under the folder's passphrase. `serial` orders keys of one purpose."""

    record: KeyRecord
    serial: Annotated[int, msgspec.Meta(ge=1)]
    salt: bytes
    wrapped: bytes


class FolderVault:
    """The keys of one folder. Secrets stay inside this object."""

    def __init__(self, folder: Path, passphrase: bytes) -> None:
        self._folder = folder
        self._passphrase = passphrase
        self._wrapping_keys: dict[bytes, bytes] = {}
        self._files: dict[str, _KeyFile] = {}
        self._secrets: dict[str, bytes] = {}
        for path in sorted(folder.glob("*.key")):
            self._load(path)

    @property
    def credential_path(self) -> Path:
        """Where the generated passphrase lies when no other file was named."""
        return self._folder / CREDENTIAL_NAME

    def records(self) -> tuple[KeyRecord, ...]:
        """Return every key, oldest first."""
        return tuple(file.record for file in sorted(self._files.values(), key=lambda file: (file.record.created_at, file.serial, file.record.kid)))

    def create(self, purpose: KeyPurpose, now: datetime) -> KeyRecord:
        """Make a new active key of `purpose`; the one active before it is retired."""
        older = [file for file in self._files.values() if file.record.purpose is purpose]
        secret, kid, public = _generate(purpose)
        record = KeyRecord(kid=kid, purpose=purpose, state=KeyState.ACTIVE, created_at=now, retired_at=None, public=public)
        salt = next(iter(self._wrapping_keys), None) or secrets.token_bytes(16)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapped = nonce + AESGCM(self._wrapping_key(salt)).encrypt(nonce, secret, kid.encode())
        serial = 1 + max((file.serial for file in older), default=0)
        # The new key first: a crash between the two writes leaves two active keys, and the higher serial wins.
        self._store(_KeyFile(record=record, serial=serial, salt=salt, wrapped=wrapped), secret)
        for file in older:
            if file.record.state is KeyState.ACTIVE:
                retired = msgspec.structs.replace(file.record, state=KeyState.RETIRED, retired_at=now)
                self._store(msgspec.structs.replace(file, record=retired), self._secrets[file.record.kid])
        return record

    def sign(self, kid: str, message: bytes) -> bytes:
        """Sign with an ES256 or the log's Ed25519 key."""
        secret = self._secret(kid)
        if self._files[kid].record.purpose is KeyPurpose.LOG:
            return Ed25519PrivateKey.from_private_bytes(secret).sign(message)
        private = load_der_private_key(secret, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        return sign_bytes(message, private)

    def mac(self, kid: str, message: bytes) -> bytes:
        """Return HMAC-SHA-256 over `message`."""
        return hmac.digest(self._secret(kid), message, "sha256")

    def wrap(self, kid: str, secret: bytes, context: bytes) -> bytes:
        """Encrypt `secret`, bound to `context`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._secret(kid)).encrypt(nonce, secret, context)

    def unwrap(self, kid: str, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt what `wrap` made.

        Raises:
            KeyFolderError: altered bytes, another key or another context.
        """
        try:
            return AESGCM(self._secret(kid)).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as error:
            raise KeyFolderError("a wrapped key was altered, or belongs to another key folder") from error

    def _secret(self, kid: str) -> bytes:
        if kid not in self._secrets:
            raise KeyUnknown(kid)
        return self._secrets[kid]

    def _wrapping_key(self, salt: bytes) -> bytes:
        if salt not in self._wrapping_keys:
            self._wrapping_keys[salt] = hashlib.scrypt(self._passphrase, salt=salt, n=_SCRYPT_N, r=8, p=1, maxmem=2**26, dklen=32)
        return self._wrapping_keys[salt]

    def _load(self, path: Path) -> None:
        if path.stat().st_mode & 0o077:
            raise KeyFolderError(f"{path.name}: readable by others; run chmod 600 on it")
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_KeyFile)
            secret = AESGCM(self._wrapping_key(file.salt)).decrypt(file.wrapped[:_NONCE_BYTES], file.wrapped[_NONCE_BYTES:], file.record.kid.encode())
        except (msgspec.DecodeError, InvalidTag, ValueError) as error:
            raise KeyFolderError(f"{path.name}: damaged, or wrapped under another passphrase") from error
        self._files[file.record.kid] = file
        self._secrets[file.record.kid] = secret

    def _store(self, file: _KeyFile, secret: bytes) -> None:
        name = f"{file.record.purpose.value}-{file.serial:04d}.key"
        _write_durably(self._folder / name, msgspec.json.encode(file))
        self._files[file.record.kid] = file
        self._secrets[file.record.kid] = secret


def open_folder(folder: Path, passphrase_file: Path | None) -> FolderVault:
    """Open a key folder; without `passphrase_file` the folder's own `credential` file is used.

    Raises:
        KeyFolderError: the folder or the passphrase is missing, or a key cannot be opened.
    """
    path = passphrase_file or folder / CREDENTIAL_NAME
    if not folder.is_dir():
        raise KeyFolderError(f"{folder}: no such key folder; run `fieldvisit keys init`")
    if not path.is_file():
        raise KeyFolderError(f"{path}: no such passphrase file; run `fieldvisit keys init` or set FIELDVISIT_KEY_PASSPHRASE_FILE")
    lines = path.read_bytes().splitlines()
    if not lines or len(lines[0]) < 16:
        raise KeyFolderError(f"{path}: expected a first line of at least 16 bytes")
    return FolderVault(folder, lines[0])


def make_folder(folder: Path, passphrase_file: Path | None, now: datetime) -> FolderVault:
    """Make the folder, a random passphrase where none is named, and one active key per purpose that has none. Repeatable."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    credential = folder / CREDENTIAL_NAME
    if passphrase_file is None and not credential.exists():
        _write_durably(credential, secrets.token_hex(32).encode() + b"\n")
    vault = open_folder(folder, passphrase_file)
    active = {record.purpose for record in vault.records() if record.state is KeyState.ACTIVE}
    for purpose in KeyPurpose:
        if purpose not in active:
            vault.create(purpose, now)
    return vault


def _generate(purpose: KeyPurpose) -> tuple[bytes, str, dict[str, str] | str | None]:
    if purpose in SIGNING_PURPOSES:
        private = ec.generate_private_key(ec.SECP256R1())
        secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return secret, thumbprint(private), public_jwk(private)
    if purpose is KeyPurpose.LOG:
        log_key = Ed25519PrivateKey.generate()
        raw = log_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return log_key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()), hashlib.sha256(raw).hexdigest()[:32], raw.hex()
    secret = secrets.token_bytes(32)
    return secret, secrets.token_hex(16), None


def _write_durably(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
