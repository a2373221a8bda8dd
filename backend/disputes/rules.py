"""Judgements about declarations and about ruling on them."""

import unicodedata

from backend.core.i18n import N_
from backend.core.problems import Problem
from backend.core.rulebook import Breach, Rule
from backend.disputes.follow_up_model import ANSWERS, REPORTS, FollowUpFacts
from backend.disputes.model import DeclarationFacts, Handwriting, RecordDeletion, Ruling

TEMPLATE, SIDES = "template-not-approved", "id-sides-missing"
TEXT_CODES = frozenset({"text-deviates", "circumstances-or-text-missing"})
"""What the bank decides about; never a reason to turn the declarant away (DECL-10, DECL-11)."""
_BEFORE_REQUEST = frozenset({RecordDeletion.DUE, RecordDeletion.REFUSED})
_BEFORE_ANSWER = frozenset({RecordDeletion.REQUESTED})


class TemplateNotApproved(Problem):
    """The form is not one that the case's bank has approved (DECL-13)."""

    status, code, title = 422, TEMPLATE, N_("The case's bank has not approved this form.")
    explanation = N_("Use the form and version of the day bundle for this bank.")
    finding = code


class IdSidesMissing(Problem):
    """Both sides of the identity card, as two pictures (DECL-12)."""

    status, code, title = 422, SIDES, N_("Both sides of the identity card are needed, as two different pictures.")
    explanation = N_("A second-generation card is photographed on its front and on its back. The same picture twice does not count.")
    finding = code


def judge_declaration(facts: DeclarationFacts) -> tuple[Breach, ...]:
    """Judge a declaration: DECL-04, DECL-10, DECL-11, DECL-12, DECL-13. Empty means complete."""
    return (*judge_form(facts), *judge_text(facts))


def judge_form(facts: DeclarationFacts) -> tuple[Breach, ...]:
    """Judge everything but the declarant's own words."""
    found: list[Breach] = []
    if not (facts.is_written_by_declarant and facts.is_signed_by_declarant):
        found.append(Breach(Rule.DECL_04, "not-by-declarant", expected="written and signed by the cardholder", got="by somebody else"))
    if not facts.page_count:
        found.append(Breach(Rule.DECL_06, "page-missing", expected="a picture of the written declaration", got="none"))
    if not facts.id_front or (facts.id_card_generation == 2 and not facts.id_back - facts.id_front):
        got = "one side" if facts.id_front or facts.id_back else "none"
        found.append(Breach(Rule.DECL_12, SIDES, expected="front and back as two different pictures", got=got, problem=SIDES))
    if not facts.is_template_known:
        found.append(Breach(Rule.DECL_13, TEMPLATE, expected="a form of the case's bank in this version", got="unknown", problem=TEMPLATE))
    elif not facts.is_template_approved:
        found.append(Breach(Rule.DECL_13, TEMPLATE, expected="a form approved by the bank before", got="not approved", problem=TEMPLATE))
    return tuple(found)


def judge_text(facts: DeclarationFacts) -> tuple[Breach, ...]:
    """Judge the declarant's words: special circumstances stated, or the set text copied out."""
    if facts.has_circumstances:
        return ()
    if not facts.has_transcription:
        return (Breach(Rule.DECL_10, "circumstances-or-text-missing", expected="special circumstances, or the set text copied out", got="neither"),)
    if not facts.is_text_equal:
        return (Breach(Rule.DECL_11, "text-deviates", expected="the set text, white space and punctuation aside", got="another text"),)
    return ()


def judge_ruling(*, has_investigator: bool, handwriting: Handwriting | None) -> tuple[Breach, ...]:
    """Judge whether the investigation of a declaration can be concluded: investigator named (DECL-03), handwriting compared (DECL-08)."""
    found: list[Breach] = []
    if not has_investigator:
        found.append(Breach(Rule.DECL_03, "investigator-missing", expected="a named investigator", got="nobody"))
    if handwriting is None:
        found.append(Breach(Rule.DECL_08, "handwriting-missing", expected="a recorded comparison of the handwriting", got="none"))
    return tuple(found)


def judge_investigator(named: object, who: object) -> tuple[Breach, ...]:
    """DECL-03: one designated person investigates; nobody else records what they found."""
    return () if named == who else (Breach(Rule.DECL_03, "not-the-investigator", expected="the named investigator", got="somebody else"),)


def judge_follow_up(facts: FollowUpFacts) -> tuple[Breach, ...]:
    """Judge an act of the bank after its ruling: fraud alone is followed up (DECL-05), in time, in order, by this case's papers (DECL-09)."""
    if facts.ruling is not Ruling.FRAUD or facts.ruled_at is None:
        got = "no ruling" if facts.ruling is None else facts.ruling.value
        return (Breach(Rule.DECL_05, "follow-up-without-fraud", expected=Ruling.FRAUD.value, got=got),)
    found: list[Breach] = []
    if facts.occurred_at < facts.ruled_at:
        found.append(Breach(Rule.DECL_09, "before-the-ruling", expected=f"from {facts.ruled_at.isoformat()} on", got=facts.occurred_at.isoformat()))
    if facts.occurred_at > facts.now:
        found.append(Breach(Rule.DECL_09, "not-yet-happened", expected=f"until {facts.now.isoformat()}", got=facts.occurred_at.isoformat()))
    if facts.act not in REPORTS:
        wanted = _BEFORE_ANSWER if facts.act in ANSWERS else _BEFORE_REQUEST
        if facts.deletion not in wanted:
            found.append(Breach(Rule.DECL_09, "deletion-out-of-order", expected=" or ".join(sorted(wanted)), got=facts.deletion.value))
        elif facts.last_step_at is not None and facts.occurred_at < facts.last_step_at:
            found.append(Breach(
                Rule.DECL_09, "before-the-last-step", expected=f"from {facts.last_step_at.isoformat()} on", got=facts.occurred_at.isoformat()))
    if not facts.is_slip_of_case:
        found.append(Breach(Rule.DECL_09, "slip-not-of-case", expected="a police slip of this very case", got="another thing, or none"))
    return tuple(found)


SET_TEXT = "本人在此慎重声明，从未向{bank}申请办理、使用过信用卡，同时也未曾授权他人代为办理或使用。此张信用卡透支产生的款项也绝非本人所为。"
"""The set text of a declaration (rules.md, appendix 2), the bank's name to be filled in."""


def bare_text(text: str) -> str:
    """Return a text without white space and punctuation, compatibility forms folded: what two writings of the same words share."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(character for character in folded if unicodedata.category(character)[0] not in "PZCS")


def is_set_text(written: str, *, bank_name: str, template_text: str) -> bool:
    """Tell whether somebody wrote out the set text, the bank's name filled in, or the bank's own approved wording of it (DECL-11)."""
    wanted = {bare_text(SET_TEXT.format(bank=bank_name)), bare_text(template_text)}
    return bare_text(written) in wanted - {""}
