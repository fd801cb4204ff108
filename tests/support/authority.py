"""A certificate authority of the tests' own, with a certificate for servers of the loopback."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    import os

_DAY = dt.timedelta(days=1)


class Authority:
    """An authority that is its own root, and one certificate of it for `localhost`, 127.0.0.1 and ::1.

    Attributes:
        ca: the authority's certificate, what a client is to trust.
        certificate: the server's.
        key: the server's private key.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        root = Path(directory).resolve()
        root.mkdir(parents=True, exist_ok=True)
        self.ca, self.certificate, self.key = root / "ca.pem", root / "server.pem", root / "server.key"
        issuer, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
        identity = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
        ca = (
            _begun("s3warm test authority", issuer.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(identity, critical=False)
            .sign(issuer, hashes.SHA256())
        )
        leaf = (
            _begun("s3warm test server", server.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(server.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity), critical=False
            )  # Python 3.13's default context insists on it
            .sign(issuer, hashes.SHA256())
        )
        self.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        self.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        self.key.touch(0o600)
        self.key.write_bytes(
            server.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def _begun(name: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    """A certificate of the authority for this name and key, good for two days around now."""
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s3warm test authority")]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
