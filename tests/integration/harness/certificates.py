"""A certificate authority of the test's own."""
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.utcnow()
DAY = datetime.timedelta(days=1)


def _pem_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def _alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Pair:
    """Paths of a certificate and its key."""

    def __init__(self, cert, key, serial):
        self.cert, self.key, self.serial = cert, key, serial


class Authority:
    """Issues certificates into a directory; `cert` is its own."""

    def __init__(self, directory, name="Test CA"):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (x509.CertificateBuilder().subject_name(self._name).issuer_name(self._name)
                       .public_key(self._key.public_key()).serial_number(x509.random_serial_number())
                       .not_valid_before(NOW - 30 * DAY).not_valid_after(NOW + 30 * DAY)
                       .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                       .sign(self._key, hashes.SHA256()))
        self.cert = directory / f"{name.replace(' ', '-').lower()}.pem"
        self.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, label, names, expired=False, self_signed=False, use_rsa=False, subject=None, days=20, purpose=None):
        """A certificate for `names` (DNS names and addresses; the first is the common name).

        subject: other fields in its place, as [(NameOID, text)]. purpose: an ExtendedKeyUsageOID, the only one it has."""
        key = rsa.generate_private_key(65537, 2048) if use_rsa else ec.generate_private_key(ec.SECP256R1())
        fields = [(NameOID.COMMON_NAME, names[0])] if subject is None else subject
        subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in fields])
        serial = x509.random_serial_number()
        builder = (x509.CertificateBuilder().subject_name(subject)
                   .issuer_name(subject if self_signed else self._name)
                   .public_key(key.public_key()).serial_number(serial)
                   .not_valid_before(NOW - 20 * DAY).not_valid_after(NOW - DAY if expired else NOW + days * DAY)
                   .add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False)
                   .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True))
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        certificate = builder.sign(key if self_signed else self._key, hashes.SHA256())
        pair = Pair(self.directory / f"{label}.pem", self.directory / f"{label}.key", serial)
        pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(_pem_key(key))
        pair.key.chmod(0o600)
        return pair

    def revocations(self, *serials):
        """A CRL of these certificates, as PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name).last_update(NOW - DAY).next_update(NOW + 30 * DAY)
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
