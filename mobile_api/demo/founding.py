"""Act one: an agency comes into being. Branch, banks, people, what they carry, and the phones of those who will go out."""

import base64
import hashlib
from datetime import timedelta
from typing import Any

from evidence.keys import generate_key
from mobile_api.demo import city
from mobile_api.demo.office import BankSystem
from mobile_api.demo.stage import Scene, Ticker
from mobile_api.phone import Phone
from mobile_api.phone_link import Link
from mobile_api.phone_notebook import Notebook

_OFFICE_STAFF = (
    ("amina", "阿米娜", "supervisor"), ("boqin", "博钦", "supervisor"), ("farid", "法里德", "dispatcher"), ("gu", "顾数", "data_clerk"),
    ("hana", "哈娜", "phone_collector"), ("ke", "柯账", "cashier"), ("wei", "魏审", "auditor"), ("manli", "曼丽", "manager"),
)
_FORGERY_TEXT = "本人在此慎重声明,从未向{bank}申请办理、使用过信用卡,同时也未曾授权他人代为办理或使用。此张信用卡透支产生的款项也绝非本人所为。"
_CHANNELS = {
    "mobile_bank": ("手机银行:我的信用卡 → 还款", "Mobile bank: my card → repay"), "online_bank": ("网上银行还款", "Repay by online bank"),
    "machine": ("自助还款机", "Self-service machine"), "counter": ("银行柜台", "Bank counter"),
}


def found_agency(scene: Scene, ticker: Ticker) -> None:
    """Open the branch, register banks and office people."""
    scene.clock.move_to(15, 0, day=-1)
    oscar = scene.sign_in("oscar", scene.stage.operator)
    ring = [[120.8, 30.6], [122.1, 30.6], [122.1, 31.9], [120.8, 31.9], [120.8, 30.6]]
    scene.branch = oscar.post("/api/v1/branches", {
        "code": "SH1", "nameZh": "上海一部", "nameEn": "Shanghai One", "timezone": "Asia/Shanghai",
        "office": {"lon": city.OFFICE[0], "lat": city.OFFICE[1], "datum": "wgs84"}, "territory": [ring],
    })["id"]
    ticker.total(len(_OFFICE_STAFF) + len(city.BANKS))
    for place, (name, shown, role) in enumerate(_OFFICE_STAFF):
        scene.people[name] = oscar.post("/api/v1/staff", {
            "employeeNo": f"A{100 + place}", "name": shown, "roles": [role], "joinedOn": "2024-03-01", "gender": "F" if place % 2 else "M",
            "branchId": None if role in ("auditor", "manager") else scene.branch,
        })["id"]
        scene.invite(name, role, scene.people[name])
        ticker.advance(1)
    for bank in city.BANKS:
        _register_bank(scene, bank)
        ticker.advance(1)


def hire_collectors(scene: Scene, ticker: Ticker) -> None:
    """Add the collectors with credentials, qualifications, recorders, cameras and tomorrow's shifts."""
    oscar = scene.desk("oscar")
    number = 24 if scene.stage.is_quick else 84
    ticker.total(number)
    days = []
    for place, one in enumerate(city.collectors(number)):
        staff_id = oscar.post("/api/v1/staff", {
            "employeeNo": one.employee_no, "name": one.name, "roles": ["field_collector"], "joinedOn": "2024-05-06", "gender": one.gender,
            "branchId": scene.branch,
        })["id"]
        scene.collectors[staff_id] = (staff_id, one)
        for code in one.banks:
            oscar.post(f"/api/v1/staff/{staff_id}/credentials", {
                "bankId": scene.banks[code], "number": f"{code[:2].upper()}-{one.employee_no}", "validFromOn": "2026-01-01",
                "validToOn": one.credential_ends.isoformat(),
            })
        oscar.post(f"/api/v1/staff/{staff_id}/qualifications", {
            "kind": "field_visit", "isLead": one.is_lead, "validToOn": "2027-06-30", "assessorId": scene.people["amina"], "testResult": "passed, 92",
        })
        oscar.put(f"/api/v1/staff/{staff_id}/skills", {"skills": [{"kind": "language", "value": language} for language in one.languages]})
        for kind in ("audio", "camera"):
            _hand_out(scene, staff_id, kind, f"{kind[:2].upper()}-{place:04d}")
        days.append({
            "staffId": staff_id, "on": city.DAY.isoformat(), "isAvailable": not one.is_absent, "shiftFromS": one.shift[0], "shiftToS": one.shift[1],
        })
        scene.count("collectors")
        ticker.advance(1)
    oscar.put("/api/v1/workdays", {"days": days})


def enrol_phone(scene: Scene, staff_id: str) -> Phone:
    """Enrol one collector's phone: asked by one person, granted by another, proven by the phone's own key."""
    asked = scene.desk("oscar").post("/api/v1/device-enrolments", {"staffId": staff_id})
    scene.desk("amina").post(f"/api/v1/device-enrolments/{asked['id']}/approve")
    link = Link(scene.http, scene.stage.base_url, generate_key(), scene.clock)
    folder = scene.stage.out / "phones"
    folder.mkdir(exist_ok=True)
    phone = Phone(link, Notebook(folder / f"{staff_id}.sqlite"), staff_id=staff_id, tenant=scene.stage.tenant, clock=scene.clock)
    state = phone.enrol(asked["code"])
    assert state == "active", state
    phone.pin(server_keys(scene), log_key(scene))
    scene.phones[staff_id] = phone
    scene.count("phones")
    return phone


def server_keys(scene: Scene) -> dict[str, list[dict[str, Any]]]:
    """Read the server's public keys, as an app's build would pin them."""
    history = scene.http.get(scene.stage.base_url + "/verify/keys").json()
    keys: dict[str, list[dict[str, Any]]] = {}
    for entry in history["keys"]:
        if isinstance(entry["public"], dict):
            keys.setdefault(entry["purpose"], []).append({"kid": entry["kid"], "jwk": entry["public"]})
    return keys


def log_key(scene: Scene) -> tuple[str, bytes]:
    """Read the log's name and key, as an app's build would pin them."""
    trusted = scene.http.get(scene.stage.base_url + "/verify/keys").json()["trust"]["log"]
    return trusted["origin"], base64.b64decode(trusted["key"])


def _register_bank(scene: Scene, bank: city.Bank) -> None:
    oscar = scene.desk("oscar")
    bank_id = oscar.post("/api/v1/banks", {"code": bank.code, "nameZh": bank.name_zh, "nameEn": bank.name_en})["id"]
    scene.banks[bank.code], scene.bank_codes[bank_id] = bank_id, bank.code
    oscar.post(f"/api/v1/banks/{bank_id}/mandates", {
        "reference": f"M-{bank.code}", "validFromOn": "2026-01-01", "validToOn": "2027-12-31",
        "permitted": ["field_visit", "phone_contact", "sms", "letter", "cash_collection", "declaration"], "ndaReference": f"NDA-{bank.code}",
        "qualificationCheckedOn": "2026-01-05",
    })
    for place, (name, lon, lat) in enumerate(bank.offices):
        oscar.post(f"/api/v1/banks/{bank_id}/offices", {
            "name": name, "location": {"lon": lon, "lat": lat, "datum": "wgs84"}, "opensS": 32_400, "closesS": 61_200 if place % 2 else 64_800,
            "serviceS": 900,
        })
    for kind, (text_zh, text_en) in _CHANNELS.items():
        oscar.put(f"/api/v1/banks/{bank_id}/payment-channels", {"kind": kind, "textZh": text_zh, "textEn": text_en})
    scene.profiles[bank.code] = oscar.post(f"/api/v1/banks/{bank_id}/import-profiles", {
        "version": "2026-1", "columns": bank.columns, "encoding": bank.encoding, "dateStyle": bank.date_style, "amountStyle": bank.amount_style,
        "separator": bank.separator,
    })["id"]
    _bank_people(scene, bank, bank_id)
    number = f"99{int(hashlib.sha256(bank.code.encode()).hexdigest()[:12], 16) % 10**14:014d}"
    scene.account_numbers[bank.code] = number
    oscar.post(f"/api/v1/banks/{bank_id}/accounts", {"number": number, "holder": bank.name_zh})
    account = oscar.get(f"/api/v1/banks/{bank_id}/accounts")[0]
    scene.account_digests[bank.code] = account["accountDigest"]
    template = oscar.post(f"/api/v1/banks/{bank_id}/templates", {"kind": "forgery", "textZh": _FORGERY_TEXT.format(bank=bank.name_zh)})
    scene.desk(f"lin-{bank.code}").post(f"/api/v1/templates/{template['id']}/approval")
    scene.templates[bank.code] = next(one for one in oscar.get(f"/api/v1/banks/{bank_id}/templates") if one["id"] == template["id"])


def _bank_people(scene: Scene, bank: city.Bank, bank_id: str) -> None:
    oscar = scene.desk("oscar")
    for nick, role, shown in (("lin", "bank_liaison", "林联"), ("mo", "bank_authoriser", "莫权"), ("yan", "bank_authoriser", "严复")):
        name = f"{nick}-{bank.code}"
        staff_id = oscar.post("/api/v1/staff", {
            "employeeNo": f"{bank.code.upper()}-{nick}", "name": shown, "roles": [role], "joinedOn": "2025-01-01", "bankId": bank_id,
        })["id"]
        scene.people[name] = staff_id
        scene.invite(name, role, staff_id)
    system = BankSystem()
    statement = {"bank": bank_id, "purpose": "cash_authorisation", "staff": scene.people[f"mo-{bank.code}"]}
    proof = system.prove(statement)
    scene.desk(f"mo-{bank.code}").post("/api/v1/bank-keys", {"purpose": "cash_authorisation", "jwk": system.jwk, "hardware": "demo", "proof": proof})
    scene.bank_systems[bank.code] = system


def _hand_out(scene: Scene, staff_id: str, kind: str, serial: str) -> None:
    oscar = scene.desk("oscar")
    equipment = oscar.post("/api/v1/equipment", {"branchId": scene.branch, "kind": kind, "serial": serial})["id"]
    oscar.post(f"/api/v1/equipment/{equipment}/inspections", {"isPassed": True, "nextDueOn": (city.DAY + timedelta(days=60)).isoformat()})
    oscar.put(f"/api/v1/equipment/{equipment}/assignment", {"staffId": staff_id, "on": city.DAY.isoformat()})
