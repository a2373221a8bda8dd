"""Plan field days: `solve` makes a plan, `check` judges any plan, `explain` says why a visit was left out. See README.md.

Names load on first use, so that reading a model or judging a plan never loads a solver.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routing.assemble import encode_plan as encode_plan
    from routing.changes import Change as Change
    from routing.changes import ChangeKind as ChangeKind
    from routing.changes import apply_changes as apply_changes
    from routing.check import Cost as Cost
    from routing.check import Violation as Violation
    from routing.check import check as check
    from routing.check import cost as cost
    from routing.check_rules import Code as Code
    from routing.events import ReplanRefused as ReplanRefused
    from routing.explain import explain as explain
    from routing.hand import Draft as Draft
    from routing.hand import lay_out as lay_out
    from routing.limits import Engine as Engine
    from routing.limits import Limits as Limits
    from routing.matrix import TravelMatrix as TravelMatrix
    from routing.matrix import table_matrix as table_matrix
    from routing.matrix import travel_matrix as travel_matrix
    from routing.model import Announced as Announced
    from routing.model import Approval as Approval
    from routing.model import Bank as Bank
    from routing.model import CashRules as CashRules
    from routing.model import Collector as Collector
    from routing.model import Contribution as Contribution
    from routing.model import DoneStop as DoneStop
    from routing.model import Gender as Gender
    from routing.model import GenderRule as GenderRule
    from routing.model import Instance as Instance
    from routing.model import InstanceError as InstanceError
    from routing.model import Location as Location
    from routing.model import LocationKind as LocationKind
    from routing.model import Objective as Objective
    from routing.model import PairingRules as PairingRules
    from routing.model import PairProgress as PairProgress
    from routing.model import PastDay as PastDay
    from routing.model import Plan as Plan
    from routing.model import Route as Route
    from routing.model import SolverRecord as SolverRecord
    from routing.model import Stop as Stop
    from routing.model import StopType as StopType
    from routing.model import TravelModel as TravelModel
    from routing.model import Unserved as Unserved
    from routing.model import Visit as Visit
    from routing.process import Ending as Ending
    from routing.process import Solved as Solved
    from routing.process import SolverDied as SolverDied
    from routing.process import SolverProcess as SolverProcess
    from routing.process import Step as Step
    from routing.provenance import plan_digest as plan_digest
    from routing.reader import instance_object as instance_object
    from routing.reader import load_instance as load_instance
    from routing.reader import load_plan as load_plan
    from routing.reasons import Reason as Reason
    from routing.reasons import ReasonCode as ReasonCode
    from routing.replan import Replanned as Replanned
    from routing.replan import replan as replan
    from routing.replay import PlanRecord as PlanRecord
    from routing.replay import ReplayDiffers as ReplayDiffers
    from routing.replay import ReplayRefused as ReplayRefused
    from routing.replay import load_record as load_record
    from routing.replay import record_of as record_of
    from routing.replay import replay as replay
    from routing.solve import PlanRefused as PlanRefused
    from routing.solve import Progress as Progress
    from routing.solve import solve as solve

_HOMES = {
    "routing.assemble": ("encode_plan",),
    "routing.changes": ("Change", "ChangeKind", "apply_changes"),
    "routing.check": ("Cost", "Violation", "check", "cost"),
    "routing.check_rules": ("Code",),
    "routing.events": ("ReplanRefused",),
    "routing.explain": ("explain",),
    "routing.hand": ("Draft", "lay_out"),
    "routing.limits": ("Engine", "Limits"),
    "routing.matrix": ("TravelMatrix", "table_matrix", "travel_matrix"),
    "routing.model": (
        "Announced", "Approval", "Bank", "CashRules", "Collector", "Contribution", "DoneStop", "Gender", "GenderRule", "Instance",
        "InstanceError", "Location", "LocationKind", "Objective", "PairProgress", "PairingRules", "PastDay", "Plan", "Route",
        "SolverRecord", "Stop", "StopType", "TravelModel", "Unserved", "Visit",
    ),
    "routing.process": ("Ending", "Solved", "SolverDied", "SolverProcess", "Step"),
    "routing.provenance": ("plan_digest",),
    "routing.reader": ("instance_object", "load_instance", "load_plan"),
    "routing.reasons": ("Reason", "ReasonCode"),
    "routing.replan": ("Replanned", "replan"),
    "routing.replay": ("PlanRecord", "ReplayDiffers", "ReplayRefused", "load_record", "record_of", "replay"),
    "routing.solve": ("PlanRefused", "Progress", "solve"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


class _Package(ModuleType):
    """Keep `routing.check`, `routing.solve` and `routing.explain` the functions they name.

    The import system would bind a loaded submodule over the function of the same name, so that the answer to
    `from routing import check` would depend on what was imported before.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME_OF):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module 'routing' has no attribute {name!r}")
        found = getattr(import_module(_HOME_OF[name]), name)
        super().__setattr__(name, found)
        return found


sys.modules[__name__].__class__ = _Package
