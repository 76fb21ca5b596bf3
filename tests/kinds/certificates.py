"""Makers of certificates for tests: an authority, and leaves that are good, or bad in one way."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    """A certificate and its key, as objects and as PEM files."""

    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey
    cert: Path
    key: Path


def authority(folder: Path, name: str = "test authority") -> Pair:
    """Make a self-signed authority."""
    private = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name, name, private, -1, 3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    return _written(folder, name, builder.sign(private, hashes.SHA256()), private)


def leaf(folder: Path, issuer: Pair, *names: str, starts: float = -1, ends: float = 90) -> Pair:
    """Make a certificate for names and addresses; ``starts`` and ``ends`` are days from now."""
    private = ec.generate_private_key(ec.SECP256R1())
    issued_by = issuer.certificate.subject.rfc4514_string().removeprefix("CN=")
    builder = (
        _builder(names[0], issued_by, private, starts, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.private.public_key()), critical=False)
    )
    return _written(folder, f"{names[0]} {ends}", builder.sign(issuer.private, hashes.SHA256()), private)


def locked(pair: Pair, folder: Path) -> Path:
    """Write the key of a pair once more, encrypted with a password."""
    path = folder / "locked.key"
    path.write_bytes(_pem(pair.private, serialization.BestAvailableEncryption(b"secret")))
    return path


def _builder(
    name: str, issuer: str, private: ec.EllipticCurvePrivateKey, starts: float, ends: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=starts))
        .not_valid_after(now + timedelta(days=ends))
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(private: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _written(folder: Path, name: str, certificate: x509.Certificate, private: ec.EllipticCurvePrivateKey) -> Pair:
    stem = name.replace(" ", "-").replace(":", "_")
    cert, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(_pem(private, serialization.NoEncryption()))
    return Pair(certificate, private, cert, key)
