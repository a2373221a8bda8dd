"""The day of one pair, as their phones carry it: only their own day, only from publication to the end of the day and a grace.

Bank and amount are folded: the phone shows them only after the right party is confirmed (F08). What is withdrawn is named with its
reason and carries nothing personal. Cash, keys and texts of the banks are added by the transport.
"""

import hashlib
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.log import utc_text
from backend.audit.record import record, record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.hours import office_on
from backend.banks.tables import BankRow
from backend.cases.queries import load_keys
from backend.cases.tables import CaseAddressRow, CaseRow
from backend.core.geo import Datum, LonLat, from_wgs84
from backend.core.i18n import N_
from backend.core.ids import BankId, StaffId
from backend.core.problems import NotFound, Problem
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.plans.gather import local_day
from backend.plans.model import PlanSummary, RouteView, StopKind, StopView
from backend.plans.queries import published_route
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.staff import queries as staff
from backend.visits.catalogue import CATALOGUE_VERSION
from backend.visits.model import VisitStatus
from backend.visits.tables import VisitRow

SCHEMA = "day-bundle/1"


class BundleExpired(Problem):
    """The day and its grace are over: case data are no longer given to phones."""

    status, code, title = 410, "bundle-expired", N_("The day of this bundle is over.")
    explanation = N_("Unsent work stays on the phone and can still be delivered; case data can not be fetched again.")


class Day:
    """The published day of one collector, and what their phone is told of it."""

    def __init__(self, session: Session, actor: Actor, on: date, now: datetime) -> None:
        """Find the actor's own route of a day.

        Raises:
            Forbidden: the actor makes no visits.
            NotFound: no published plan of that day names the actor.
            BundleExpired: the day and its grace are over.
        """
        authorise(actor, Permission.VISIT_PERFORM)
        found = published_route(session, actor.id, on)
        if found is None:
            raise NotFound
        self.session, self.actor, self.now = session, actor, now
        self.plan: PlanSummary = found[0]
        self.route: RouteView = found[1]
        self.branch = staff.branch(session, self.plan.branch_id)
        self.policy: Policy = policy_in_force(session, None, now)
        self.expires_at = local_day(on, self.branch.timezone, 86_400) + timedelta(seconds=self.policy.bundle_grace_s)
        if now > self.expires_at:
            raise BundleExpired(on=on.isoformat(), expired_at=utc_text(self.expires_at))
        self.partner_id: StaffId = self.route.collector_b if self.route.collector_a == actor.id else self.route.collector_a
        wanted = [stop.visit_id for stop in self.route.stops if stop.visit_id]
        self.visits: dict[UUID, VisitRow] = {row.id: row for row in session.scalars(select(VisitRow).where(VisitRow.id.in_(wanted)))}

    @property
    def shown(self) -> tuple[StopView, ...]:
        """The stops that still stand, deposits included."""
        return tuple(stop for stop in self.route.stops if self._reason(stop) is None)

    @property
    def bank_ids(self) -> frozenset[BankId]:
        """The banks of the visits that still stand."""
        return frozenset(BankId(self.visits[stop.visit_id].bank_id) for stop in self.shown if stop.visit_id)

    def document(self, keyring: Keyring, tenant: str) -> dict[str, Any]:
        """Return the slice's part of the bundle; the read is recorded with every case shown (SEC-01)."""
        visits = [self.visits[stop.visit_id] for stop in self.shown if stop.visit_id]
        record_read(self.session, self.actor, [visit.case_id for visit in visits], self.now, "day-bundle")
        record(
            self.session, self.actor, EventTag.BUNDLE_READ, f"plan:{self.plan.id}", self.now, policy_version=self.policy.version,
            route=self.route.id, visits=len(visits),
        )
        doors = self._doors(keyring, visits)
        return {
            "schema": SCHEMA, "tenant": tenant, "on": self.plan.on.isoformat(), "timezone": self.branch.timezone, "branch": str(self.plan.branch_id),
            "plan": {"id": str(self.plan.id), "version": self.plan.version}, "issued": utc_text(self.now), "expires": utc_text(self.expires_at),
            "pair": self._pair(), "route": {
                "number": self.route.number, "departure": utc_text(self.route.departure_at), "return": utc_text(self.route.return_at),
            },
            "policy": _policy(self.policy), "outcome_catalogue": CATALOGUE_VERSION,
            "stops": [self._stop(stop, doors) for stop in self.shown],
            "withdrawn": [
                {"visit_id": str(stop.visit_id), "position": stop.position, "reason": reason}
                for stop in self.route.stops if (reason := self._reason(stop)) is not None
            ],
        }

    def _reason(self, stop: StopView) -> str | None:
        visit = self.visits.get(stop.visit_id) if stop.visit_id else None
        is_cancelled = visit is not None and visit.status is VisitStatus.CANCELLED
        return "cancelled" if is_cancelled else stop.withdrawn

    def _pair(self) -> dict[str, Any]:
        names = staff.names_of(self.session, [self.actor.id, self.partner_id])
        phone = staff.active_device(self.session, self.partner_id)
        return {
            "me": {"staff_id": str(self.actor.id), "name": names.get(self.actor.id, ""), "kid": self.actor.device},
            "partner": {
                "staff_id": str(self.partner_id), "name": names.get(self.partner_id, ""), "kid": phone.kid if phone else None,
                "jwk": phone.public_jwk if phone else None,
            },
        }

    def _doors(self, keyring: Keyring, visits: list[VisitRow]) -> dict[UUID, dict[str, Any]]:
        session = self.session
        cases = {row.id: row for row in session.scalars(select(CaseRow).where(CaseRow.id.in_([visit.case_id for visit in visits])))}
        addresses = {
            row.id: row for row in session.scalars(select(CaseAddressRow).where(CaseAddressRow.id.in_([visit.address_id for visit in visits])))
        }
        banks = {row.id: row for row in session.scalars(select(BankRow).where(BankRow.id.in_(sorted({visit.bank_id for visit in visits}))))}
        held = load_keys(session, list(cases))
        assert len(held) == len(cases)
        return {
            visit.id: _door(session, keyring, visit, cases[visit.case_id], addresses[visit.address_id])
            | {"folded": _folded(cases[visit.case_id], banks[visit.bank_id])} for visit in visits
        }

    def _stop(self, stop: StopView, doors: Mapping[UUID, dict[str, Any]]) -> dict[str, Any]:
        told: dict[str, Any] = {
            "position": stop.position, "kind": stop.kind.value, "arrives": utc_text(stop.arrives_at), "starts": utc_text(stop.starts_at),
            "ends": utc_text(stop.ends_at), "gate": None if stop.place is None else _gate(stop.place),
        }
        if stop.kind is StopKind.DEPOSIT:
            office = office_on(self.session, stop.office_id, self.plan.on) if stop.office_id is not None else None
            assert office is not None, "deposit stops name offices that there are"
            return told | {"office": {"id": str(office.id), "name": office.name, "opens_s": office.opens_s, "closes_s": office.closes_s}}
        if stop.kind is StopKind.PAUSE:
            return told
        assert stop.visit_id is not None
        return told | doors[stop.visit_id]


def right_party_digest(salt: str, name: str, last4: str) -> str:
    """Return what the phone compares: SHA-256 over salt, name (NFC, no white space) and last four (upper case), a line each."""
    plain = "".join(unicodedata.normalize("NFC", name).split())
    return hashlib.sha256(f"{salt}\n{plain}\n{last4.strip().upper()}".encode()).hexdigest()


def _door(session: Session, keyring: Keyring, visit: VisitRow, case: CaseRow, address: CaseAddressRow) -> dict[str, Any]:
    box = sealer(session, keyring, case.id)
    name, id_number = box.open("cases.name", case.name), box.open("cases.id_number", case.id_number)
    salt = keyring.salt_of(f"right-party {visit.id}")
    return {
        "visit_id": str(visit.id), "visit_version": visit.version, "case_id": str(case.id), "bank_id": str(visit.bank_id), "name": name,
        "language": case.language, "gender_rule": case.gender_rule.value, "timezone": visit.timezone, "status": visit.status.value,
        "address": box.open("case_addresses.street", address.street),
        "safety_note": None if address.safety_note is None else box.open("case_addresses.safety_note", address.safety_note),
        "right_party": {"salt": salt, "digest": right_party_digest(salt, name, id_number[-4:])},
    }


def _folded(case: CaseRow, bank: BankRow) -> dict[str, Any]:
    return {
        "bank": {"id": str(bank.id), "name_zh": bank.name_zh, "name_en": bank.name_en}, "amount_fen": case.amount_fen,
        "amount_as_of": case.amount_as_of_on.isoformat(), "days_past_due": case.days_past_due,
    }


def _gate(place: LonLat) -> dict[str, dict[str, int]]:
    """Write a place in both datums (F18), in ten-millionths of a degree: signed documents hold no floats."""
    told = {}
    for datum in (Datum.WGS84, Datum.GCJ02):
        there = from_wgs84(place, datum)
        told[datum.value] = {"lat_e7": round(there.lat * 1e7), "lon_e7": round(there.lon * 1e7)}
    return told


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "version": policy.version, "hours_from_s": policy.hours_from_s, "hours_to_s": policy.hours_to_s, "distance_m_max": policy.distance_m_max,
        "right_party_attempts_max": policy.right_party_attempts_max, "cosignature_window_s": policy.cosignature_window_s,
        "deposit_deadline_s": policy.deposit_deadline_s, "carry_limit_fen": policy.carry_limit_fen,
        "revocation_age_s_max": policy.revocation_age_s_max,
    }
