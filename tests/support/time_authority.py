"""A time-stamping authority made by `openssl`, in a folder: its root, its own certificate, and answers to requests."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

POLICY, OTHER_POLICY = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2"
_CONFIG = """
[tsa]
serial = {folder}/serial
signer_digest = sha256
default_policy = {policy}
other_policies = {other}
digests = sha256, sha512
ess_cert_id_alg = sha256
ess_cert_id_chain = no
"""


class TimeAuthority:
    """`starts_days` and `ends_days` from now are its certificate's first and last moment; it stamps outside them too."""

    def __init__(self, folder: Path, name: str = "time", *, starts_days: int = -1, ends_days: int = 3650) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / "serial").write_text("01")
        (self.folder / "tsa.cnf").write_text(_CONFIG.format(folder=self.folder, policy=POLICY, other=OTHER_POLICY))
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self.openssl("req", "-x509", *curve, "-keyout", "root.key", "-out", "root.pem", "-days", "7300", "-subj", f"/CN={name} root")
        self.openssl("req", *curve, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", f"/CN={name} authority")
        self.root = self.folder / "root.pem"
        asked, now = x509.load_pem_x509_csr((self.folder / "tsa.csr").read_bytes()), datetime.now(UTC)
        key: Any = load_pem_private_key((self.folder / "root.key").read_bytes(), None)
        leaf = x509.CertificateBuilder(
            issuer_name=self.pinned[0].subject, subject_name=asked.subject, public_key=asked.public_key(), serial_number=x509.random_serial_number(),
            not_valid_before=now + timedelta(days=starts_days), not_valid_after=now + timedelta(days=ends_days))
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        (self.folder / "tsa.pem").write_bytes(leaf.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))

    @property
    def pinned(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.root.read_bytes())

    def answer(self, request: bytes) -> bytes:
        """Answer one request, as the authority's server would."""
        (self.folder / "ask.tsq").write_bytes(request)
        self.openssl("ts", "-reply", "-config", "tsa.cnf", "-section", "tsa", "-queryfile", "ask.tsq", "-signer", "tsa.pem", "-inkey", "tsa.key",
                     "-chain", "root.pem", "-out", "answer.tsr")
        return (self.folder / "answer.tsr").read_bytes()

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "tsa.pem").read_bytes())

    def crl(
        self, revoked: datetime | None = None, reason: x509.ReasonFlags | None = None, *, last: datetime | None = None,
        ends: datetime | None = None, invalid_from: datetime | None = None, extension: tuple[x509.ExtensionType, bool] | None = None
    ) -> x509.CertificateRevocationList:
        """Return its root's list of today, or of other days, with its own certificate on it from `revoked`."""
        now = datetime.now(UTC)
        built = x509.CertificateRevocationListBuilder(self.pinned[0].subject, last or now - timedelta(hours=1), ends or now + timedelta(days=7))
        if revoked is not None:
            entry = x509.RevokedCertificateBuilder(self.certificate.serial_number, revoked)
            entry = entry if reason is None else entry.add_extension(x509.CRLReason(reason), critical=False)
            entry = entry if invalid_from is None else entry.add_extension(x509.InvalidityDate(invalid_from), critical=False)
            built = built.add_revoked_certificate(entry.build())
        if extension is not None:
            built = built.add_extension(*extension)
        key: Any = load_pem_private_key((self.folder / "root.key").read_bytes(), None)
        return built.sign(key, hashes.SHA256())

    def openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
