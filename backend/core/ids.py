"""Identifiers: time-ordered UUIDs, and one type per noun so that a case id never passes for a visit id."""

from typing import NewType
from uuid import UUID

from uuid_utils import compat

AgencyId = NewType("AgencyId", UUID)
StaffId = NewType("StaffId", UUID)
DeviceId = NewType("DeviceId", UUID)
BranchId = NewType("BranchId", UUID)
BankId = NewType("BankId", UUID)
MandateId = NewType("MandateId", UUID)
AuthoriserId = NewType("AuthoriserId", UUID)
DesignatedAccountId = NewType("DesignatedAccountId", UUID)
TerritoryId = NewType("TerritoryId", UUID)
BatchId = NewType("BatchId", UUID)
CaseId = NewType("CaseId", UUID)
PersonId = NewType("PersonId", UUID)
AddressId = NewType("AddressId", UUID)
ContactId = NewType("ContactId", UUID)
RequestId = NewType("RequestId", UUID)
PlanId = NewType("PlanId", UUID)
PairId = NewType("PairId", UUID)
RouteId = NewType("RouteId", UUID)
StopId = NewType("StopId", UUID)
VisitId = NewType("VisitId", UUID)
ReportId = NewType("ReportId", UUID)
ExhibitId = NewType("ExhibitId", UUID)
UploadId = NewType("UploadId", UUID)
ManifestId = NewType("ManifestId", UUID)
DisputeId = NewType("DisputeId", UUID)
DeclarationId = NewType("DeclarationId", UUID)
AuthorisationId = NewType("AuthorisationId", UUID)
CollectionId = NewType("CollectionId", UUID)
ReceiptId = NewType("ReceiptId", UUID)
DepositId = NewType("DepositId", UUID)
AccountId = NewType("AccountId", UUID)
TransferId = NewType("TransferId", UUID)
SubmissionId = NewType("SubmissionId", UUID)
PolicyId = NewType("PolicyId", UUID)
KeyId = NewType("KeyId", UUID)
SessionId = NewType("SessionId", UUID)
JobId = NewType("JobId", UUID)


def new_id() -> UUID:
    """Make a UUIDv7: ids made later sort later, so pages over an id are pages over time."""
    return compat.uuid7()
