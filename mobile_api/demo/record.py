"""Everything that the day's page shows, as plain values. The driver fills it from HTTP answers; `page.render` only reads it.

Instants carry a time zone, `_fen` are whole fen, coordinates are WGS-84 degrees. Names are shown as they stand here, so what
must be masked is masked by whoever fills them in. Every sentence has both languages.
"""

from datetime import date, datetime
from enum import StrEnum

import msgspec


class StopKind(StrEnum):
    """What a pair does at a stop."""

    VISIT = "visit"
    DEPOSIT = "deposit"


class Tone(StrEnum):
    """How something ended, for the eye: the text beside it always says it as well."""

    PLAIN = "plain"
    GOOD = "good"
    CARE = "care"
    BAD = "bad"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence in both languages."""

    zh: str
    en: str


class SummaryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the summary table; `is_headline` rows also stand large at the top (four to eight of them read well)."""

    label: Said
    value: str
    note: Said | None = None
    tone: Tone = Tone.PLAIN
    is_headline: bool = False


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A named point that helps to read the map: a district, the branch's office, a bank's counter."""

    name: Said
    lon: float
    lat: float
    is_office: bool = False


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """One stop of a route, planned and as it went. `label` names the compound or the counter, never the debtor.

    Actual times and `outcome` are None while nobody was there. `withdrawn` says why a stop was pulled after publication.
    """

    position: int
    kind: StopKind
    lon: float
    lat: float
    label: Said
    arrives_at: datetime
    starts_at: datetime
    ends_at: datetime
    bank: str = ""
    reference: str = ""
    actual_started_at: datetime | None = None
    actual_ended_at: datetime | None = None
    outcome: Said | None = None
    tone: Tone = Tone.PLAIN
    withdrawn: Said | None = None
    evidence_count: int = 0


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The day of one pair. `colour` picks from the page's palette, any whole number. `is_driven`: performed through HTTP, not only published."""

    number: int
    pair: tuple[str, str]
    colour: int
    departure_at: datetime
    return_at: datetime
    stops: tuple[Stop, ...]
    is_driven: bool = False


class UnservedVisit(msgspec.Struct, frozen=True, kw_only=True):
    """A request without a stop: the stable code, the true reason, and what would serve it where that is known."""

    reference: str
    code: str
    reason: Said
    change: Said | None = None
    bank: str = ""
    lon: float | None = None
    lat: float | None = None


class StageContribution(msgspec.Struct, frozen=True, kw_only=True):
    """What one engine stage of the planner did: the plan's cost after it and its seconds. `cost_before` is None for the first."""

    stage: str
    explanation: Said
    cost_before: int | None
    cost_after: int
    seconds: float
    iterations: int | None = None


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a story, with the rule it rests on if any."""

    at: datetime
    text: Said
    tone: Tone = Tone.PLAIN
    rules: tuple[str, ...] = ()


class Photo(msgspec.Struct, frozen=True, kw_only=True):
    """A stamped copy of a photograph, as JPEG bytes. `sha256` is the digest of the signed original in hex."""

    jpeg: bytes
    caption: Said
    sha256: str
    taken_at: datetime


class Sound(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a recording as its bytes. `sha256` is the digest of the signed original in hex."""

    content: bytes
    media_type: str
    duration_ms: int
    caption: Said
    sha256: str


class SignatureShown(msgspec.Struct, frozen=True, kw_only=True):
    """One of the signatures over a statement. `protected` is the decoded header as JSON text, `signature` base64url."""

    name: str
    role: Said
    kid: str
    signed_at: datetime
    protected: str
    signature: str


class ReceiptShown(msgspec.Struct, frozen=True, kw_only=True):
    """The server's receipt for a statement: the three parts of its JWS (the first two decoded) and its place in the log."""

    header: str
    payload: str
    signature: str
    log_index: int
    checkpoint: str


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """One visit shown whole. `address` is masked; `payload_sha256` is what both people signed."""

    reference: str
    bank: str
    address: Said
    outcome: Said
    standing: Said
    beats: tuple[Beat, ...]
    photos: tuple[Photo, ...]
    sounds: tuple[Sound, ...]
    payload_sha256: str
    signatures: tuple[SignatureShown, ...]
    receipt: ReceiptShown


class Denomination(msgspec.Struct, frozen=True, kw_only=True):
    """So many notes or coins of one face value."""

    value_fen: int
    count: int


class AuthorisationShown(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's token that allowed the collection, and whose hardware signed it. `account` shows its last four digits at most."""

    jti: str
    kid: str
    bank: str
    hardware: Said
    circumstance: Said
    cap_fen: int
    collections_max: int
    account: str
    requested_at: datetime
    granted_at: datetime
    expires_at: datetime


class CashReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The receipt handed over at the door. `digest` and `previous_digest` chain the receipts of a phone."""

    number: str
    amount_fen: int
    capitals: str
    payer: Said
    instrument: Said
    denominations: tuple[Denomination, ...]
    collected_at: datetime
    collectors: tuple[str, str]
    digest: str
    previous_digest: str
    authorisation: AuthorisationShown


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A named account and its balance at the day's end. A debtor's account goes negative by what was taken from them."""

    name: Said
    kind: str
    balance_fen: int


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One single positive transfer: out of `source`, into `target`."""

    at: datetime
    source: Said
    target: Said
    amount_fen: int
    kind: Said
    reference: str = ""


class BookProof(msgspec.Struct, frozen=True, kw_only=True):
    """One equation of the books; both sides were asked of the server, nothing is computed for show."""

    left: Said
    left_fen: int
    right: Said
    right_fen: int


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The day's books."""

    accounts: tuple[Account, ...]
    transfers: tuple[Transfer, ...]
    proofs: tuple[BookProof, ...]


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """A cardholder denies the card: suspension, withdrawal of the stop, declaration, ruling."""

    reference: str
    bank: str
    kind: Said
    beats: tuple[Beat, ...]
    declaration_text: str = ""
    transcription: str = ""
    is_text_deviating: bool = False
    photos: tuple[Photo, ...] = ()
    status: Said | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was tried and refused, with the problem document's `type` path, HTTP status and rules."""

    tried: Said
    problem: str
    status: int
    rules: tuple[str, ...] = ()


class VerifierRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the offline verifier in a process of its own: command, exit code, what it printed."""

    meaning: Said
    command: str
    exit_code: int
    output: str


class DayRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The whole day. `engine` names the database as it calls itself; `made_at` is when the page was written."""

    agency: Said
    branch: Said
    on: date
    timezone: str
    engine: str
    version: str
    made_at: datetime
    summary: tuple[SummaryRow, ...]
    routes: tuple[Route, ...]
    places: tuple[Place, ...] = ()
    unserved: tuple[UnservedVisit, ...] = ()
    contributions: tuple[StageContribution, ...] = ()
    door: Door | None = None
    cash: CashReceipt | None = None
    ledger: Ledger | None = None
    denial: Denial | None = None
    refusals: tuple[Refusal, ...] = ()
    verifier: tuple[VerifierRun, ...] = ()
