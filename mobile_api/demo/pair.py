"""Two phones at doors: what every visit has in common, whoever opens."""

import unicodedata
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from evidence.facts import ArrivalFacts, CaptureFacts, DepartureFacts, Facts, IdentityPresented, RightParty, VisitCloseFacts
from evidence.manifest import Role
from mobile_api.demo.city import DAY, Debtor
from mobile_api.demo.stage import Scene
from mobile_api.phone import Capture, Door, Phone, Place, sign_together

Json = dict[str, Any]


class Visit:
    """One visit as the pair lives it."""

    def __init__(self, scene: Scene, pair: "Pair", stop: Json) -> None:
        self.scene, self.pair, self.stop = scene, pair, stop
        self.id: str = stop["visit_id"]
        self.case: str = stop["case_id"]
        self.debtor: Debtor = next(one for one in scene.debtors.values() if scene.cases[one.reference] == self.case)
        self.door = Door(visit=self.id, visit_version=stop["visit_version"], case=self.case, bank=stop["bank_id"], partner=pair.second.staff_id,
                         partner_kid=pair.second.kid)
        self.arrived_at: datetime = scene.clock()
        self.digests: list[str] = []
        self.is_right_party = False
        self.code = ""
        self.answers: list[Json] = []

    def tell(self, kind: str, body: Json, phone: Phone | None = None) -> Json:
        """Tell the server a fact now and keep its answer."""
        answer = (phone or self.pair.first).tell_now(kind, {"visitId": self.id, **body})
        self.answers.append({"kind": kind, "at": self.scene.clock(), **answer})
        return answer

    def arrive(self, *, both: bool = True) -> None:
        """Check in at the door, ask for leave to start, sign the arrival together."""
        for phone in (self.pair.first, self.pair.second) if both else (self.pair.first,):
            assert phone.place is not None
            self.tell("visit.check_in", {
                "isCredentialWorn": True, "identityPresented": "agency",
                "position": {"lon": phone.place.lon, "lat": phone.place.lat, "datum": "wgs84", "accuracyM": round(phone.place.accuracy_m)},
            }, phone)
        self.pair.first.ask("visit.start", {"visitId": self.id})
        self.tell("visit.start", {})
        self.state(ArrivalFacts(
            lead=self.pair.first.staff_id, credential_worn=True, cosigner_credential_worn=True, audio_device=True, camera_device=True,
            recording_running=True,
        ), together=True)

    def state(self, facts: Facts, captures: list[Capture] | None = None, *, together: bool = False) -> str:
        """Sign a statement, by both phones where two are due."""
        digest = self.pair.first.state(self.door, facts, captures or [])
        if together:
            sign_together(self.pair.first, self.pair.second, digest)
            self.scene.count("signatures")
        self.scene.count("signatures")
        self.digests.append(digest)
        return digest

    def meet(self) -> bool:
        """Let the person say name and last four; the phone compares and answers match or no match, never the value (F08)."""
        said = self.stop["right_party"]
        name = "".join(unicodedata.normalize("NFC", self.debtor.name).split())
        digest = sha256(f"{said['salt']}\n{name}\n{self.debtor.id_number[-4:].upper()}".encode()).hexdigest()
        self.is_right_party = digest == said["digest"]
        self.tell("visit.right_party", {"attempt": 1, "isMatch": self.is_right_party})
        return self.is_right_party

    def photo(self, role: Role, caption: str) -> Capture:
        """Take a photograph now."""
        now = self.scene.clock()
        return Capture(role=role, content=self.scene.media.photo(caption), media_type="image/jpeg", started=now, ended=now)

    def paper(self, role: Role, title: str, lines: list[str]) -> Capture:
        """Photograph a paper now."""
        now = self.scene.clock()
        return Capture(role=role, content=self.scene.media.document(title, lines), media_type="image/jpeg", started=now, ended=now)

    def outcome(self, code: str, **fields: Any) -> Json:
        """Tell how it went."""
        return self.tell("visit.outcome", {"code": code, "fields": fields})

    def leave(self, code: str, *, is_recoverable: str = "unknown") -> None:
        """End the recording, leave, report, and close the visit under both signatures."""
        scene = self.scene
        departed_at = scene.clock()
        started_at = self.arrived_at - timedelta(seconds=60)
        scene.clock.pass_time(60)
        ended_at = scene.clock()
        sounds, at = [], started_at
        segments = scene.media.recording(int((ended_at - started_at).total_seconds()))
        for number, sound in enumerate(segments, start=1):
            until = at + timedelta(milliseconds=sound.duration_ms)
            sounds.append(Capture(role=Role.AUDIO, content=sound.content, media_type=sound.media_type, started=at, ended=until,
                                  duration_ms=sound.duration_ms, segment=number, of=len(segments)))
            at = until
        door = self.photo(Role.DOOR_PLATE, f"{self.debtor.street[:3]} 门牌")
        occasion = CaptureFacts(occasion="conversation", identity_presented=IdentityPresented.AGENCY, right_party=self._party())
        self.state(occasion, [door, *sounds])
        self.state(DepartureFacts(reason="finished", recording_stopped=True))
        self.tell("visit.end", {})
        self.tell("visit.report", {
            "isEntered": False, "recoverability": is_recoverable, "reasons": "现场了解情况后判断。", "attitude": "配合" if self.is_right_party else "未见本人",
            "delinquencyReason": "资金周转" if self.is_right_party else "未知", "financialSituation": "自述收入下降" if self.is_right_party else "未知",
        })
        self.state(VisitCloseFacts(
            outcome=code, entered=False, right_party=self._party(), identity_presented=IdentityPresented.AGENCY, arrived=_utc(self.arrived_at),
            departed=_utc(departed_at), manifests=tuple(self.digests),
        ), together=True)
        scene.count("visits served")

    def _party(self) -> RightParty:
        return RightParty.CONFIRMED if self.is_right_party else RightParty.NOBODY_MET


class Pair:
    """Two collectors with their phones and their published day."""

    def __init__(self, scene: Scene, route: Json, first: Phone, second: Phone) -> None:
        self.scene, self.route, self.first, self.second = scene, route, first, second
        self.stops: list[Json] = []
        self.withdrawn: list[Json] = []
        self.bundle: Json = {}
        self.visits: list[Visit] = []

    def prepare(self) -> None:
        """Fetch the signed time and the signed day on both phones."""
        for phone in (self.first, self.second):
            phone.fetch_beacon()
        theirs = self.second.fetch_bundle(DAY.isoformat())
        self.bundle = self.first.fetch_bundle(DAY.isoformat())
        assert theirs["pair"]["partner"]["kid"] == self.first.kid
        self.stops, self.withdrawn = [one for one in self.bundle["stops"] if one["kind"] != "pause"], self.bundle["withdrawn"]

    def stand_at(self, gate: Json) -> None:
        """Stand at a gate: both phones get a fix near it, a few metres apart."""
        lon, lat = gate["wgs84"]["lon_e7"] / 1e7, gate["wgs84"]["lat_e7"] / 1e7
        self.first.place = Place(lon=lon + 0.00004, lat=lat + 0.00003, accuracy_m=14)
        self.second.place = Place(lon=lon - 0.00003, lat=lat + 0.00002, accuracy_m=18)

    def sync(self) -> int:
        """Synchronise both phones until nothing waits, over whatever line there is; returns the bytes sent."""
        sent = 0
        for phone in (self.first, self.second):
            for _ in range(200):
                report = phone.sync()
                sent += report.bytes_sent
                self.scene.count("files", report.files)
                assert not report.refused, report.refused
                if not report.is_offline and not phone.notebook.waiting_pieces():
                    break
            else:
                raise AssertionError("the phone could not synchronise in 200 tries")
        self.scene.count("bytes", sent)
        return sent


def _utc(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
