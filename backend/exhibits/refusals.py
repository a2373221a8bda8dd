"""The evidence library's refusals as problem documents: same names, same statuses (protocol §2.6)."""

from collections.abc import Iterator
from contextlib import contextmanager

from backend.core.i18n import N_
from backend.core.problems import PROBLEM_TYPES, Problem
from evidence.errors import EvidenceError


class MalformedEnvelope(Problem):
    """Not one signed envelope of the strict profile."""

    status, code, title = 400, "malformed-envelope", N_("This is not a signed envelope in the strict form.")
    explanation = N_("The details name the place as a JSON pointer. Nothing was stored; a correct app never sends this.")


class PayloadNotCanonical(Problem):
    """A second spelling of the same content."""

    status, code, title = 422, "payload-not-canonical", N_("The signed content is not in its canonical form.")
    explanation = N_("Sign the RFC 8785 bytes of the content: sorted members, no spaces, no floats, optional members absent.")


class SchemaViolation(Problem):
    """A member is missing, unknown or out of range."""

    status, code, title = 422, "schema-violation", N_("The signed content does not follow its schema.")
    explanation = N_("The details name the member as a JSON pointer and what was expected.")


class UnknownDevice(Problem):
    """A key id that was never enrolled here."""

    status, code, title = 403, "unknown-device", N_("The signing device is not enrolled here.")
    explanation = N_("Enrol the device first; a supervisor approves it.")


class DeviceNotActive(Problem):
    """The phone proved its key, but is suspended, revoked, past its year or not yet granted."""

    status, code, title = 403, "device-not-active", N_("This phone may not speak for you now.")
    explanation = N_("Ask a supervisor. Keep the phone and what it holds: nothing on it is lost.")


class DeviceRevoked(Problem):
    """Signed after the device was revoked, by bounded time."""

    status, code, title = 403, "device-revoked", N_("The signing device was revoked before this was signed.")
    explanation = N_("What it signed before stays evidence. Enrol a new device.")


class SignatureInvalid(Problem):
    """A signature does not verify, or is by a device the content does not name."""

    status, code, title = 422, "signature-invalid", N_("A signature does not verify.")
    explanation = N_("Either the content was changed after signing, or another key signed it.")


class WrongAlgorithm(Problem):
    """Anything but ES256."""

    status, code, title = 422, "wrong-algorithm", N_("Only ES256 signatures are accepted.")
    explanation = N_("Sign with the enrolled P-256 key.")


class CosignatureMissing(Problem):
    """A closing that names one signer (VIS-01)."""

    status, code, title = 409, "cosignature-missing", N_("A visit is closed by two signatures.")
    explanation = N_("Both visitors sign the same content on their own devices (VIS-01).")
    finding = code


class CosignerNotDistinct(Problem):
    """One key, device or person twice (VIS-01)."""

    status, code, title = 422, "cosigner-not-distinct", N_("Both signatures come from the same person or device.")
    explanation = N_("Two different employees sign, each on their own device (VIS-01).")


class ManifestConflict(Problem):
    """The id is taken by other content."""

    status, code, title = 409, "manifest-conflict", N_("This id already stands for other content.")
    explanation = N_("Send the stored content unchanged, or make a new id.")


class ChainFork(Problem):
    """Two payloads under one number of one device (EVD-09)."""

    status, code, title, is_refusal = 409, "chain-fork", N_("A device has signed two different things under one number."), False
    explanation = N_("Both are kept and graded a sign of fraud, and the device is suspended. Keep the phone as it is; a supervisor looks into it.")
    finding = code


class ItemNotDeclared(Problem):
    """An upload of something no statement lists."""

    status, code, title = 409, "item-not-declared", N_("No signed statement lists this file.")
    explanation = N_("Send the signed statement first; it lists each file with size and digest.")


class SizeMismatch(Problem):
    """Another length than the one signed."""

    status, code, title = 409, "size-mismatch", N_("The length differs from the one that was signed.")
    explanation = N_("The details name the signed length in bytes.")


class DigestMismatch(Problem):
    """The bytes are not those that were signed."""

    status, code, title = 422, "digest-mismatch", N_("The bytes are not those that were signed.")
    explanation = N_("They were thrown away. Send the file again from its first byte.")


class ChecksumMismatch(Problem):
    """A piece was damaged on its way."""

    status, code, title = 460, "checksum-mismatch", N_("A piece was damaged on its way.")
    explanation = N_("The piece was thrown away. Send it again from the same offset.")


class OffsetMismatch(Problem):
    """A piece that does not start where the stored bytes end."""

    status, code, title = 409, "offset-mismatch", N_("The piece does not start where the stored bytes end.")
    explanation = N_("Ask for the offset with HEAD and go on from there.")


class UploadLocked(Problem):
    """Another request writes to this upload and did not let go."""

    status, code, title = 423, "upload-locked", N_("Another request is still writing to this upload.")
    explanation = N_("Wait a moment and ask for the offset with HEAD.")


class UploadGone(Problem):
    """Expired, terminated or already finished by another upload."""

    status, code, title = 410, "upload-gone", N_("This upload no longer exists.")
    explanation = N_("Send the signed statement again: the answer says whether the file is still needed.")


class UploadMalformed(Problem):
    """A tus header is missing or unreadable."""

    status, code, title = 400, "upload-malformed", N_("An upload header is missing or unreadable.")
    explanation = N_("The details name the header.")


class UploadVersionUnsupported(Problem):
    """A tus version other than 1.0.0."""

    status, code, title = 412, "upload-version-unsupported", N_("Only tus 1.0.0 is spoken here.")
    explanation = N_("Send the header Tus-Resumable: 1.0.0.")


class QuotaExceeded(Problem):
    """Too many open uploads of one device."""

    status, code, title = 429, "quota-exceeded", N_("This device has too many unfinished uploads.")
    explanation = N_("Finish or delete some of them first.")


class RecordingOfAnotherVisit(Problem):
    """The same bytes under two visits: a joint recording (F22)."""

    status, code, title = 409, "recording-of-another-visit", N_("This recording already stands under another visit.")
    explanation = N_(
        "No file may belong to two visits or two banks. Cut the recording where one visit ends and the next begins, keep the original on the "
        "recorder until both parts are accepted, and bring each visit's own part in.")


class LogProofInvalid(Problem):
    """A checkpoint or proof that does not hold."""

    status, code, title = 422, "log-proof-invalid", N_("The log proof does not hold.")
    explanation = N_("Fetch the checkpoint and the proof again; if it stays so, tell an auditor.")


class SealBroken(Problem):
    """Stored bytes do not open: they were altered where they lie."""

    status, code, title = 500, "seal-broken", N_("The stored bytes were altered or cannot be opened.")
    explanation = N_("Nothing was delivered. The operator restores the file from a backup and tells an auditor.")


class RetentionActive(Problem):
    """Something may not be destroyed yet (EVD-02, EVD-03)."""

    status, code, title = 409, "retention-active", N_("The retention term has not ended.")
    explanation = N_("Recordings are kept for at least two years, other evidence until a term is set.")


class LegalHold(Problem):
    """Something may not be destroyed while a legal hold is in force."""

    status, code, title = 409, "legal-hold", N_("A legal hold is in force.")
    explanation = N_("Nothing of this case is destroyed until every hold is lifted, whatever its term.")


class NotReviewable(Problem):
    """Nothing about this statement waits for a decision, or not for this person's."""

    status, code, title = 409, "not-reviewable", N_("This statement does not wait for your decision.")
    explanation = N_("A doubt needs one supervisor, a quarantine two different people, none of whom signed the statement.")


class NotExportable(Problem):
    """A pack cannot be made now."""

    status, code, title = 409, "not-exportable", N_("This visit has nothing to export yet.")
    explanation = N_("A pack holds statements with all their files; the details say what is missing.")


class PackGone(Problem):
    """A pack whose bytes are no longer kept."""

    status, code, title = 410, "pack-gone", N_("This pack is no longer kept.")
    explanation = N_("A pack waits a few days for its download. Ask for it again: it is made anew from the evidence.")


class CopyGone(Problem):
    """A file that a bank gets no copy of any more: a reviewer rejected it."""

    status, code, title = 410, "copy-gone", N_("This file was rejected in review and is handed out no more.")
    explanation = N_("Rejected evidence leaves packs and copies alike. The agency's reviewers may still look at it, and may accept it again.")


class RangeNotSatisfiable(Problem):
    """A range of a download that begins beyond its end (RFC 9110 §15.5.17)."""

    status, code, title = 416, "range-not-satisfiable", N_("The range begins beyond the end.")
    explanation = N_("Content-Range tells how long it is. Fetch from a byte before that, or the whole without a range.")


@contextmanager
def refusing() -> Iterator[None]:
    """Turn the library's refusals into problem documents of the same name."""
    try:
        yield
    except EvidenceError as error:
        # Names without a document are our own contradictions, not the caller's: a 500.
        refusal = PROBLEM_TYPES.get(error.problem)
        if refusal is None:
            raise
        raise refusal(reason=error.reason, pointer=error.pointer) from error
