"""The invented Friday in Shanghai: banks, branches, collectors, debtors and their placement files, all from one seed.

Nothing here is anybody's: identity numbers carry unassigned area codes (99....), card numbers lie in a test range, phone numbers
begin with digits no operator gives out, compounds are invented, and their coordinates are public ground.
"""

import csv
import io
import random
from collections.abc import Sequence
from datetime import date, timedelta

import msgspec

DAY = date(2026, 11, 27)
SEED = 20261127
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红梅建国志新宇浩然子轩梓涵一诺欣怡思远晨曦嘉怡文博雅琴海燕春生秋月冬青立夏"
_RARE = "㐂𠮷䶮𫖮𬱖𠅤"          # Real names hold such characters; a system that loses them loses people.
_COMPOUNDS = (
    "云栖里", "听澜苑", "松影新村", "栖梧公寓", "望湖一村", "青禾坊", "枫桥里", "玉衡苑", "四合新村", "竹影苑", "临江坊", "白榆里",
    "澄光公寓", "金穗新村", "海棠苑", "长宁里", "锦书坊", "南塘新村", "月河苑", "石库里",
)
_OCCUPATIONS = ("个体经营", "教师", "司机", "会计", "厨师", "程序员", "护士", "销售", "退休", "快递员", "设计师", "保洁")
# Public ground of each district: parks and squares, as (longitude, latitude) in WGS-84, with the division code of the district.
_DISTRICTS = (
    (121.4737, 31.2304, "310101"), (121.4365, 31.1885, "310104"), (121.4245, 31.2204, "310105"), (121.4484, 31.2290, "310106"),
    (121.3955, 31.2497, "310107"), (121.4981, 31.2629, "310109"), (121.5220, 31.2700, "310110"), (121.3816, 31.1128, "310112"),
    (121.4890, 31.4050, "310113"), (121.5440, 31.2215, "310115"),
)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


class Bank(msgspec.Struct, frozen=True, kw_only=True):
    """An invented bank and how it writes its files."""

    code: str
    name_zh: str
    name_en: str
    card_prefix: str
    encoding: str
    date_style: str
    amount_style: str
    separator: str
    columns: dict[str, str]
    offices: tuple[tuple[str, float, float], ...]


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """A field collector."""

    employee_no: str
    name: str
    gender: str
    is_lead: bool
    banks: tuple[str, ...]
    languages: tuple[str, ...]
    home: tuple[float, float]
    shift: tuple[int, int]
    is_absent: bool
    credential_ends: date


class Debtor(msgspec.Struct, frozen=True, kw_only=True):
    """A case of a placement file. `trait` marks the ones with a part in the day's script."""

    bank: str
    reference: str
    name: str
    id_number: str
    card_number: str
    phone: str
    occupation: str
    amount_fen: int
    principal_fen: int
    days_past_due: int
    term_ends_on: date
    gender_rule: str
    language: str
    street: str
    division_code: str
    point: tuple[float, float] | None
    safety_note: str
    trait: str


_MAPS = {
    "huaxin": {
        "bank_reference": "委案编号", "name": "客户姓名", "id_number": "证件号码", "card_number": "卡号", "phone": "手机", "occupation": "职业",
        "amount": "欠款总额", "principal": "本金", "days_past_due": "逾期天数", "term_ends_on": "委案到期日", "street": "居住地址", "division_code": "区划代码",
        "lon": "经度", "lat": "纬度", "datum": "坐标系", "gender_rule": "性别要求", "language": "语言", "safety_note": "安全提示", "branch_code": "=SH1",
        "address_kind": "=residence",
    },
    "jiangnan": {
        "bank_reference": "CASE_NO", "name": "CUST_NAME", "id_number": "ID_NO", "card_number": "CARD_NO", "phone": "MOBILE", "occupation": "JOB",
        "amount": "TOTAL_DUE", "principal": "PRINCIPAL", "days_past_due": "DPD", "term_ends_on": "TERM_END", "street": "ADDR", "division_code": "AREA_CODE",
        "lon": "LON", "lat": "LAT", "datum": "=wgs84", "gender_rule": "GENDER_RULE", "language": "LANG", "safety_note": "REMARK", "branch_code": "=SH1",
        "address_kind": "=residence",
    },
    "donghai": {
        "bank_reference": "案件号", "name": "姓名", "id_number": "身份证号", "card_number": "信用卡号", "phone": "联系电话", "occupation": "从事职业",
        "amount": "应还金额(分)", "principal": "其中本金(分)", "days_past_due": "逾期日数", "term_ends_on": "委托截止", "street": "住址", "division_code": "行政区划",
        "lon": "X", "lat": "Y", "datum": "=wgs84", "gender_rule": "同行要求", "language": "方言", "safety_note": "备注", "branch_code": "=SH1",
        "address_kind": "=residence",
    },
}
BANKS: tuple[Bank, ...] = (
    Bank(code="huaxin", name_zh="华信示范银行", name_en="Huaxin Demonstration Bank", card_prefix="990011", encoding="gb18030", date_style="slash",
         amount_style="yuan", separator=",", columns=_MAPS["huaxin"],
         offices=(("人民广场支行", 121.4755, 31.2330), ("虹口支行", 121.4860, 31.2560), ("浦东支行", 121.5300, 31.2290), ("闵行支行", 121.3850, 31.1180))),
    Bank(code="jiangnan", name_zh="江南示例银行", name_en="Jiangnan Example Bank", card_prefix="990022", encoding="utf-8", date_style="iso",
         amount_style="yuan", separator=";", columns=_MAPS["jiangnan"],
         offices=(("徐汇支行", 121.4400, 31.1940), ("静安支行", 121.4510, 31.2270), ("杨浦支行", 121.5190, 31.2740))),
    Bank(code="donghai", name_zh="东海样本银行", name_en="Donghai Sample Bank", card_prefix="990033", encoding="utf-8", date_style="compact",
         amount_style="fen", separator=",", columns=_MAPS["donghai"],
         offices=(("长宁支行", 121.4200, 31.2180), ("普陀支行", 121.3990, 31.2520), ("宝山支行", 121.4920, 31.3990))),
)
OFFICE = (121.4690, 31.2280)
# Early, early, late, long: people are at home in the evening, and nobody works thirteen hours.
_SHIFTS = ((28_800, 61_200), (30_600, 63_000), (43_200, 75_600), (36_000, 72_000))
# One debtor each; the rest of the debtors have no trait.
TRAITS: tuple[str, ...] = ("farmer-cash", "denies", "pays-by-app", "promises", "vague", "nobody-home", "guard-refuses", "boy-alone", "grandmother",
                           "hardship", "filmed", "breach-cash", "repaid-morning", "recalled-morning", "self-harm", "deceased")


def collectors(number: int, seed: int = SEED) -> tuple[Collector, ...]:
    """Return `number` collectors, two in five women, as many leads as half of them, two absent, one credential ending today."""
    chance = random.Random(f"{seed}:collectors")
    made = []
    for place in range(number):
        lon, lat, _ = chance.choice(_DISTRICTS)
        made.append(Collector(
            employee_no=f"E{1001 + place}", name=_name(chance), gender="F" if place % 5 in (1, 3) else "M", is_lead=place % 2 == 0,
            banks=tuple(bank.code for bank in BANKS) if place % 7 else tuple(bank.code for bank in BANKS[:2]),
            languages=("zh", "wuu") if place % 3 == 0 else ("zh",), home=_near(chance, lon, lat, 0.03),
            shift=_SHIFTS[place % 4], is_absent=place in (number - 1, number - 2),
            credential_ends=DAY if place == number - 3 else DAY + timedelta(days=200),
        ))
    return tuple(made)


def debtors(number: int, seed: int = SEED) -> tuple[Debtor, ...]:
    """Return `number` debtors over the three banks, the first ones with the traits of the day's script."""
    chance = random.Random(f"{seed}:debtors")
    return tuple(_debtor(chance, place) for place in range(number))


def placement_file(bank: Bank, cases: Sequence[Debtor], broken_rows: int = 2) -> bytes:
    """Write a bank's placement file in its own columns, styles and encoding, with `broken_rows` rows that must be rejected."""
    stream = io.StringIO(newline="")
    headings = [name for name in bank.columns.values() if not name.startswith("=")]
    writer = csv.writer(stream, delimiter=bank.separator)
    writer.writerow(headings)
    rows = [_row(bank, case) for case in cases]
    for place in range(min(broken_rows, len(rows))):
        rows.append({**rows[place], bank.columns["bank_reference"]: f"BAD-{place}", bank.columns["id_number"]: "990101199001010001"})
    writer.writerows([row[heading] for heading in headings] for row in rows)
    return stream.getvalue().encode(bank.encoding)


def control_totals(cases: Sequence[Debtor], broken_rows: int = 2) -> tuple[int, int]:
    """Return what the bank declares beside its file: rows and sum in fen, the broken rows included."""
    doubled = list(cases[:broken_rows])
    return len(cases) + len(doubled), sum(case.amount_fen for case in [*cases, *doubled])


def id_number(chance: random.Random, born: date, *, is_female: bool) -> str:
    """Return an identity number of right form and check digit under an area code that was never assigned."""
    digits = f"99{chance.randint(1, 99):02d}{chance.randint(1, 99):02d}{born:%Y%m%d}{chance.randint(0, 99):02d}{chance.choice((0, 2, 4, 6, 8)) + (not is_female)}"
    return digits + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(digits, _ID_WEIGHTS, strict=True)) % 11]


def card_number(chance: random.Random, prefix: str) -> str:
    """Return a card number of 16 digits with a right Luhn digit under a test prefix."""
    digits = prefix + "".join(str(chance.randint(0, 9)) for _ in range(9))
    total = sum(_doubled(int(digit)) if place % 2 == 0 else int(digit) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


def _doubled(digit: int) -> int:
    return digit * 2 - 9 if digit > 4 else digit * 2


def _debtor(chance: random.Random, place: int) -> Debtor:
    bank = BANKS[place % len(BANKS)]
    trait = TRAITS[place] if place < len(TRAITS) else ""
    is_female = chance.random() < 0.45
    # The scripted doors lie in one district, so that few pairs meet all of them.
    lon, lat, division = _DISTRICTS[1] if trait else chance.choice(_DISTRICTS)
    amount_fen = round(chance.lognormvariate(10.2, 0.8)) * 100 + chance.randint(0, 99)
    # Without a pin nobody can be sent; the scripted ones all have one.
    has_pin = bool(trait) or chance.random() > 0.035
    return Debtor(
        bank=bank.code, reference=f"{bank.code[:2].upper()}26-{10_000 + place}", name=_name(chance, is_rare=place % 97 == 5),
        id_number=id_number(chance, date(1955, 1, 1) + timedelta(days=chance.randint(0, 16_000)), is_female=is_female),
        card_number=card_number(chance, bank.card_prefix), phone=f"100{chance.randint(0, 99_999_999):08d}", occupation=chance.choice(_OCCUPATIONS),
        amount_fen=amount_fen, principal_fen=amount_fen * 4 // 5, days_past_due=chance.choice((75, 88, 95, 120, 150, 200, 280, 365)),
        term_ends_on=DAY + timedelta(days=chance.randint(20, 160)),
        gender_rule="female_present" if is_female and chance.random() < 0.25 else "any",
        language="wuu" if chance.random() < 0.06 else "zh",
        street=f"{chance.choice(_COMPOUNDS)}{chance.randint(1, 60)}弄{chance.randint(1, 40)}号{chance.randint(1, 24)}{chance.randint(1, 4):02d}室",
        division_code=division, point=_near(chance, lon, lat, 0.008 if trait else 0.04) if has_pin else None,
        safety_note="三楼有犬" if chance.random() < 0.03 else "", trait=trait,
    )


def _row(bank: Bank, case: Debtor) -> dict[str, str]:
    written = {
        "bank_reference": case.reference, "name": case.name, "id_number": case.id_number, "card_number": case.card_number, "phone": case.phone,
        "occupation": case.occupation, "amount": _amount(bank, case.amount_fen), "principal": _amount(bank, case.principal_fen),
        "days_past_due": str(case.days_past_due), "term_ends_on": _day(bank, case.term_ends_on), "street": case.street,
        "division_code": case.division_code, "lon": f"{case.point[0]:.6f}" if case.point else "", "lat": f"{case.point[1]:.6f}" if case.point else "",
        "datum": "wgs84" if case.point else "", "gender_rule": case.gender_rule, "language": case.language, "safety_note": case.safety_note,
    }
    return {heading: written[column] for column, heading in bank.columns.items() if not heading.startswith("=")}


def _amount(bank: Bank, fen: int) -> str:
    return str(fen) if bank.amount_style == "fen" else f"{fen // 100}.{fen % 100:02d}"


def _day(bank: Bank, day: date) -> str:
    return {"slash": f"{day.year}/{day.month}/{day.day}", "iso": day.isoformat(), "compact": f"{day:%Y%m%d}"}[bank.date_style]


def _name(chance: random.Random, *, is_rare: bool = False) -> str:
    given = "".join(chance.choice(_GIVEN) for _ in range(chance.choice((1, 2, 2))))
    return chance.choice(_SURNAMES) + (chance.choice(_RARE) if is_rare else given)


def _near(chance: random.Random, lon: float, lat: float, spread: float) -> tuple[float, float]:
    return round(lon + chance.uniform(-spread, spread), 6), round(lat + chance.uniform(-spread, spread), 6)
