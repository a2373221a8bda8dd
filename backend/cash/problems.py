"""Documented refusals of money (protocol §2.6). A signed statement of the same condition is never refused, only judged."""

from backend.core.i18n import N_
from backend.core.problems import Problem


class CashNotAuthorised(Problem):
    """No authorisation of the case's own bank covers this (CASH-01 to CASH-04)."""

    status, code, title = 403, "cash-not-authorised", N_("The bank has not authorised taking this. Take nothing.")
    explanation = N_("Offer the bank's own payment channels. If the debtor cannot use them, ask the bank with the circumstance and an explanation.")
    finding = code


class AuthorisationExpired(Problem):
    """The bank's authorisation is over (CASH-04)."""

    status, code, title = 403, "authorisation-expired", N_("The bank's authorisation has ended. Take nothing.")
    explanation = N_("Ask the bank again. Silence counts as a refusal.")
    finding = code


class AuthorisationExhausted(Problem):
    """The number of collections that the bank allowed is used up."""

    status, code, title = 409, "authorisation-exhausted", N_("The bank allowed no further collection.")
    explanation = N_("Each authorisation names how often money may be taken under it.")
    finding = code


class CapExceeded(Problem):
    """More than is left under the bank's cap."""

    status, code, title = 422, "cap-exceeded", N_("This is more than the bank authorised.")
    explanation = N_("The details name what is left under the cap.")
    finding = code


class AccountNotDesignated(Problem):
    """Not an account that the bank designated (CASH-06)."""

    status, code, title = 422, "account-not-designated", N_("This is not the account that the bank designated.")
    explanation = N_("Money goes to the designated account of the authorisation and nowhere else.")
    finding = code


class ReceiptNumberNotLeased(Problem):
    """The number was not leased to this phone (CASH-05)."""

    status, code, title = 409, "receipt-number-not-leased", N_("This receipt number is not leased to this phone.")
    explanation = N_("Use the numbers of the day bundle, strictly in order.")
    finding = code


class ReceiptAlreadyUsed(Problem):
    """The number was issued, voided or returned before (CASH-05)."""

    status, code, title = 409, "receipt-already-used", N_("This receipt number was used before.")
    explanation = N_("Each number is issued once. Take the next one.")
    finding = code


class TokenRejected(Problem):
    """The authorisation token is not what this request needs, or its signature does not hold."""

    status, code, title = 422, "authorisation-rejected", N_("The authorisation token is not acceptable.")
    explanation = N_("The details name the claim, what was expected and what was got. Sign anew with the bank's own key.")
