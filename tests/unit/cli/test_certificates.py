"""What certificates say, and the doctor's word when they keep it from the API server."""

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cairn.cli import doctor
from cairn.cli.certificates import of_kubeconfig, of_pem, of_secret, of_server
from cairn.cli.facts import unreached

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def made(*names: str, begins: datetime = NOW - DAY, ends: datetime = NOW + 90 * DAY) -> Any:
    """Return a certificate that signs itself, and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(7)
        .not_valid_before(begins).not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName(
            [x509.DNSName(one) for one in names]), critical=False)
    )  # fmt: skip
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem, private


@contextmanager
def server(folder: Path, pem: bytes, key: bytes) -> Iterator[int]:
    """A TLS server that answers nothing; yields its port."""
    (folder / "server.pem").write_bytes(pem + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:
                    plain.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def kubeconfig(folder: Path, url: str, pem: bytes) -> Path:
    path = folder / "config"
    config = {
        "clusters": [{"name": "c", "cluster": {
            "server": url, "certificate-authority-data": base64.b64encode(pem).decode()}}],
        "users": [{"name": "u", "user": {"client-certificate": "u.crt"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_kubeconfig_has_two(tmp_path: Path) -> None:
    pem, _ = made("localhost")
    path = kubeconfig(tmp_path, "https://localhost:1", pem)
    authority, client = of_kubeconfig(path)
    assert authority.name == f"authority of cluster c in {path}"
    assert authority.ends_at == pytest.approx((NOW + 90 * DAY).timestamp(), abs=2)
    assert client.error == "no such file or directory"
    (tmp_path / "u.crt").write_bytes(pem)
    assert [one.error for one in of_kubeconfig(path)] == ["", ""]


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "users: [1]"])
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    assert all(one.error for one in of_kubeconfig(path))


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\xff\x00"])
def test_what_is_no_certificate_is_said(pem: bytes) -> None:
    assert of_pem("x", pem).error
    assert of_pem("x", "%%%", encoded=True).error


def test_a_secret_has_what_is_in_it() -> None:
    pem, _ = made("relay")
    data = {"tls.crt": base64.b64encode(pem).decode(), "tls.key": "c2VjcmV0"}
    (found,) = of_secret({"metadata": {"namespace": "n", "name": "s"}, "data": data})
    assert (found.name, found.names) == ("tls.crt of Secret n/s", ("relay",))


def test_nobody_shows_nothing() -> None:
    assert of_server("https://localhost:1") is None
    assert of_server("http://localhost:1") is None


@pytest.mark.parametrize(
    ("certificate", "code"),
    [
        (lambda: made("localhost", ends=NOW - timedelta(hours=1)), "CRN-802"),
        (lambda: made("localhost", begins=NOW + DAY), "CRN-805"),
        (lambda: made("kubernetes"), "CRN-806"),
        (lambda: made("localhost"), ""),
    ],
)
def test_the_doctor_says_which_certificate_keeps_it_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], certificate: Callable[[], Any], code: str
) -> None:
    pem, key = certificate()
    (tmp_path / "u.crt").write_bytes(made("u")[0])
    with server(tmp_path, pem, key) as port:
        path = kubeconfig(tmp_path, f"https://localhost:{port}", pem)
        assert unreached(str(path)).certificates[0].wanted == "localhost"
        assert doctor.main(["--kubeconfig", str(path), "-o", "json"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("cairn doctor: API server https://localhost:")
    codes = {one["code"] for one in json.loads(said.out)["findings"]} if said.out else set()
    assert codes == ({code} if code else set())
