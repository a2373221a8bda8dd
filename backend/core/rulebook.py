"""The rulebook's ids and what a breach of one looks like.

A judgement is a pure function from facts to a tuple of `Breach`; empty means clean. `demand` turns a judgement
into a refusal. Ids are stable: they are cited in code, problem documents and tests, and never renumbered.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from backend.core.i18n import N_
from backend.core.problems import PROBLEM_TYPES, Problem


class RuleClass(StrEnum):
    """What the system owes a rule: enforce it, keep its record, offer a neighbour's part, or support people."""

    CORE = "CORE"
    RECORD = "RECORD"
    ADJACENT = "ADJACENT"
    PEOPLE = "PEOPLE"


class Rule(StrEnum):
    """Every rule of the catalogue by its id."""

    VIS_01 = "VIS-01"
    VIS_02 = "VIS-02"
    VIS_03 = "VIS-03"
    VIS_04 = "VIS-04"
    VIS_05 = "VIS-05"
    VIS_06 = "VIS-06"
    VIS_07 = "VIS-07"
    VIS_08 = "VIS-08"
    VIS_09 = "VIS-09"
    VIS_10 = "VIS-10"
    VIS_11 = "VIS-11"
    VIS_12 = "VIS-12"
    VIS_13 = "VIS-13"
    VIS_14 = "VIS-14"
    VIS_15 = "VIS-15"
    VIS_16 = "VIS-16"
    VIS_17 = "VIS-17"
    VIS_18 = "VIS-18"
    REQ_01 = "REQ-01"
    REQ_02 = "REQ-02"
    REQ_03 = "REQ-03"
    REQ_04 = "REQ-04"
    REQ_05 = "REQ-05"
    REQ_06 = "REQ-06"
    REQ_07 = "REQ-07"
    REQ_08 = "REQ-08"
    REQ_09 = "REQ-09"
    REQ_10 = "REQ-10"
    CASH_01 = "CASH-01"
    CASH_02 = "CASH-02"
    CASH_03 = "CASH-03"
    CASH_04 = "CASH-04"
    CASH_05 = "CASH-05"
    CASH_06 = "CASH-06"
    CASH_07 = "CASH-07"
    CASH_08 = "CASH-08"
    CASH_09 = "CASH-09"
    CASH_10 = "CASH-10"
    CASH_11 = "CASH-11"
    CASH_12 = "CASH-12"
    CASH_13 = "CASH-13"
    EVD_01 = "EVD-01"
    EVD_02 = "EVD-02"
    EVD_03 = "EVD-03"
    EVD_04 = "EVD-04"
    EVD_05 = "EVD-05"
    EVD_06 = "EVD-06"
    EVD_07 = "EVD-07"
    EVD_08 = "EVD-08"
    EVD_09 = "EVD-09"
    EVD_10 = "EVD-10"
    EVD_11 = "EVD-11"
    EVD_12 = "EVD-12"
    EVD_13 = "EVD-13"
    EVD_14 = "EVD-14"
    DECL_01 = "DECL-01"
    DECL_02 = "DECL-02"
    DECL_03 = "DECL-03"
    DECL_04 = "DECL-04"
    DECL_05 = "DECL-05"
    DECL_06 = "DECL-06"
    DECL_07 = "DECL-07"
    DECL_08 = "DECL-08"
    DECL_09 = "DECL-09"
    DECL_10 = "DECL-10"
    DECL_11 = "DECL-11"
    DECL_12 = "DECL-12"
    DECL_13 = "DECL-13"
    DECL_14 = "DECL-14"
    CASE_01 = "CASE-01"
    CASE_02 = "CASE-02"
    CASE_03 = "CASE-03"
    CASE_04 = "CASE-04"
    CASE_05 = "CASE-05"
    CASE_06 = "CASE-06"
    CASE_07 = "CASE-07"
    CASE_08 = "CASE-08"
    CASE_09 = "CASE-09"
    CASE_10 = "CASE-10"
    CASE_11 = "CASE-11"
    CASE_12 = "CASE-12"
    CASE_13 = "CASE-13"
    CASE_14 = "CASE-14"
    CASE_15 = "CASE-15"
    CASE_16 = "CASE-16"
    CASE_17 = "CASE-17"
    CASE_18 = "CASE-18"
    CASE_19 = "CASE-19"
    CASE_20 = "CASE-20"
    CASE_21 = "CASE-21"
    CASE_22 = "CASE-22"
    CASE_23 = "CASE-23"
    CASE_24 = "CASE-24"
    CASE_25 = "CASE-25"
    CASE_26 = "CASE-26"
    CASE_27 = "CASE-27"
    CASE_28 = "CASE-28"
    CASE_29 = "CASE-29"
    CASE_30 = "CASE-30"
    CASE_31 = "CASE-31"
    CASE_32 = "CASE-32"
    CASE_33 = "CASE-33"
    CASE_34 = "CASE-34"
    CASE_35 = "CASE-35"
    CASE_36 = "CASE-36"
    CASE_37 = "CASE-37"
    CASE_38 = "CASE-38"
    CASE_39 = "CASE-39"
    CASE_40 = "CASE-40"
    CONT_01 = "CONT-01"
    CONT_02 = "CONT-02"
    CONT_03 = "CONT-03"
    CONT_04 = "CONT-04"
    CONT_05 = "CONT-05"
    CONT_06 = "CONT-06"
    CONT_07 = "CONT-07"
    CONT_08 = "CONT-08"
    CONT_09 = "CONT-09"
    CONT_10 = "CONT-10"
    CONT_11 = "CONT-11"
    CONT_12 = "CONT-12"
    CONT_13 = "CONT-13"
    CONT_14 = "CONT-14"
    CONT_15 = "CONT-15"
    CONT_16 = "CONT-16"
    CONT_17 = "CONT-17"
    CONT_18 = "CONT-18"
    CONT_19 = "CONT-19"
    CONT_20 = "CONT-20"
    CONT_21 = "CONT-21"
    CONT_22 = "CONT-22"
    CONT_23 = "CONT-23"
    CONT_24 = "CONT-24"
    CONT_25 = "CONT-25"
    CONT_26 = "CONT-26"
    CONT_27 = "CONT-27"
    CONT_28 = "CONT-28"
    CONT_29 = "CONT-29"
    LTR_01 = "LTR-01"
    LTR_02 = "LTR-02"
    LTR_03 = "LTR-03"
    LTR_04 = "LTR-04"
    LTR_05 = "LTR-05"
    LTR_06 = "LTR-06"
    LTR_07 = "LTR-07"
    LTR_08 = "LTR-08"
    LTR_09 = "LTR-09"
    LTR_10 = "LTR-10"
    LTR_11 = "LTR-11"
    LTR_12 = "LTR-12"
    LTR_13 = "LTR-13"
    POL_01 = "POL-01"
    POL_02 = "POL-02"
    POL_03 = "POL-03"
    POL_04 = "POL-04"
    POL_05 = "POL-05"
    POL_06 = "POL-06"
    POL_07 = "POL-07"
    POL_08 = "POL-08"
    POL_09 = "POL-09"
    POL_10 = "POL-10"
    POL_11 = "POL-11"
    POL_12 = "POL-12"
    POL_13 = "POL-13"
    POL_14 = "POL-14"
    LEGAL_01 = "LEGAL-01"
    LEGAL_02 = "LEGAL-02"
    LEGAL_03 = "LEGAL-03"
    LEGAL_04 = "LEGAL-04"
    LEGAL_05 = "LEGAL-05"
    LEGAL_06 = "LEGAL-06"
    LEGAL_07 = "LEGAL-07"
    LEGAL_08 = "LEGAL-08"
    LEGAL_09 = "LEGAL-09"
    LEGAL_10 = "LEGAL-10"
    LEGAL_11 = "LEGAL-11"
    LEGAL_12 = "LEGAL-12"
    LEGAL_13 = "LEGAL-13"
    LEGAL_14 = "LEGAL-14"
    ARCH_01 = "ARCH-01"
    ARCH_02 = "ARCH-02"
    ARCH_03 = "ARCH-03"
    ARCH_04 = "ARCH-04"
    ARCH_05 = "ARCH-05"
    ARCH_06 = "ARCH-06"
    ARCH_07 = "ARCH-07"
    ARCH_08 = "ARCH-08"
    ARCH_09 = "ARCH-09"
    ARCH_10 = "ARCH-10"
    ARCH_11 = "ARCH-11"
    ARCH_12 = "ARCH-12"
    ARCH_13 = "ARCH-13"
    ARCH_14 = "ARCH-14"
    ARCH_15 = "ARCH-15"
    ARCH_16 = "ARCH-16"
    SEC_01 = "SEC-01"
    SEC_02 = "SEC-02"
    SEC_03 = "SEC-03"
    SEC_04 = "SEC-04"
    SEC_05 = "SEC-05"
    SEC_06 = "SEC-06"
    SEC_07 = "SEC-07"
    PERF_01 = "PERF-01"
    PERF_02 = "PERF-02"
    PERF_03 = "PERF-03"
    PERF_04 = "PERF-04"
    PERF_05 = "PERF-05"
    PERF_06 = "PERF-06"
    PERF_07 = "PERF-07"
    PERF_08 = "PERF-08"
    PERF_09 = "PERF-09"
    PERF_10 = "PERF-10"
    PERF_11 = "PERF-11"
    PERF_12 = "PERF-12"
    PERF_13 = "PERF-13"
    PERF_14 = "PERF-14"
    PERF_15 = "PERF-15"
    PERF_16 = "PERF-16"
    PERF_17 = "PERF-17"
    PERF_18 = "PERF-18"
    TEAM_01 = "TEAM-01"
    TEAM_02 = "TEAM-02"
    TEAM_03 = "TEAM-03"
    TEAM_04 = "TEAM-04"
    TEAM_05 = "TEAM-05"
    TEAM_06 = "TEAM-06"
    TEAM_07 = "TEAM-07"
    TEAM_08 = "TEAM-08"
    TEAM_09 = "TEAM-09"
    TEAM_10 = "TEAM-10"
    TEAM_11 = "TEAM-11"
    TEAM_12 = "TEAM-12"
    TEAM_13 = "TEAM-13"
    SYS_01 = "SYS-01"
    SYS_02 = "SYS-02"
    SYS_03 = "SYS-03"
    SYS_04 = "SYS-04"
    SYS_05 = "SYS-05"
    SYS_06 = "SYS-06"
    SYS_07 = "SYS-07"
    SYS_08 = "SYS-08"
    SYS_09 = "SYS-09"
    SYS_10 = "SYS-10"
    SYS_11 = "SYS-11"
    SYS_12 = "SYS-12"
    SYS_13 = "SYS-13"
    SYS_14 = "SYS-14"
    SYS_15 = "SYS-15"
    SYS_16 = "SYS-16"
    SYS_17 = "SYS-17"
    BANK_01 = "BANK-01"
    BANK_02 = "BANK-02"
    BANK_03 = "BANK-03"
    BANK_04 = "BANK-04"
    BANK_05 = "BANK-05"
    BANK_06 = "BANK-06"
    BANK_07 = "BANK-07"
    BANK_08 = "BANK-08"
    BANK_09 = "BANK-09"
    BANK_10 = "BANK-10"
    BANK_11 = "BANK-11"
    BANK_12 = "BANK-12"
    BANK_13 = "BANK-13"
    BANK_14 = "BANK-14"
    BANK_15 = "BANK-15"
    BANK_16 = "BANK-16"
    BANK_17 = "BANK-17"
    BANK_18 = "BANK-18"


_NOT_CORE: Mapping[RuleClass, str] = MappingProxyType({
    RuleClass.RECORD: (
        "VIS-08 VIS-12 VIS-13 VIS-18 REQ-05 REQ-07 REQ-10 CASH-10 CASH-12 EVD-05 EVD-11 EVD-12 EVD-14 DECL-05 DECL-06 DECL-09 "
        "DECL-14 CASE-02 CASE-04 CASE-05 CASE-07 CASE-09 CASE-10 CASE-11 CASE-12 CASE-13 CASE-14 CASE-15 CASE-16 CASE-17 CASE-18 "
        "CASE-19 CASE-20 CASE-21 CASE-22 CASE-23 CASE-27 CASE-29 CASE-30 CASE-31 CASE-32 CASE-33 CASE-34 CASE-37 CASE-38 CONT-01 "
        "CONT-13 CONT-14 CONT-17 CONT-18 CONT-23 CONT-24 CONT-25 CONT-26 CONT-28 LTR-02 LTR-12 POL-05 POL-11 LEGAL-01 LEGAL-02 "
        "LEGAL-03 LEGAL-04 LEGAL-05 LEGAL-06 LEGAL-10 ARCH-02 ARCH-03 ARCH-04 ARCH-05 ARCH-06 ARCH-07 PERF-01 PERF-02 PERF-03 "
        "PERF-04 PERF-07 PERF-08 PERF-09 PERF-10 PERF-11 PERF-13 PERF-14 PERF-17 TEAM-02 TEAM-03 TEAM-04 TEAM-09 TEAM-10 SYS-14 "
        "SYS-15 SYS-17 BANK-04 BANK-05 BANK-06 BANK-07 BANK-09 BANK-10 BANK-13 BANK-15 BANK-17 "
    ),
    RuleClass.ADJACENT: (
        "CASH-11 CASH-13 CASE-06 CASE-08 CASE-24 CASE-25 CASE-35 CASE-36 CASE-40 CONT-16 CONT-19 CONT-20 CONT-21 CONT-22 LTR-09 "
        "LTR-10 LTR-11 LTR-13 LEGAL-07 LEGAL-08 LEGAL-09 LEGAL-12 PERF-06 PERF-12 PERF-16 SYS-01 SYS-02 SYS-03 SYS-04 SYS-05 "
        "SYS-06 SYS-07 SYS-08 SYS-09 SYS-10 SYS-11 SYS-12 SYS-13 BANK-11 BANK-12 BANK-14 BANK-16 "
    ),
    RuleClass.PEOPLE: (
        "CONT-15 CONT-27 CONT-29 LEGAL-13 LEGAL-14 ARCH-15 ARCH-16 SEC-07 PERF-05 PERF-15 PERF-18 TEAM-05 TEAM-06 TEAM-07 TEAM-08 "
        "TEAM-11 TEAM-12 TEAM-13 SYS-16 BANK-18 "
    ),
})
_CLASS_OF: Mapping[Rule, RuleClass] = MappingProxyType({Rule(name): kind for kind, names in _NOT_CORE.items() for name in names.split()})


def rule_class(rule: Rule) -> RuleClass:
    """Return the class of `rule`; CORE unless the catalogue says otherwise."""
    return _CLASS_OF.get(rule, RuleClass.CORE)


class Breach(msgspec.Struct, frozen=True):
    """One broken rule, as a value.

    `code` is a stable kebab-case name; `expected` and `got` are short machine-made texts without personal data.
    `problem` names a documented problem type to answer under instead of `rules-breached`.
    """

    rule: Rule
    code: str
    expected: str = ""
    got: str = ""
    problem: str | None = None


class RulesBreached(Problem):
    """A request for leave that breaks rules: all breaches at once, in rulebook order."""

    status, code, title = 409, "rules-breached", N_("This would break the rules.")
    explanation = N_("Each breach names its rule, what was expected and what was got.")

    def __init__(self, breaches: Iterable[Breach]) -> None:
        self.breaches = tuple(sorted(breaches, key=lambda breach: (breach.rule, breach.code)))
        assert self.breaches, "a refusal names at least one breach"
        super().__init__(breaches=self.breaches)

    def _special(self) -> type[Problem] | None:
        named = {breach.problem for breach in self.breaches}
        only = next(iter(named)) if len(named) == 1 else None
        return PROBLEM_TYPES.get(only) if only else None

    @property
    def answered_status(self) -> int:
        """The status of the one special problem that every breach names, else 409."""
        special = self._special()
        return special.status if special else self.status

    @property
    def answered_code(self) -> str:
        """The one special problem that every breach names, else `rules-breached`."""
        special = self._special()
        return special.code if special else self.code


def demand(breaches: tuple[Breach, ...]) -> None:
    """Refuse with every breach at once.

    Raises:
        RulesBreached: `breaches` is not empty.
    """
    if breaches:
        raise RulesBreached(breaches)
