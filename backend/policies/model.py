"""Thresholds that the rulebook leaves open, as versioned data; the defaults are the rulebook's own numbers where it has any.

Times of day are seconds since local midnight of the visited address; durations seconds, distances metres, money fen.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from backend.core.fen import Fen

DEFAULT_VERSION = "default-1"

_DaySeconds = Annotated[int, Meta(ge=0, le=86_400)]
_Percent = Annotated[int, Meta(ge=0, le=100)]


class TravelSpeed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours in which a way goes at `percent` of the ordinary speed."""

    from_s: _DaySeconds
    to_s: _DaySeconds
    percent: Annotated[int, Meta(ge=5, le=1000)]


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every threshold with its default and the bounds a policy may move it within.

    Raises (on decoding and construction alike):
        ValueError: the hours are reversed or longer than 08:00–21:00, which no policy may widen (VIS-10, CONT-04); a break's window is reversed,
            or hours of another speed overlap.
    """

    # Hours and frequency (VIS-10, CONT-04, CONT-05).
    hours_from_s: _DaySeconds = 8 * 3600
    hours_to_s: _DaySeconds = 21 * 3600
    contacts_per_day_max: Annotated[int, Meta(ge=0, le=3)] = 3
    is_hour_exception_allowed: bool = True  # CF-01: a bank may switch the cardholder's agreement off (CONT-06).
    # People (VIS-01, VIS-04, TEAM-01).
    pair_min: Annotated[int, Meta(ge=2, le=4)] = 2
    is_lead_required: bool = False
    is_legal_training_required: bool = False
    # Rotation (REQ-06): days together in a row, days in any window of calendar days, working days apart after being parted.
    pair_consecutive_days_max: Annotated[int, Meta(ge=1, le=30)] = 5
    pair_days_max: Annotated[int, Meta(ge=1, le=90)] = 15
    pair_window_days: Annotated[int, Meta(ge=1, le=90)] = 28
    pair_rest_days_min: Annotated[int, Meta(ge=0, le=30)] = 1
    # How often, in per cent of the plans, two pairs exchange partners by a draw that nobody chooses (REQ-06); 0: never.
    pair_swap_pct: _Percent = 0
    # A collector's break while planning: when it begins, how long it lasts (0: none is planned); hours slower or faster than others, in order.
    break_from_s: _DaySeconds = 11 * 3600 + 1800
    break_until_s: _DaySeconds = 13 * 3600 + 1800
    break_s: Annotated[int, Meta(ge=0, le=7200)] = 0
    travel_speeds: Annotated[tuple[TravelSpeed, ...], Meta(max_length=12)] = ()
    # Evidence (VIS-10, EVD-02): both signatures within the window, check-in near the address.
    cosignature_window_s: Annotated[int, Meta(ge=60, le=7200)] = 1800
    cosignature_due_s: Annotated[int, Meta(ge=3600, le=7 * 86_400)] = 12 * 3600  # From receipt; then it lapses, visibly.
    distance_m_max: Annotated[int, Meta(ge=20, le=2000)] = 200
    accuracy_m_max: Annotated[int, Meta(ge=5, le=5000)] = 100
    clock_offset_s_max: Annotated[int, Meta(ge=1, le=3600)] = 300
    # How wide the bounds of a capture's time may be before it is a doubt; without any bound, how long it may take to arrive.
    clock_bound_s_max: Annotated[int, Meta(ge=60, le=7 * 86_400)] = 2 * 3600
    clock_unbounded_s_max: Annotated[int, Meta(ge=60, le=86_400)] = 1800
    capture_age_s_max: Annotated[int, Meta(ge=3600, le=30 * 86_400)] = 7 * 86_400
    recording_kept_days_min: Annotated[int, Meta(ge=731, le=36_600)] = 731
    recording_gap_s_max: Annotated[int, Meta(ge=0, le=600)] = 2
    # Contact data (CONT-02) and amounts: how old a confirmation and a spoken amount may be.
    confirmed_days_max: Annotated[int, Meta(ge=1, le=3650)] = 180
    amount_age_days_max: Annotated[int, Meta(ge=0, le=365)] = 30
    confirmation_sources: tuple[str, ...] = ("bank_file", "phone")
    # Cash (CASH-03, CASH-06).
    deposit_deadline_s: Annotated[int, Meta(ge=600, le=7 * 86_400)] = 24 * 3600
    carry_limit_fen: Annotated[Fen, Meta(ge=0, le=10**9)] = Fen(5_000_000)
    authorisation_hours_max: Annotated[int, Meta(ge=1, le=720)] = 72
    second_authoriser_from_fen: Annotated[Fen, Meta(ge=0, le=10**9)] = Fen(2_000_000)
    authoriser_hardware: tuple[str, ...] = ("bank_system", "webcrypto", "demo")  # F19: whose key a bank admits for its own word.
    cash_request_answer_s: Annotated[int, Meta(ge=60, le=86_400)] = 1800
    missing_credit_days: Annotated[int, Meta(ge=0, le=30)] = 3      # How far behind a slip the bank's statement may lag.
    claim_days_max: Annotated[int, Meta(ge=1, le=60)] = 7   # F10: how long a witnessed payment waits for the bank's file.
    revocation_age_s_max: Annotated[int, Meta(ge=300, le=7 * 86_400)] = 24 * 3600
    suspicion_report_s: Annotated[int, Meta(ge=600, le=7 * 86_400)] = 24 * 3600  # DECL-02: until when the bank has a verified suspicion.
    # Right party (F08), review (F05), time-boxed case data on phones.
    right_party_attempts_max: Annotated[int, Meta(ge=1, le=10)] = 3
    review_share_pct: _Percent = 20
    request_valid_days: Annotated[int, Meta(ge=1, le=365)] = 30
    # Deciding requests (REQ-03, F04): who analysed may decide unless barred; green is a first stage and bounds.
    is_analyst_barred: bool = False
    green_days_min: Annotated[int, Meta(ge=0, le=3650)] = 61
    green_confidence_pct_min: _Percent = 60
    green_amount_fen_max: Annotated[Fen, Meta(ge=0, le=10**13)] = Fen(20_000_000)
    bundle_grace_s: Annotated[int, Meta(ge=0, le=86_400)] = 3 * 3600

    def __post_init__(self) -> None:
        if not 8 * 3600 <= self.hours_from_s < self.hours_to_s <= 21 * 3600:
            raise ValueError("hours lie within 08:00-21:00 and are not empty")
        if self.pair_min < 2:
            raise ValueError("a visit takes at least two people")
        if self.break_from_s > self.break_until_s:
            raise ValueError("a break begins within a window that does not close before it opens")
        edges = [edge for one in self.travel_speeds for edge in (one.from_s, one.to_s - 1)]
        if edges != sorted(edges):
            raise ValueError("hours of another speed follow each other in time and do not overlap")


class Policy(Thresholds, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The thresholds in force under their version, which each judgement stores."""

    version: str = DEFAULT_VERSION


DEFAULT_POLICY = Policy()
