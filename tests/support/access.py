"""Who may use each route: the one table that the access tests read. A new route needs a row here, or they fail.

`permission` is what a role must be granted, None for every signed-in person. `whose` says to whom the thing belongs that the row's
request names: everybody else with the permission gets 404. `$name` in a body or query stands for a thing of `tests.support.belongings`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from backend.auth.actors import Role
from backend.auth.permissions import Permission

P = Permission
EXPORT = {"purpose": "audit"}
TEXT = "as agreed on the phone"


class Whose(StrEnum):
    """Who sees the thing that a request names."""

    NOBODY = "nobody"          # It names nothing of anybody's.
    CASE = "case"              # Branch sh1, and bank A.
    BRANCH = "branch"          # Branch sh1; no bank.
    BANK = "bank"              # The agency, and bank A.
    OWN_BANK = "own bank"      # Bank A alone.
    ONE = "one"                # The one person whom the row names.


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected of one route."""

    permission: P | None = None
    whose: Whose = Whose.NOBODY
    body: Any = None
    query: Mapping[str, str] = {}
    path: Mapping[str, str] = {}                # Path parameters that stand for another thing than their name says.
    content: str = "application/json"
    not_roles: frozenset[Role] = frozenset()    # Holders of the permission who still may not: 403.
    or_permission: P | None = None
    one: str = ""
    not_one: str = ""                           # Who may do it, but not this one: made by themselves.


OPEN = frozenset({
    "logIn", "acceptInvitation", "showLogin", "submitLogin", "showInvitation", "submitInvitation", "readPublicKeys", "verifyReceipt",
    "beginEnrolment", "completeEnrolment", "issueToken", "describeUploads", "healthLive", "healthReady", "metrics", "listProblems", "showProblem",
    "consoleSchema", "phonesSchema", "readLogCheckpoint", "readLogTile", "readWitnessedCheckpoint",
    "readLogStamp", "askForWitness", "submitCosignature",
})
"""Routes that ask nobody who they are."""
UPLOADS = frozenset({"createUpload", "sendUploadPiece", "readUploadOffset", "terminateUpload"})
"""Routes that ask for an upload token, which names its item."""

_FORM = "application/x-www-form-urlencoded"
_PLACE = {"lon": 121.47, "lat": 31.23, "datum": "wgs84"}
_DAY = {"staffId": "$staff_id", "on": "$on", "isAvailable": True, "shiftFromS": 28_800, "shiftToS": 64_800}

SESSION = {
    "logOut": Row(), "readMe": Row(), "submitLogout": Row(body={"csrf": "$csrf"}, content=_FORM), "showDay": Row(),
    "showAuthority": Row(permission=P.CASH_AUTHORISE),
    "showVisit": Row(permission=P.VISIT_READ, whose=Whose.CASE),
    "showPlan": Row(permission=P.PLAN_READ, whose=Whose.BRANCH),
    "showPlans": Row(permission=P.PLAN_READ),
    "showReplan": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH),
    "submitReplan": Row(
        permission=P.PLAN_MAKE, whose=Whose.BRANCH, path={"plan_id": "ordered_plan"}, content=_FORM, body={"csrf": "$csrf", "newest": "1"}),
    "showDraft": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH),
    "submitDraft": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, content=_FORM, body={
        "csrf": "$csrf", "newest": "1", "change": "remove.00000000-0000-0000-0000-000000000001"}),
    "submitPublication": Row(
        permission=P.PLAN_PUBLISH, whose=Whose.BRANCH, path={"plan_id": "ordered_plan"}, content=_FORM, body={"csrf": "$csrf"}),
    **{name: Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, path={"plan_id": "ordered_plan"}, content=_FORM, body={"csrf": "$csrf"})
       for name in ("submitDiscard", "submitCancel", "submitFinish")},
    "showDaySheet": Row(permission=P.PLAN_PUBLISH, whose=Whose.BRANCH, path={"number": "=1"}),
    "readDaySheet": Row(permission=P.PLAN_PUBLISH, whose=Whose.BRANCH, path={"number": "=1"}),
    "showCase": Row(permission=P.CASE_READ, whose=Whose.CASE),
    "showOffers": Row(permission=P.CASE_READ), "showCloses": Row(permission=P.CASH_READ),
    "submitClose": Row(
        permission=P.CASH_RECONCILE, whose=Whose.BRANCH, content=_FORM, body={"csrf": "$csrf", "branch_id": "$branch", "on": "$on"}),
    "submitProposal": Row(permission=P.PROPOSAL_MAKE, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "kind": "reactivation"}),
    "submitOffer": Row(permission=P.PROPOSAL_DECIDE, whose=Whose.OWN_BANK, content=_FORM, body={"csrf": "$csrf", "valid_to_on": "2026-12-31"}),
    "submitDecline": Row(permission=P.PROPOSAL_DECIDE, whose=Whose.OWN_BANK, content=_FORM, body={"csrf": "$csrf"}),
    "submitRevoke": Row(permission=P.PROPOSAL_DECIDE, whose=Whose.OWN_BANK, content=_FORM, body={"csrf": "$csrf"}),
    "submitWithdraw": Row(permission=P.PROPOSAL_MAKE, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf"}),
    "submitAccept": Row(permission=P.PROPOSAL_MAKE, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf"}),
    "submitRenewal": Row(permission=P.DEVICE_APPROVE, whose=Whose.BRANCH, content=_FORM, body={"csrf": "$csrf"}),
    "submitWitness": Row(permission=P.BANK_KEY_ENROL, content=_FORM, body={
        "csrf": "$csrf", "name": "w.example/b", "key": "A" * 43 + "=", "proof": "A" * 86 + "=="}),
    "submitWitnessEnd": Row(permission=P.BANK_KEY_ENROL, whose=Whose.OWN_BANK, content=_FORM, body={"csrf": "$csrf", "name": "$witness"}),
    "showProductions": Row(permission=P.EVIDENCE_READ), "showDestructions": Row(permission=P.EVIDENCE_READ),
    "showRenewals": Row(permission=P.DEVICE_APPROVE), "showWitnesses": Row(permission=P.BANK_READ),
    "submitProduction": Row(permission=P.ORIGINAL_REQUEST, whose=Whose.OWN_BANK, content=_FORM, body={
        "csrf": "$csrf", "case_id": "$case_id", "item": "$item_key", "recipient": "court", "x": "$key_x", "y": "$key_y", "purpose": "litigation",
        "reason": TEXT}),
    "submitProductionDecision": Row(permission=P.ORIGINAL_APPROVE, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "answer": "refuse"}),
    "submitProductionPack": Row(permission=P.ORIGINAL_REQUEST, whose=Whose.OWN_BANK, content=_FORM, body={"csrf": "$csrf"}),
    "submitDestruction": Row(
        permission=P.EVIDENCE_DESTROY, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "case_id": "$case_id", "ground": "term_over"}),
    "submitTerm": Row(
        permission=P.EVIDENCE_DESTROY, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "case_id": "$case_id", "until_on": "2040-01-01"}),
    "submitDestructionDecision": Row(permission=P.EVIDENCE_DESTROY, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "answer": "refuse"}),
    "showFollowUps": Row(permission=P.DISPUTE_READ, or_permission=P.FRAUD_FOLLOW),
    "submitFollowUp": Row(permission=P.FRAUD_FOLLOW, whose=Whose.CASE, content=_FORM, body={
        "csrf": "$csrf", "act": "police_reported", "occurred": "2026-11-27T10:00:00", "reference": "P-1"}),
    "showReviews": Row(permission=P.VISIT_REVIEW),
    "submitItemReview": Row(
        permission=P.VISIT_REVIEW, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "verdict": "comment", "comment": TEXT}),
    "submitMask": Row(permission=P.VISIT_REVIEW, whose=Whose.CASE, content=_FORM, body={
        "csrf": "$csrf", "reason": "child", "left": "1", "top": "1", "right": "9", "bottom": "9"}),
    "submitDecision": Row(
        permission=P.VISIT_REVIEW, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "verdict": "release", "reason": TEXT},
        not_roles=frozenset({Role.BANK_LIAISON})),
    "submitHold": Row(permission=P.HOLD_MANAGE, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "ground": "police", "reason": TEXT}),
    "submitLift": Row(
        permission=P.HOLD_MANAGE, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "reason": TEXT}, not_roles=frozenset({Role.BANK_LIAISON})),
    "showRecordings": Row(permission=P.EVIDENCE_READ, whose=Whose.CASE),
    "submitRecording": Row(permission=P.RECORDING_IMPORT, whose=Whose.CASE, content="multipart/form-data", body={
        "csrf": "$csrf", "equipment": "$recorder", "started": "2026-11-27T09:00:00", "file": "no sound either"}),
    "submitPack": Row(permission=P.EVIDENCE_EXPORT, whose=Whose.CASE, content=_FORM, body={"csrf": "$csrf", "purpose": "audit"}),
    "submitCopies": Row(
        permission=P.EVIDENCE_READ, whose=Whose.CASE, body={"purpose": "audit", "item": "$item_key", "csrf": "$csrf"}, content=_FORM),
}
PEOPLE = {
    "listStaff": Row(permission=P.STAFF_READ),
    "createStaff": Row(permission=P.STAFF_MANAGE, whose=Whose.BRANCH, body={
        "employeeNo": "E-1000", "name": "New", "roles": ["dispatcher"], "joinedOn": "2026-11-01", "branchId": "$branch"}),
    "listBranches": Row(),
    "openBranch": Row(permission=P.STAFF_MANAGE, body={
        "code": "GZ1", "nameZh": "广州", "nameEn": "Canton", "timezone": "Asia/Shanghai", "office": _PLACE}),
    "dismissStaff": Row(permission=P.STAFF_MANAGE, whose=Whose.BRANCH, body={"leftOn": "$on"}),
    "inviteStaff": Row(permission=P.STAFF_MANAGE, whose=Whose.BRANCH, path={"staff_id": "newcomer"}),
    "confirmInvitation": Row(permission=P.STAFF_CONFIRM, whose=Whose.BANK, path={"staff_id": "bank_newcomer"}),
    "askLoginReset": Row(permission=P.DEVICE_APPROVE, whose=Whose.BRANCH),
    "grantLoginReset": Row(permission=P.DEVICE_APPROVE, whose=Whose.BRANCH),
    "addCredential": Row(permission=P.STAFF_MANAGE, whose=Whose.BRANCH, body={
        "bankId": "$bank_id", "number": "AUTH-1", "validFromOn": "2026-01-01", "validToOn": "2027-01-01"}),
    "revokeCredential": Row(permission=P.STAFF_MANAGE, whose=Whose.BRANCH),
    "recordQualification": Row(permission=P.STAFF_MANAGE, whose=Whose.BRANCH, body={
        "kind": "field_visit", "isLead": True, "validToOn": "2027-11-01", "assessorId": "$investigator", "testResult": "passed 90/100"}),
    "setSkills": Row(permission=P.STAFF_MANAGE, whose=Whose.BRANCH, body={"skills": [{"kind": "language", "value": "wuu"}]}),
    "excludePair": Row(permission=P.WORKDAY_MANAGE, whose=Whose.BRANCH, body={
        "staffId": "$staff_id", "otherId": "$phone_collector", "reason": "relatives"}),
    "liftPairExclusion": Row(permission=P.PAIR_REUNITE, whose=Whose.BRANCH, body={
        "staffId": "$staff_id", "otherId": "$phone_collector", "reason": "settled"}),
    "setWorkdays": Row(permission=P.WORKDAY_MANAGE, whose=Whose.BRANCH, body={"days": [_DAY]}),
    "listWorkdays": Row(permission=P.STAFF_READ, whose=Whose.BRANCH, query={"branch": "$branch", "on": "$on"}),
    "listDeviceEnrolments": Row(permission=P.DEVICE_APPROVE),
    "askDeviceEnrolment": Row(permission=P.STAFF_MANAGE, whose=Whose.BRANCH, body={"staffId": "$newcomer"}),
    "grantDeviceEnrolment": Row(permission=P.DEVICE_APPROVE, whose=Whose.BRANCH),
    "listDeviceRenewals": Row(permission=P.DEVICE_APPROVE),
    "grantDeviceRenewal": Row(permission=P.DEVICE_APPROVE, whose=Whose.BRANCH),
    "changeDevice": Row(permission=P.DEVICE_APPROVE, whose=Whose.BRANCH, body={
        "event": "revoke", "reason": "lost", "compromisedSince": "2026-11-20T00:00:00Z"}),
    "registerEquipment": Row(permission=P.EQUIPMENT_INSPECT, whose=Whose.BRANCH, body={"branchId": "$branch", "kind": "audio", "serial": "A-77"}),
    "inspectEquipment": Row(permission=P.EQUIPMENT_INSPECT, whose=Whose.BRANCH, body={"isPassed": True, "nextDueOn": "2027-01-01"}),
    "listEquipment": Row(permission=P.STAFF_READ),
    "changeEquipment": Row(permission=P.EQUIPMENT_INSPECT, whose=Whose.BRANCH, body={"event": "withdraw"}),
    "assignEquipment": Row(permission=P.WORKDAY_MANAGE, whose=Whose.BRANCH, body={"staffId": "$staff_id", "on": "$on"}),
}
BANKS = {
    "listBanks": Row(permission=P.BANK_READ),
    "registerBank": Row(permission=P.BANK_MANAGE, body={"code": "C", "nameZh": "示范银行C", "nameEn": "Sample Bank C"}),
    "listMandates": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "recordMandate": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={
        "reference": "M-9", "validFromOn": "2027-12-01", "validToOn": "2028-12-01", "permitted": ["field_visit"]}),
    "endMandate": Row(permission=P.MANDATE_END, or_permission=P.BANK_MANAGE, whose=Whose.BANK),
    "listTemplates": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "addTemplate": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={"kind": "letter", "textZh": "文本"}),
    "readDeclarationForm": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "approveTemplate": Row(permission=P.TEMPLATE_APPROVE, whose=Whose.OWN_BANK),
    "listAccounts": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "designateAccount": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={"number": "11002200330044", "holder": "Sample Bank A"}),
    "listOffices": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "addOffice": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={
        "name": "Counter", "location": _PLACE, "opensS": 32_400, "closesS": 61_200, "serviceS": 900}),
    "setPaymentChannel": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={"kind": "app", "textZh": "应用", "textEn": "In the app"}),
    "addImportProfile": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={
        "version": "v9", "columns": {"name": "姓名"}, "encoding": "utf-8", "dateStyle": "iso", "amountStyle": "yuan", "separator": ","}),
    "setBankCalendar": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={"days": [{"on": "$on", "isWorkday": True}]}),
    "setOfficeDays": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={"days": [{"on": "$on"}]}),
    "listOfficesOn": Row(permission=P.BANK_READ, whose=Whose.BANK, query={"on": "$on"}),
    "listDuties": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "setDuty": Row(permission=P.CASH_AUTHORISE, whose=Whose.OWN_BANK, body={
        "staffId": "$authoriser", "fromAt": "2026-12-01T00:00:00Z", "toAt": "2026-12-01T09:00:00Z"}),
    "listBankKeys": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "enrolBankKey": Row(permission=P.BANK_KEY_ENROL, body={
        "purpose": "cash_authorisation", "hardware": "demo", "proof": "x.y.z",
        "jwk": {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}}),
    "revokeBankKey": Row(permission=P.BANK_KEY_ENROL, whose=Whose.OWN_BANK, path={"kid": "bank_kid"}),
    "listWitnesses": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "enrolWitness": Row(permission=P.BANK_KEY_ENROL, body={"name": "w.example/b", "key": "A" * 43 + "=", "proof": "A" * 86 + "=="}),
    "endWitness": Row(permission=P.BANK_KEY_ENROL, whose=Whose.OWN_BANK, body={"name": "$witness"}),
    "readPolicyInForce": Row(),
    "publishPolicy": Row(permission=P.POLICY_MANAGE, whose=Whose.BANK, body={
        "version": "bank-a-2", "validFrom": "2026-12-01T00:00:00Z", "thresholds": {}, "bankId": "$bank_id"}),
}
CASES = {
    "listBatches": Row(permission=P.BATCH_READ),
    "importBatch": Row(permission=P.BATCH_IMPORT, whose=Whose.CASE, body="nothing", content="text/csv", query={
        "bank": "$bank_id", "profile": "$profile_id", "branch": "$branch", "number": "B-77", "asOfOn": "$on", "rowCount": "1",
        "amountTotalFen": "1"}),
    "readRejections": Row(permission=P.BATCH_READ, whose=Whose.CASE),
    "readBatchStatistics": Row(permission=P.BATCH_READ, whose=Whose.CASE),
    "listCases": Row(permission=P.CASE_READ), "searchCases": Row(permission=P.CASE_READ, body={"name": "$name"}),
    "readCase": Row(permission=P.CASE_READ, whose=Whose.CASE),
    "unmaskCase": Row(permission=P.CASE_UNMASK, whose=Whose.CASE, body={"fields": ["idNumber"], "purpose": "identity_check"}),
    "allocateCases": Row(permission=P.CASE_DECIDE, whose=Whose.CASE, body={"caseIds": ["$case_id"], "assigneeId": "$phone_collector"}),
    "holdCase": Row(permission=P.CASE_DECIDE, whose=Whose.CASE), "liftHold": Row(permission=P.CASE_DECIDE, whose=Whose.CASE, path={"stop": "=hold"}),
    "releaseCase": Row(permission=P.CASE_DECIDE, whose=Whose.CASE, body={
        "fromAt": "2026-11-27T02:00:00Z", "toAt": "2026-11-27T03:00:00Z", "manner": TEXT, "precautions": TEXT}),
    "recallCase": Row(permission=P.BATCH_IMPORT, whose=Whose.CASE),
    "recordRepayment": Row(permission=P.BATCH_IMPORT, whose=Whose.CASE, body={"reference": "F-1", "amountFen": 1, "paidOn": "$on"}),
    "setSignal": Row(permission=P.CONTACT_RECORD, whose=Whose.CASE, body={"signal": "lost_contact"}),
    "markUrgent": Row(permission=P.CASE_DECIDE, whose=Whose.CASE, body={"reason": TEXT}),
    "confirmField": Row(permission=P.CONTACT_RECORD, whose=Whose.CASE, body={"field": "identity", "source": "phone"}),
    "addAddress": Row(permission=P.CONTACT_RECORD, whose=Whose.CASE, body={"kind": "residence", "street": "示范路2号", "source": "phone"}),
    "pinAddress": Row(permission=P.ADDRESS_PIN, whose=Whose.CASE, body=_PLACE),
    "listContacts": Row(permission=P.CASE_READ, whose=Whose.CASE),
    "recordContact": Row(permission=P.CONTACT_RECORD, whose=Whose.CASE, body={"mode": "intent", "channel": "phone"}),
    "concludeContact": Row(permission=P.CONTACT_RECORD, whose=Whose.ONE, one="hana", body={"result": "no_answer"}),
    "agreeHours": Row(permission=P.CONTACT_RECORD, whose=Whose.CASE, body={
        "fromAt": "2026-11-27T13:00:00Z", "toAt": "2026-11-27T13:30:00Z", "agreedWith": "cardholder", "contactId": "$contact_id"}),
    "registerWorkNumber": Row(permission=P.CASE_DECIDE, whose=Whose.BRANCH, body={"branchId": "$branch", "number": "02100000009"}),
    "raiseVisitRequest": Row(permission=P.REQUEST_RAISE, whose=Whose.CASE, body={"caseId": "$case_id", "reason": TEXT, "contactId": "$contact_id"}),
    "listVisitRequests": Row(permission=P.REQUEST_READ), "readVisitRequest": Row(permission=P.REQUEST_READ, whose=Whose.CASE),
    "analyseVisitRequest": Row(permission=P.REQUEST_ANALYSE, whose=Whose.CASE, body={"analysis": TEXT}),
    "decideVisitRequest": Row(permission=P.REQUEST_DECIDE, whose=Whose.CASE, body={"choice": "reject", "reason": TEXT}),
    "decideVisitRequests": Row(
        permission=P.REQUEST_DECIDE, whose=Whose.CASE, body={"choice": "reject", "reason": TEXT, "requestIds": ["$request_id"]}),
    "withdrawVisitRequest": Row(permission=P.REQUEST_RAISE, whose=Whose.CASE),
}
DAY = {
    "orderPlan": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, body={"branchId": "$branch", "on": "$tomorrow", "seconds": 1}),
    "listPlans": Row(permission=P.PLAN_READ), "readPlan": Row(permission=P.PLAN_READ, whose=Whose.BRANCH),
    "checkPlan": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, body={"branchId": "$branch", "on": "$on", "plan": {}}),
    "cancelPlan": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, path={"plan_id": "ordered_plan"}),
    "discardPlan": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, path={"plan_id": "ordered_plan"}),
    "finishPlan": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH), "readPlanRecord": Row(permission=P.PLAN_READ, whose=Whose.BRANCH),
    "comparePlans": Row(permission=P.PLAN_READ, whose=Whose.BRANCH, query={"before": "$plan_id"}),
    "checkPlanChanges": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, body={"changes": [{"do": "remove", "requestId": "$request_id"}]}),
    "changePlan": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, body={"changes": [{"do": "remove", "requestId": "$request_id"}]}),
    "readPlanDraw": Row(permission=P.PLAN_READ, whose=Whose.BRANCH),
    "replanDay": Row(permission=P.PLAN_MAKE, whose=Whose.BRANCH, path={"plan_id": "ordered_plan"}, body={}),
    "readPlanMoves": Row(permission=P.PLAN_READ, whose=Whose.BRANCH, path={"plan_id": "ordered_plan"}),
    "publishPlan": Row(permission=P.PLAN_PUBLISH, whose=Whose.BRANCH, path={"plan_id": "ordered_plan"}),
    "listVisits": Row(permission=P.VISIT_READ), "readVisitDay": Row(permission=P.VISIT_READ),
    "readVisit": Row(permission=P.VISIT_READ, whose=Whose.CASE),
    "reviewVisit": Row(permission=P.VISIT_REVIEW, whose=Whose.CASE, body={"verdict": "accepted", "checklist": {}}),
    "cancelVisit": Row(permission=P.PLAN_PUBLISH, whose=Whose.CASE), "archiveVisit": Row(permission=P.VISIT_ARCHIVE, whose=Whose.CASE),
    "listIncidents": Row(permission=P.VISIT_REVIEW), "settleIncident": Row(permission=P.VISIT_REVIEW, whose=Whose.BRANCH),
    "listRecordings": Row(permission=P.EVIDENCE_READ, whose=Whose.CASE),
    "importRecording": Row(permission=P.RECORDING_IMPORT, whose=Whose.CASE, body="no sound at all", content="audio/wav", query={
        "equipmentId": "$recorder", "startedAt": "2026-11-27T01:00:00Z"}),
    "readVisitEvidence": Row(permission=P.EVIDENCE_READ, whose=Whose.CASE),
    "copyEvidence": Row(permission=P.EVIDENCE_READ, whose=Whose.CASE, body=EXPORT),
    "exportVisitPack": Row(permission=P.EVIDENCE_EXPORT, whose=Whose.CASE, body=EXPORT),
    "makePack": Row(permission=P.EVIDENCE_EXPORT, whose=Whose.CASE, body={"kind": "visit", "id": "$visit_id", **EXPORT}),
    "listPacks": Row(permission=P.EVIDENCE_EXPORT), "readPack": Row(permission=P.EVIDENCE_EXPORT, whose=Whose.OWN_BANK),
    "reviewItem": Row(permission=P.VISIT_REVIEW, whose=Whose.CASE, body={"verdict": "comment", "comment": TEXT}),
    "maskItem": Row(permission=P.VISIT_REVIEW, whose=Whose.CASE, body={"boxes": [], "reason": "bystander"}),
    "callUpVisit": Row(permission=P.VISIT_REVIEW, whose=Whose.CASE),
    "listLegalHolds": Row(permission=P.CASE_READ, whose=Whose.CASE),
    "setLegalHold": Row(permission=P.HOLD_MANAGE, whose=Whose.CASE, body={"ground": "police", "reason": TEXT}),
    "liftLegalHold": Row(permission=P.HOLD_MANAGE, whose=Whose.CASE, not_roles=frozenset({Role.BANK_LIAISON}), body={"reason": TEXT}),
    "setTerm": Row(permission=P.EVIDENCE_DESTROY, whose=Whose.CASE, body={"until": "2100-01-01T00:00:00Z"}),
    "listDestructions": Row(permission=P.EVIDENCE_READ),
    "proposeDestruction": Row(permission=P.EVIDENCE_DESTROY, whose=Whose.CASE, body={"ground": "term_over"}),
    "decideDestruction": Row(permission=P.EVIDENCE_DESTROY, whose=Whose.CASE, body={"isApproved": False}),
    "listProductions": Row(permission=P.EVIDENCE_READ),
    "askProduction": Row(permission=P.ORIGINAL_REQUEST, whose=Whose.OWN_BANK, body={
        "caseId": "$case_id", "items": ["$item_key"], "recipient": "court", "purpose": "litigation", "reason": TEXT, "recipientKey": {
            "kty": "EC", "crv": "P-256", "x": "$key_x", "y": "$key_y"}}),
    "decideProduction": Row(permission=P.ORIGINAL_APPROVE, whose=Whose.CASE, body={"isApproved": False}),
    "produceOriginals": Row(permission=P.ORIGINAL_REQUEST, whose=Whose.OWN_BANK),
    "fetchPack": Row(permission=P.EVIDENCE_EXPORT, whose=Whose.OWN_BANK),
    "decideStatement": Row(
        permission=P.VISIT_REVIEW, whose=Whose.CASE, body={"verdict": "release", "reason": TEXT}, not_roles=frozenset({Role.BANK_LIAISON})),
    "readCheckpoint": Row(permission=P.EVIDENCE_READ), "readConsistency": Row(permission=P.EVIDENCE_READ, query={"since": "1"}),
    "readProof": Row(permission=P.EVIDENCE_READ, whose=Whose.CASE),
}
CASH = {
    "listAuthorisationRequests": Row(permission=P.CASH_READ),
    "requestAuthorisation": Row(permission=P.CASH_REQUEST, whose=Whose.CASE, body={
        "caseId": "$case_id", "circumstance": "remote_area", "explanation": TEXT, "capFen": 1_000}),
    "secondAuthorisation": Row(permission=P.CASH_AUTHORISE, whose=Whose.OWN_BANK, path={"request_id": "cash_request_id"}),
    "grantAuthorisation": Row(permission=P.CASH_AUTHORISE, whose=Whose.OWN_BANK, path={"request_id": "cash_request_id"}, body={"token": "x.y.z"}),
    "refuseAuthorisation": Row(permission=P.CASH_AUTHORISE, whose=Whose.OWN_BANK, path={"request_id": "cash_request_id"}, body={"reason": "no"}),
    "revokeAuthorisation": Row(permission=P.CASH_AUTHORISE, whose=Whose.OWN_BANK),
    "leaseReceiptBook": Row(permission=P.RECEIPTS_LEASE, whose=Whose.BRANCH, body={
        "serial": "BK77", "bankId": "$bank_id", "device": "$kid", "firstNumber": 1, "lastNumber": 5}),
    "signInReceiptBook": Row(permission=P.RECEIPTS_LEASE, whose=Whose.BRANCH),
    "listReceiptBooks": Row(permission=P.RECEIPTS_LEASE),
    "countReceiptBook": Row(permission=P.RECEIPTS_LEASE, whose=Whose.BRANCH, body={"unused": []}),
    "readReceiptDocument": Row(permission=P.CASH_READ, whose=Whose.CASE, path={"number": "receipt_number"}),
    "readReceiptCode": Row(permission=P.CASH_READ, whose=Whose.CASE, path={"number": "receipt_number"}),
    "listCashAlerts": Row(permission=P.CASH_READ), "listDirectPayments": Row(permission=P.CASH_READ),
    "listCashHints": Row(permission=P.CASH_READ),
    "tellCashHint": Row(permission=P.CASH_HINT, whose=Whose.CASE, body={"caseId": "$case_id", "source": "call"}),
    "resolveCashHint": Row(permission=P.CASH_RESOLVE, whose=Whose.CASE, body={"finding": "unfounded"}),
    "suspendReceipts": Row(permission=P.RECEIPTS_LEASE, whose=Whose.BRANCH),
    "listCashExceptions": Row(permission=P.CASH_READ), "resolveCashException": Row(permission=P.CASH_RESOLVE, whose=Whose.CASE),
    "listCustody": Row(permission=P.CASH_READ), "listCollections": Row(permission=P.CASH_READ), "listDeposits": Row(permission=P.CASH_READ),
    "listOfferedHandovers": Row(), "takeHandover": Row(whose=Whose.ONE, one="kai", body={}), "listVariances": Row(permission=P.CASH_READ),
    "makeDeposit": Row(permission=P.CASH_DEPOSIT, whose=Whose.BRANCH, body={
        "depositId": "0199a000-0000-7000-8000-000000000001", "bankId": "$bank_id", "accountDigest": "$account_digest", "channel": "counter",
        "slipReference": "S-1", "amountFen": 300, "depositedAt": "2026-11-27T02:00:00Z", "receiptNumbers": ["$receipt_number"]}),
    "importStatement": Row(permission=P.CASH_RECONCILE, whose=Whose.BANK, body="nothing", content="text/csv", query={
        "bankId": "$bank_id", "rowCount": "1", "amountTotalFen": "1"}),
    "importRepayments": Row(permission=P.BATCH_IMPORT, whose=Whose.BANK, body="nothing", content="text/csv", query={
        "bankId": "$bank_id", "rowCount": "1", "amountTotalFen": "1", "asOfOn": "$on"}),
    "listPromises": Row(permission=P.CASE_READ), "followUpPromise": Row(permission=P.CONTACT_RECORD, whose=Whose.CASE),
    "listProposals": Row(permission=P.CASE_READ),
    "proposeConcession": Row(permission=P.PROPOSAL_MAKE, whose=Whose.CASE, body={"caseId": "$case_id", "terms": {"kind": "reactivation"}}),
    "withdrawProposal": Row(permission=P.PROPOSAL_MAKE, whose=Whose.CASE),
    "offerConcession": Row(permission=P.PROPOSAL_DECIDE, whose=Whose.OWN_BANK, body={"validToOn": "2026-12-31"}),
    "declineProposal": Row(permission=P.PROPOSAL_DECIDE, whose=Whose.OWN_BANK),
    "revokeOffer": Row(permission=P.PROPOSAL_DECIDE, whose=Whose.OWN_BANK),
    "acceptOffer": Row(permission=P.PROPOSAL_MAKE, whose=Whose.CASE),
    "listRepaymentMethods": Row(permission=P.BANK_READ, whose=Whose.BANK),
    "suggestRepaymentMethod": Row(permission=P.BANK_MANAGE, whose=Whose.BANK, body={"textZh": "积分", "textEn": "Points"}),
    "decideRepaymentMethod": Row(permission=P.PROPOSAL_DECIDE, whose=Whose.OWN_BANK, body={"isOffered": True}),
    "listPaymentNotices": Row(permission=P.CASE_READ), "tellPayment": Row(permission=P.CONTACT_RECORD, whose=Whose.CASE),
    "listLedgerAccounts": Row(permission=P.CASH_READ, whose=Whose.BANK, query={"bankId": "$bank_id"}),
    "listAccountLines": Row(permission=P.CASH_READ, whose=Whose.CASE),
    "readCustodyStatement": Row(permission=P.CASH_READ, whose=Whose.CASE, query={"staffId": "$staff_id", "bankId": "$bank_id", "month": "$on"}),
    "listBranchCloses": Row(permission=P.CASH_READ),
    "closeBranchDay": Row(permission=P.CASH_RECONCILE, whose=Whose.BRANCH, body={"branchId": "$branch", "on": "$on"}),
    "listBankFiles": Row(permission=P.CASH_READ, or_permission=P.BATCH_IMPORT),
    "readFileRejections": Row(permission=P.CASH_READ, or_permission=P.BATCH_IMPORT, whose=Whose.CASE),
    "listVarianceSteps": Row(permission=P.CASH_READ, whose=Whose.CASE),
    "explainVariance": Row(whose=Whose.ONE, one="bilal", body={"code": "notes-counted-twice"}),
    "returnVariance": Row(permission=P.CASH_RESOLVE, whose=Whose.CASE, body={"code": "not-enough"}),
    "resolveVariance": Row(  # Money kept back is the bank's to give up: without a slip the agency's own are refused.
        permission=P.CASH_RESOLVE, whose=Whose.CASE, body={"code": "given-up"}, not_roles=frozenset({Role.SUPERVISOR, Role.MANAGER})),
    "proposeCorrection": Row(permission=P.CASH_CORRECT, whose=Whose.BRANCH, body={"transferId": "$transfer_id", "reason": TEXT}),
    "decideCorrection": Row(permission=P.CASH_CORRECT, whose=Whose.BRANCH, not_one="kai", body={"isApproved": False}),
    "closeBooks": Row(permission=P.CASH_RECONCILE, whose=Whose.BANK, body={"bankId": "$bank_id"}),
    "listTransfers": Row(permission=P.CASH_READ, whose=Whose.BANK, query={"bankId": "$bank_id"}),
    "proveBooks": Row(permission=P.CASH_READ, whose=Whose.BANK, query={"bankId": "$bank_id"}),
}
DISPUTES = {
    "listDisputes": Row(permission=P.DISPUTE_READ),
    "stateDispute": Row(permission=P.DISPUTE_RECORD, whose=Whose.CASE, body={"caseId": "$case_id", "kind": "denies_spending"}),
    "ruleDispute": Row(permission=P.DISPUTE_RULE, whose=Whose.CASE, body={"ruling": "own_card"}),
    "showDeclaration": Row(permission=P.DISPUTE_READ, whose=Whose.CASE),
    "nameInvestigator": Row(permission=P.DISPUTE_INVESTIGATE, whose=Whose.CASE, body={"investigatorId": "$investigator"}),
    "compareHandwriting": Row(permission=P.DISPUTE_INVESTIGATE, whose=Whose.CASE, body={"result": "other_hand"}),
    "followRuling": Row(permission=P.FRAUD_FOLLOW, whose=Whose.CASE, body={
        "act": "police_reported", "occurredAt": "2026-11-27T02:00:00Z", "reference": "P-1"}),
    "listFollowUps": Row(permission=P.DISPUTE_READ, or_permission=P.FRAUD_FOLLOW),
    "listOpenFollowUps": Row(permission=P.DISPUTE_READ, or_permission=P.FRAUD_FOLLOW),
    "listSuspicions": Row(permission=P.DISPUTE_READ),
    "hearSuspicion": Row(permission=P.DISPUTE_RECORD, whose=Whose.CASE, body={"ground": "forgery"}),
    "verifySuspicion": Row(permission=P.DISPUTE_INVESTIGATE, whose=Whose.CASE, body={"isVerified": True}),
    "acknowledgeSuspicion": Row(permission=P.DISPUTE_RULE, whose=Whose.CASE),
    "ruleDeclaration": Row(permission=P.DISPUTE_RULE, whose=Whose.CASE, body={"ruling": "fraud"}),
}
PHONES = {
    "askRenewal": Row(), "completeRenewal": Row(body={
        "jwk": {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}, "proof": "x.y.z", "consent": "x.y.z"}),
    "sendEvent": Row(), "sendEventBatch": Row(), "readBeacon": Row(query={"nonce": "0123456789abcdef"}), "readBundle": Row(query={"on": "$on"}),
    "listWaitingRecordings": Row(permission=P.EVIDENCE_SUBMIT),
    "sendStatement": Row(permission=P.EVIDENCE_SUBMIT, body={}), "readReceipt": Row(permission=P.EVIDENCE_SUBMIT, whose=Whose.CASE),
}
CONSOLE: dict[str, Row] = {**SESSION, **PEOPLE, **BANKS, **CASES, **DAY, **CASH, **DISPUTES}
"""Every route that asks for a console session."""


def filled(value: Any, things: Mapping[str, str]) -> Any:
    """Put the things where `$name` stands."""
    match value:
        case str() if value.startswith("$"):
            return things[value[1:]]
        case dict():
            return {name: filled(one, things) for name, one in value.items()}
        case list():
            return [filled(one, things) for one in value]
    return value
