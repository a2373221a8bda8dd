"""The forgery declaration: refusals by the book, and no cardholder refused for a slip of the pen."""

from typing import Any

import pytest

from evidence.declaration import Deviation, Template, bare, deviations, judge_declaration, set_text
from evidence.examination import Examination, Exif, Photo, State, Tail
from evidence.facts import DeclarationFacts, DeclarationForm, Denial, Kind
from evidence.manifest import Role
from evidence.model import Grade
from evidence.policy import DEFAULT
from tests.unit.evidence import builders

TEXT = set_text("某某")
TEMPLATE = Template(template_id="form-1", version=3, bank="bank-1", form=DeclarationForm.FORGERY, text=TEXT, is_approved=True)
ITEMS = (builders.item("p1", role=Role.DECLARATION_PAGE, sha256="1" * 64), builders.item("f", role=Role.ID_FRONT, sha256="2" * 64),
         builders.item("b", role=Role.ID_BACK, sha256="3" * 64))


def seen(phash: str) -> Examination:
    photo = Photo(width=9, height=9, frames=1, tail=Tail.NONE, tail_bytes=0, phash=phash, dhash=phash, mirror_phash=phash, mirror_dhash=phash,
    exif=Exif())
    return Examination(state=State.EXAMINED, photo=photo)


def found(template: Template | None = TEMPLATE, items: Any = ITEMS, content: Any = None, **facts: Any) -> dict[str, Grade]:
    members: dict[str, Any] = {
        "denial": Denial.APPLICATION, "form": DeclarationForm.FORGERY, "template_id": "form-1", "template_version": 3, "text": TEXT,
        "special_circumstances": None, "transcription": TEXT, "written_by_declarant": True, "signed_by_declarant": True, "id_card_generation": 2}
    claim = builders.manifest(kind=Kind.DECLARATION, facts=DeclarationFacts(**{**members, **facts}), items=items)
    return {finding.name: finding.grade for finding in judge_declaration(claim, template, content or {}, DEFAULT)}


@pytest.mark.parametrize("template", [
    None, Template(template_id="form-1", version=2, bank="bank-1", form=DeclarationForm.FORGERY, text=TEXT, is_approved=True),
    Template(template_id="form-1", version=3, bank="bank-2", form=DeclarationForm.FORGERY, text=TEXT, is_approved=True),
    Template(template_id="form-1", version=3, bank="bank-1", form=DeclarationForm.NOT_MY_CARD, text=TEXT, is_approved=True),
    Template(template_id="form-1", version=3, bank="bank-1", form=DeclarationForm.FORGERY, text=TEXT, is_approved=False),
])
def test_DECL_13_a_form_the_bank_did_not_approve_is_found(template: Template | None) -> None:
    assert found(template) == {"template-not-approved": Grade.DOUBT}


def test_DECL_13_a_form_with_another_text_is_found() -> None:
    assert "template-text-differs" in found(text=set_text("别的"), transcription=set_text("别的"))


def test_DECL_12_one_side_or_the_same_picture_twice_is_found() -> None:
    assert found(items=ITEMS[:2]) == {"id-sides-missing": Grade.DOUBT}
    assert found(items=(ITEMS[0], ITEMS[2])) == {"id-sides-missing": Grade.DOUBT}
    same = builders.item("b", role=Role.ID_BACK, sha256="2" * 64)
    assert found(items=(*ITEMS[:2], same)) == {"id-sides-missing": Grade.DOUBT}
    assert found(content={"f": seen("00ff00ff00ff00ff"), "b": seen("00ff00ff00ff00fe")}) == {"id-sides-missing": Grade.DOUBT}
    assert found(content={"f": seen("00ff00ff00ff00ff"), "b": seen("ff00ff00ff00ff00")}) == {}
    assert found(items=ITEMS[:2], id_card_generation=1) == {}


def test_DECL_10_circumstances_said_but_blank_are_found() -> None:
    assert found(special_circumstances="  。", transcription=None) == {"circumstances-missing": Grade.DOUBT}
    assert found(special_circumstances="卡由他人冒领", transcription=None) == {}


def test_DECL_11_nothing_copied_out_is_found() -> None:
    assert found(transcription=None) == {"transcription-missing": Grade.DOUBT}
    assert found(transcription=" ,。") == {"transcription-missing": Grade.DOUBT}
    assert found(items=ITEMS[1:]) == {"declaration-page-missing": Grade.DOUBT}


def test_DECL_11_a_copying_error_is_told_and_never_more() -> None:
    assert found(transcription=TEXT.replace("绝非", "决非")) == {"text-deviates": Grade.INFO}
    assert deviations(TEXT.replace("绝非", "决非"), TEXT) == (Deviation(at=54, expected="绝", got="决"),)


def test_DECL_04_written_or_signed_by_somebody_else_is_found() -> None:
    assert found(written_by_declarant=False) == {"not-by-declarant": Grade.DOUBT}
    assert found(signed_by_declarant=False) == {"not-by-declarant": Grade.DOUBT}


def test_DECL_11_the_set_text_is_the_seed_s_with_either_comma() -> None:
    seed = "本人在此慎重声明从未向XX银行申请办理使用过信用卡同时也未曾授权他人代为办理或使用此张信用卡透支产生的款项也绝非本人所为"
    assert bare(set_text("XX")) == seed
    assert len(seed) == 60
    assert deviations(seed, set_text("XX银行")) == ()
    assert deviations(set_text("XX").replace("、", ",").replace("。", " 。\n"), set_text("XX")) == ()
    assert deviations(set_text("XX").replace(",", "，"), set_text("XX")) == ()
