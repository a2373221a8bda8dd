"""Settings, languages, money and problems: the small parts everything leans on."""

from pathlib import Path

import pytest

from backend.cli.database import rotate_key
from backend.core.fen import Fen, format_yuan
from backend.core.i18n import negotiate
from backend.core.problems import PROBLEM_TYPES, Conflict
from backend.core.rulebook import Breach, Rule, RuleClass, RulesBreached, demand, rule_class
from backend.core.settings import Settings, SettingsError, read_settings
from backend.keys.model import KeyPurpose
from backend.web.app import log_origin


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"FIELDVISIT_DATABASE": "x"}, "FIELDVISIT_DATABASE"),
        ({"FIELDVISIT_THREADS": "many"}, "FIELDVISIT_THREADS"),
        ({"FIELDVISIT_THREADS": "0"}, "FIELDVISIT_THREADS"),
        ({"FIELDVISIT_PUBLIC_URL": "example.org"}, "FIELDVISIT_PUBLIC_URL"),
        ({"FIELDVISIT_PUBLIC_URL": "https://example.org/"}, "FIELDVISIT_PUBLIC_URL"),
        ({"FIELDVISIT_FREE_SHARE_MIN": "2"}, "FIELDVISIT_FREE_SHARE_MIN"),
        ({"FIELDVISIT_DEMO_CLOCK_FILE": "clock"}, "FIELDVISIT_IS_DEMO"),
    ],
)
def test_a_wrong_setting_stops_the_process_by_name(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(environ)


def test_settings_are_read_from_their_variables() -> None:
    environ = {"FIELDVISIT_DATA_FOLDER": "x/y", "FIELDVISIT_THREADS": "4", "FIELDVISIT_TRUSTED_PROXIES": "10.0.0.1, 10.0.0.2", "HOME": "z"}
    settings = read_settings(environ)
    assert settings == Settings(data_folder=Path("x/y"), threads=4, trusted_proxies=("10.0.0.1", "10.0.0.2"))
    assert settings.url == "sqlite:///x/y/fieldvisit.sqlite"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "zh-Hans"), ("en", "en"), ("fr", "zh-Hans"), ("en;q=0.5, zh;q=0.9", "zh-Hans"), ("zh-TW;q=0.4,en-GB;q=0.8", "en"),
        ("en;q=x", "zh-Hans"),
        ("en;q=0", "zh-Hans"), ("*", "zh-Hans"),
    ],
)
def test_the_best_language_is_chosen(header: str, language: str) -> None:
    assert negotiate(header) == language


@pytest.mark.parametrize(("fen", "text"), [(0, "0.00"), (5, "0.05"), (123_456, "1,234.56"), (-100, "-1.00"), (10**13, "100,000,000,000.00")])
def test_fen_are_written_as_yuan(fen: int, text: str) -> None:
    assert format_yuan(Fen(fen)) == text


def test_the_rulebook_has_every_rule_of_the_catalogue() -> None:
    assert len(Rule) == 268
    assert rule_class(Rule.VIS_01) is RuleClass.CORE
    assert rule_class(Rule.VIS_08) is RuleClass.RECORD
    assert sum(rule_class(rule) is RuleClass.PEOPLE for rule in Rule) > 0


def test_demand_refuses_with_every_breach_in_rulebook_order() -> None:
    demand(())
    with pytest.raises(RulesBreached) as refused:
        demand((Breach(Rule.VIS_10, "outside-hours"), Breach(Rule.VIS_01, "one-visitor"), Breach(Rule.DECL_01, "suspended")))
    assert [breach.rule for breach in refused.value.breaches] == [Rule.DECL_01, Rule.VIS_01, Rule.VIS_10]
    assert (refused.value.answered_status, refused.value.answered_code) == (409, "rules-breached")


def test_breaches_of_one_documented_problem_answer_under_its_name() -> None:
    refusal = RulesBreached((Breach(Rule.CASH_01, "none", problem="not-found"),))
    assert (refusal.answered_status, refusal.answered_code) == (404, "not-found")
    mixed = RulesBreached((Breach(Rule.CASH_01, "none", problem="not-found"), Breach(Rule.VIS_01, "one-visitor")))
    assert (mixed.answered_status, mixed.answered_code) == (409, "rules-breached")


def test_every_problem_has_a_title_and_an_explanation() -> None:
    assert [code for code, kind in PROBLEM_TYPES.items() if not kind.title or not kind.explanation or not kind.__doc__] == []


def test_the_log_keeps_its_name_when_the_address_changes() -> None:
    here, there = (Settings(data_folder=Path("d"), key_folder=Path("k"), public_url=url, tenant="agency") for url in ("http://a:8000", "https://b"))
    assert log_origin(here) == log_origin(there) == "fieldvisit/agency"


def test_the_search_key_is_not_rotated(tmp_path: Path) -> None:
    with pytest.raises(Conflict) as refused:
        rotate_key(Settings(data_folder=tmp_path, key_folder=tmp_path, public_url="http://a"), KeyPurpose.SEARCH)
    assert "search key stays" in refused.value.details["reason"]
