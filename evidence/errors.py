"""The one error family of the evidence library. Every refusal carries the problem name that a client will read."""

from typing import ClassVar


class EvidenceError(Exception):
    """Refuse evidence that is provably not a well-formed, signed statement.

    Attributes:
        problem: Last path segment of the problem type, as in `/problems/<problem>`.
        status: HTTP status the transport answers with.
        reason: One English sentence for developers; never holds personal data.
        pointer: RFC 6901 pointer into the refused document, empty for the whole.
    """

    problem: ClassVar[str] = "malformed-envelope"
    status: ClassVar[int] = 400

    def __init__(self, reason: str, pointer: str = "") -> None:
        super().__init__(f"{self.problem}: {reason}" + (f" at {pointer}" if pointer else ""))
        self.reason = reason
        self.pointer = pointer


class MalformedError(EvidenceError):
    """JSON, base64url or envelope shape outside the strict profile."""


class PayloadNotCanonical(EvidenceError):
    """The payload is readable, but is not the one canonical spelling of what it says."""

    problem, status = "payload-not-canonical", 422


class SchemaViolation(EvidenceError):
    """The payload does not follow its schema."""

    problem, status = "schema-violation", 422


class UnknownDevice(EvidenceError):
    """The key id of a signature is not known here."""

    problem, status = "unknown-device", 403


class SignatureInvalid(EvidenceError):
    """A signature does not verify under the key it names."""

    problem, status = "signature-invalid", 422


class WrongAlgorithm(EvidenceError):
    """Anything but ES256 on P-256."""

    problem, status = "wrong-algorithm", 422


class CosignatureMissing(EvidenceError):
    """One signature where two are due (VIS-01)."""

    problem, status = "cosignature-missing", 409


class CosignerNotDistinct(EvidenceError):
    """Both signatures come from one key, device or person (VIS-01)."""

    problem, status = "cosigner-not-distinct", 422


class ManifestConflict(EvidenceError):
    """Two payloads under one manifest id, or a merge across payloads."""

    problem, status = "manifest-conflict", 409


class TooLarge(EvidenceError):
    """More bytes, pixels or parts than the policy admits."""

    problem, status = "too-large", 413


class UnsupportedMediaType(EvidenceError):
    """A media type or container outside the allow-list, or one that does not fit its bytes."""

    problem, status = "unsupported-media-type", 415


class ItemNotDeclared(EvidenceError):
    """An upload names an item its manifest does not list."""

    problem, status = "item-not-declared", 409


class SizeMismatch(EvidenceError):
    """The announced length differs from the manifest's."""

    problem, status = "size-mismatch", 409


class DigestMismatch(EvidenceError):
    """The stored bytes do not hash to the manifest's digest."""

    problem, status = "digest-mismatch", 422


class ChecksumMismatch(EvidenceError):
    """A piece does not hash to its Upload-Checksum."""

    problem, status = "checksum-mismatch", 460


class OffsetMismatch(EvidenceError):
    """A piece does not start where the stored bytes end."""

    problem, status = "offset-mismatch", 409


class UploadGone(EvidenceError):
    """The upload expired or was terminated."""

    problem, status = "upload-gone", 410


class UploadMalformed(EvidenceError):
    """A tus header is missing or unreadable."""

    problem, status = "upload-malformed", 400


class UploadVersionUnsupported(EvidenceError):
    """A tus version other than 1.0.0."""

    problem, status = "upload-version-unsupported", 412


class QuotaExceeded(EvidenceError):
    """The device's open uploads exceed its quota."""

    problem, status = "quota-exceeded", 429


class LogProofInvalid(EvidenceError):
    """A checkpoint, inclusion proof or consistency proof does not hold."""

    problem, status = "log-proof-invalid", 422


class BlobExists(EvidenceError):
    """A create-only write met a blob of that name; both sets of bytes are kept."""

    problem, status = "blob-exists", 409


class BlobMissing(EvidenceError):
    """No blob or part of that name."""

    problem, status = "blob-missing", 404


class SealBroken(EvidenceError):
    """Sealed bytes were altered, cut, reordered, or opened with the wrong key or for the wrong item."""

    problem, status = "seal-broken", 500


class StorageUnavailable(EvidenceError):
    """The store cannot take or return bytes now; nothing was acknowledged."""

    problem, status = "storage-unavailable", 503
