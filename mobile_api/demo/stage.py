"""What the demo's acts share: where the server is, what time it is, who is signed in, what was seen so far."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import msgspec

from mobile_api.demo.city import BANKS, DAY, Collector, Debtor
from mobile_api.demo.media import Library
from mobile_api.demo.office import BankSystem, Desk, new_password
from mobile_api.phone import Phone
from mobile_api.phone_link import Refused

SHANGHAI = timezone(timedelta(hours=8))


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """One person's way in."""

    role: str
    username: str
    password: str
    totp_secret: str


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """What the day is played on."""

    base_url: str
    out: Path
    engine: str
    clock_file: Path
    operator: Login
    tenant: str
    samples: Path | None
    font: Path
    audit_command: tuple[str, ...]
    environ: dict[str, str]
    is_quick: bool


class DayClock:
    """The day's time: the system's, moved by the offset that the demo's server reads too."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset_s = 0

    def __call__(self) -> datetime:
        """Return the present instant of the day."""
        return datetime.now(UTC) + timedelta(seconds=self._offset_s)

    def move_to(self, hour: int, minute: int, *, day: int = 0) -> None:
        """Let the day pass until that local time, `day` days from the Friday; never backwards."""
        wanted = datetime(DAY.year, DAY.month, DAY.day, hour, minute, tzinfo=SHANGHAI) + timedelta(days=day)
        self.pass_time((wanted - self()).total_seconds())

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass at once, for the server too; a negative number passes none."""
        if self._offset_s and seconds <= 0:
            return
        self._offset_s += int(seconds)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(str(self._offset_s), encoding="ascii")
        os.replace(temporary, self._file)


class Scene:
    """Everything that later acts need from earlier ones. Ids are texts, as the API gives them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.clock = DayClock(stage.clock_file)
        self.http = httpx.Client(timeout=60)
        self.media = Library(stage.samples, stage.font, 7)
        self.desks: dict[str, Desk] = {}
        self.logins: list[Login] = []
        self.branch = ""
        self.banks: dict[str, str] = {}
        self.bank_codes: dict[str, str] = {}
        self.profiles: dict[str, str] = {}
        self.account_digests: dict[str, str] = {}
        self.account_numbers: dict[str, str] = {}
        self.templates: dict[str, dict[str, Any]] = {}
        self.bank_systems: dict[str, BankSystem] = {}
        self.collectors: dict[str, tuple[str, Collector]] = {}
        self.people: dict[str, str] = {}
        self.debtors: dict[str, Debtor] = {}
        self.cases: dict[str, str] = {}
        self.requests: dict[str, str] = {}
        self.phones: dict[str, Phone] = {}
        self.bundles: dict[str, dict[str, Any]] = {}
        self.plan: dict[str, Any] = {}
        self.counts: dict[str, int] = {}
        self.notes: dict[str, Any] = {}
        self.refusals: list[dict[str, Any]] = []

    def count(self, name: str, number: int = 1) -> None:
        """Count something for the summary."""
        self.counts[name] = self.counts.get(name, 0) + number

    def refused(self, zh: str, en: str, refusal: Refused) -> None:
        """Keep a refusal that the day was meant to meet."""
        self.refusals.append({
            "zh": zh, "en": en, "problem": refusal.problem.get("type", ""), "status": refusal.status, "rules": sorted(refusal.rules),
        })
        self.count("refusals")

    def desk(self, name: str) -> Desk:
        """Return somebody's desk."""
        return self.desks[name]

    def sign_in(self, name: str, login: Login) -> Desk:
        """Sign somebody in at a desk of their own."""
        desk = Desk(self.http, self.stage.base_url, self.clock)
        desk.sign_in(login.username, login.password, login.totp_secret)
        self.desks[name] = desk
        self.logins.append(login)
        return desk

    def invite(self, name: str, role: str, staff_id: str) -> Desk:
        """Invite a person, let a manager confirm whoever speaks for a bank, accept in their place, and sign them in."""
        invited = self.desk("oscar").post(f"/api/v1/staff/{staff_id}/invitation")
        if invited["isConfirmationDue"]:
            self.desk("manli").post(f"/api/v1/staff/{staff_id}/invitation/confirmation")
        password = new_password()
        anybody = Desk(self.http, self.stage.base_url, self.clock)
        made = anybody.post("/api/v1/invitations/accept", {"token": invited["token"], "username": name, "password": password})
        return self.sign_in(name, Login(role=role, username=name, password=password, totp_secret=made["totpSecret"]))


Act = Callable[[Scene, "Ticker"], None]


class Ticker:
    """Tells a progress bar how far an act has come."""

    def __init__(self, advance: Callable[[int], None], total: Callable[[int], None]) -> None:
        self.advance = advance
        self.total = total


def bank_of(code: str) -> Any:
    """Return the invented bank of that code."""
    return next(bank for bank in BANKS if bank.code == code)
