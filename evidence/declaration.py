"""The cardholder's written declaration: the set Chinese text, how a copy by hand is compared with it, and what makes the set complete.

A copying error never refuses the cardholder: it is told as `text-deviates`, and the bank decides (DECL-11 is about completeness).
"""

import difflib
import unicodedata
from collections.abc import Mapping
from typing import Final

import msgspec

from evidence.examination import Examination
from evidence.facts import DeclarationFacts, DeclarationForm
from evidence.manifest import Manifest, Role
from evidence.model import Finding, Grade
from evidence.policy import ContentPolicy

SET_TEXT: Final = (
    "本人在此慎重声明,从未向{bank}银行申请办理、使用过信用卡,同时也未曾授权他人代为办理或使用。"
    "此张信用卡透支产生的款项也绝非本人所为。"
)
"""The text a declarant copies out when there are no special circumstances (DECL-11). `{bank}` is the name before 银行."""


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A form version as the bank holds it (DECL-13)."""

    template_id: str
    version: int
    bank: str
    form: DeclarationForm
    text: str                                # Set text with the bank's name filled in.
    is_approved: bool                        # At the bounded time of signing.


class Deviation(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a copy differs, in characters of the bare set text."""

    at: int
    expected: str
    got: str


def set_text(bank_name: str) -> str:
    """Return the set text for a bank, named with or without 银行."""
    return SET_TEXT.format(bank=bank_name.strip().removesuffix("银行"))


def bare(text: str) -> str:
    """Return a text without white space and punctuation, full-width forms folded, as copies are compared."""
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c)[0] not in "ZPC")


def deviations(transcription: str, text: str) -> tuple[Deviation, ...]:
    """Name every place where a transcription differs from the set text; empty when they agree (DECL-11)."""
    expected, got = bare(text), bare(transcription)
    matcher = difflib.SequenceMatcher(None, expected, got, autojunk=False)
    return tuple(
        Deviation(at=start, expected=expected[start:end], got=got[from_:to])
        for tag, start, end, from_, to in matcher.get_opcodes() if tag != "equal")


def judge_declaration(
        claim: Manifest, template: Template | None, content: Mapping[str, Examination], policy: ContentPolicy) -> tuple[Finding, ...]:
    """Judge a signed declaration for completeness (DECL-04, DECL-10 to DECL-13). Empty means complete."""
    assert isinstance(claim.facts, DeclarationFacts)
    return (*_judge_template(claim, claim.facts, template), *_judge_text(claim.facts), *_judge_pages(claim, claim.facts, content, policy))


def _judge_template(claim: Manifest, facts: DeclarationFacts, template: Template | None) -> list[Finding]:
    if template is None or (template.template_id, template.version) != (facts.template_id, facts.template_version):
        return [_found("template-not-approved", "DECL-13", "a form of the bank in this version", "unknown", pointer="/facts/template_id")]
    findings = []
    if template.bank != claim.bank or template.form is not facts.form or not template.is_approved:
        findings.append(_found(
            "template-not-approved", "DECL-13", "approved by the case's bank for this form", "not so", pointer="/facts/template_id"))
    if deviations(facts.text, template.text):
        findings.append(_found("template-text-differs", "DECL-13", "the approved text", "another text was shown", pointer="/facts/text"))
    return findings


def _judge_text(facts: DeclarationFacts) -> list[Finding]:
    findings = []
    if facts.special_circumstances is not None and not bare(facts.special_circumstances):
        findings.append(_found("circumstances-missing", "DECL-10", "special circumstances, or none said so", "blank",
                               pointer="/facts/special_circumstances"))
    if facts.special_circumstances is None:
        if facts.transcription is None or not bare(facts.transcription):
            findings.append(_found("transcription-missing", "DECL-11", "the set text copied out", "nothing", pointer="/facts/transcription"))
        elif places := deviations(facts.transcription, facts.text):
            told = "; ".join(f"{one.at}: {one.expected or '∅'} → {one.got or '∅'}" for one in places[:5])
            findings.append(_found("text-deviates", "DECL-11", "the set text", told, pointer="/facts/transcription"))
    if not (facts.written_by_declarant and facts.signed_by_declarant):
        findings.append(_found("not-by-declarant", "DECL-04", "written and signed by the cardholder", "not both"))
    return findings


def _judge_pages(claim: Manifest, facts: DeclarationFacts, content: Mapping[str, Examination], policy: ContentPolicy) -> list[Finding]:
    findings = []
    if not any(item.role is Role.DECLARATION_PAGE for item in claim.items):
        findings.append(_found("declaration-page-missing", "DECL-11", "a picture of each page", "none", pointer="/items"))
    fronts, backs = ([item for item in claim.items if item.role is role] for role in (Role.ID_FRONT, Role.ID_BACK))
    if facts.id_card_generation == 2 and not (fronts and backs):
        findings.append(_found("id-sides-missing", "DECL-12", "front and back", f"{len(fronts)} front, {len(backs)} back", pointer="/items"))
    return [*findings, *judge_sides(claim, content, policy)]


def judge_sides(claim: Manifest, content: Mapping[str, Examination], policy: ContentPolicy) -> tuple[Finding, ...]:
    """Judge whether front and back of an identity card are two pictures, by digest and by look: the same one re-encoded is one (DECL-12)."""
    fronts, backs = ([item for item in claim.items if item.role is role] for role in (Role.ID_FRONT, Role.ID_BACK))
    return tuple(
        _found("id-sides-missing", "DECL-12", "two different pictures", "the same picture twice", pointer=back.item_id)
        for front in fronts for back in backs
        if front.sha256 == back.sha256 or _looks_alike(content.get(front.item_id), content.get(back.item_id), policy))


def _looks_alike(front: Examination | None, back: Examination | None, policy: ContentPolicy) -> bool:
    if front is None or back is None or front.photo is None or back.photo is None:
        return False
    bits = (int(front.photo.phash, 16) ^ int(back.photo.phash, 16)).bit_count()
    return bits < policy.id_sides_bits_min


def _found(name: str, rule: str, expected: str, got: str, *, pointer: str = "") -> Finding:
    grade = Grade.INFO if name == "text-deviates" else Grade.DOUBT
    return Finding(name=name, grade=grade, rules=(rule,), pointer=pointer, expected=expected, got=got)
