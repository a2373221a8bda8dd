"""What each finding on a signed statement is called on pages: one short English text per name, translated where it is shown."""

from collections.abc import Mapping

from backend.core.i18n import N_

WORDS: Mapping[str, str] = {
    # Who signed
    "cosigner-not-distinct": N_("one person or one device stands for both"),
    "cosignature-missing": N_("the partner's signature is still missing"),
    "cosignature-late": N_("the partner signed late"),
    "cosignature-lapsed": N_("the partner never signed"),
    "cosignature-refused": N_("the partner refused to sign"),
    "cosignature-withdrawn": N_("the partner refused what they had signed"),
    "refused-statement-not-here": N_("the statement that was refused has not arrived"),
    "refusal-not-cosigners": N_("refused by somebody who was not asked to sign"),
    "signer-not-assigned": N_("signed by a person or device that was not to sign"),
    "header-differs": N_("the signature's own time or number is not the statement's"),
    "tenant-differs": N_("signed for another agency"),
    # The device and its chain of statements
    "device-revoked-since": N_("the device was revoked; it may have been signed after that"),
    "device-suspended": N_("the device is suspended"),
    "key-compromised": N_("it arrived when the device's key was in other hands"),
    "chain-gap": N_("a statement of this device before it has not arrived"),
    "chain-gap-filled": N_("the statement before it arrived afterwards"),
    "chain-broken": N_("it does not follow the statement before it"),
    "chain-fork": N_("the device signed two statements under one number"),
    "chain-after-renewal": N_("signed with a key that had been renewed"),
    # Time
    "beacon-unusable": N_("the server's proof of time does not fit this device"),
    "clock-unbounded": N_("no proof of when it was signed"),
    "clock-bound-wide": N_("the time of signing is known only roughly"),
    "clock-off": N_("the phone's clock was wrong"),
    "late": N_("sent in long after it was captured"),
    "back-dated": N_("dated back: what came before it is proven to be later"),
    "time-runs-back": N_("dated before the statement it follows"),
    # The visit
    "visit-unknown": N_("no such visit"),
    "visit-differs": N_("it names another case or bank than the visit"),
    "visit-version-stale": N_("captured by a former version of the plan"),
    "visit-not-open": N_("the visit was closed or cancelled"),
    "after-hold": N_("captured after the case was stopped"),
    # The place
    "no-fix": N_("no position"),
    "weak-fix": N_("a rough position"),
    "datum-unknown": N_("the datum of the position is not stated"),
    "mock-location": N_("the position was faked"),
    "partners-apart": N_("the two were far apart"),
    "far-from-address": N_("far from the address"),
    "impossible-travel": N_("farther from the place before than anybody travels in the time"),
    # Files
    "reused-exact": N_("the same file was used in another visit"),
    "repeated-item": N_("the same file twice in this visit"),
    "similar-photo": N_("very like an earlier picture"),
    "joint-recording": N_("the recording goes on into another bank's visit"),
    "item-of-two-banks": N_("the file belongs to two banks' visits"),
    "not-examined": N_("could not be examined yet"),
    "type-differs": N_("it is no file of the declared type"),
    "role-differs": N_("it is no file for what it was declared to show"),
    "undecodable": N_("it cannot be opened"),
    "dimensions-differ": N_("the picture's size is not the declared one"),
    "trailing-archive": N_("an archive is hidden behind the picture"),
    "trailing-data": N_("more bytes follow the picture"),
    "exif-time-differs": N_("the camera tells another time"),
    "exif-position-differs": N_("the camera tells another place"),
    "exif-position-broken": N_("the camera's position makes no sense"),
    "exif-unreadable": N_("what the camera noted cannot be read"),
    "exif-model-differs": N_("taken with another model than the enrolled phone"),
    "exif-editor": N_("an editing program left its name"),
    "exif-thumbnail-differs": N_("the small preview shows another picture"),
    # Recordings
    "recording-missing": N_("no recording of the visit"),
    "recording-gap": N_("part of the visit is not recorded"),
    "recording-gap-filled": N_("another recording covers the gap"),
    "recording-interrupted": N_("one of the recordings was interrupted"),
    "recording-empty": N_("the recording holds no sound"),
    "recording-shorter": N_("the recording is shorter than declared"),
    "recording-longer": N_("the recording is longer than declared"),
    "recording-loops": N_("the recording repeats itself"),
    "segments-missing": N_("parts of the recording are missing"),
    "packets-bad": N_("parts of the recording are damaged"),
    "silent": N_("hardly anything is heard"),
    "clipped": N_("the sound is overdriven"),
    "video-cut-off": N_("the film is cut off"),
    "import-unknown": N_("a file that the desk did not bring in for this visit"),
    "recorder-not-carried": N_("neither of the two carried this recorder"),
    "recorder-clock-unproven": N_("nothing proves the recorder's clock"),
    "recorder-clock-off": N_("the recorder's clock was wrong"),
    "recorder-start-differs": N_("the recording starts at another time than was stated"),
    # The declaration
    "template-not-approved": N_("not the bank's approved form"),
    "template-text-differs": N_("another text than the approved one was shown"),
    "circumstances-missing": N_("nothing said about special circumstances"),
    "transcription-missing": N_("the set text was not copied out"),
    "text-deviates": N_("the copied text deviates from the set text"),
    "not-by-declarant": N_("not written and signed by the cardholder"),
    "declaration-page-missing": N_("no picture of the declaration's pages"),
    "id-sides-missing": N_("both sides of the identity card are not there"),
}


def finding_word(name: str) -> str:
    """Return the msgid of what a finding is called; one of another version is told by its name."""
    return WORDS.get(name, name)
