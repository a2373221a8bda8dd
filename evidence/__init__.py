"""Proof of what two people captured at a door: canonical manifests, two signatures, sealed items, a transparency log, packs.

Pure: knows no web and no database. Names are loaded on first use, so that importing one part never loads the decoders of another.
"""

import importlib
from typing import Final

_NAMES: Final = {
    "evidence.attestation": ("Attested", "Roots", "judge_android"),
    "evidence.canonical": ("b64u_decode", "b64u_encode", "canonicalise", "parse_strict", "sha256_hex"),
    "evidence.capitals": ("from_capitals", "to_capitals"),
    "evidence.coverage": ("Recording", "judge_coverage"),
    "evidence.declaration": ("Template", "deviations", "judge_declaration", "set_text"),
    "evidence.envelope": (
        "COSIGNED_KINDS", "Envelope", "PairFacts", "SignatureHeader", "SignatureMember", "Signer", "SignerRole",
        "assemble", "check_shape", "header_for", "judge_pair", "merge", "sign", "verify_signatures"),
    "evidence.errors": ("EvidenceError", "MalformedError"),
    "evidence.es256": ("compact_peek", "compact_sign", "compact_verify"),
    "evidence.examination": ("Examination", "State"),
    "evidence.examine_worker": ("examine",),
    "evidence.facts": ("FACTS_BY_KIND", "Kind"),
    "evidence.keys": ("generate_key", "key_from_jwk", "public_jwk", "thumbprint"),
    "evidence.manifest": (
        "App", "Datum", "Item", "Manifest", "Position", "Role", "build_manifest", "decode_manifest", "encode_manifest", "manifest_digest"),
    "evidence.model": ("Finding", "Grade", "worst"),
    "evidence.pack": ("Pack", "PackCopy", "PackEntry", "ServiceKeys", "trust_document", "write_pack"),
    "evidence.policy": ("ContentPolicy",),
    "evidence.sealing": ("SealContext", "Sealer", "measure", "open_sealed", "unwrap_key", "wrap_key"),
    "evidence.statements": ("Derivation", "DeviceHistory", "ReceiptStatus", "receipt_payload", "sign_derivation", "sign_devices", "sign_receipt"),
    "evidence.store": ("BlobStore", "PartWriter"),
    "evidence.verify": ("ContentFacts", "Report"),
}
_MODULE_BY_NAME: Final = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULE_BY_NAME)


def __getattr__(name: str) -> object:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_BY_NAME[name]), name)


def __dir__() -> list[str]:
    return __all__
