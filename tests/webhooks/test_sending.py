"""One request: to the address that was looked at, signed as MLflow signs, within its limits."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading

import pytest

from mlwarehouse.registry.webhooks.addresses import Target
from mlwarehouse.registry.webhooks.sending import send
from mlwarehouse.registry.webhooks.signing import headers_of, signature_of

from .receiver import receiving


def _target(receiver, host="127.0.0.1", *, allow_private=True) -> Target:
    return Target(host, receiver.port, "/hook?to=us", is_tls=False, allow_private=allow_private)


def test_a_request_arrives_whole(receiver):
    answer = send(_target(receiver), headers_of(None, "d-1", b'{"a": 1}', 12.7), b'{"a": 1}')
    assert (answer.is_taken, answer.status, answer.text, answer.reason) == (True, 200, "ok", "")
    [request] = receiver.requests
    assert (request.path, request.body) == ("/hook?to=us", b'{"a": 1}')
    assert request.headers["Content-Type"] == "application/json"
    assert (request.headers["X-MLflow-Delivery-Id"], request.headers["X-MLflow-Timestamp"]) == ("d-1", "12")
    assert "X-MLflow-Signature" not in request.headers


def test_a_signature_is_the_one_that_mlflow_makes():
    from mlflow.webhooks.constants import (
        WEBHOOK_DELIVERY_ID_HEADER,
        WEBHOOK_SIGNATURE_HEADER,
        WEBHOOK_TIMESTAMP_HEADER,
    )
    from mlflow.webhooks.delivery import _generate_hmac_signature

    body = '{"name": "grün"}'
    headers = headers_of("a secret", "d-1", body.encode(), 1_795_000_000.9)
    assert headers[WEBHOOK_DELIVERY_ID_HEADER] == "d-1"
    made = _generate_hmac_signature("a secret", "d-1", headers[WEBHOOK_TIMESTAMP_HEADER], body)
    assert headers[WEBHOOK_SIGNATURE_HEADER] == made == signature_of("a secret", "d-1", "1795000000", body.encode())
    assert made != signature_of("a secret", "d-2", "1795000000", body.encode())


def test_a_name_that_means_another_machine_a_moment_later_gains_nothing(receiver, monkeypatch):
    looked_up = []

    def rebinding(host, port):
        looked_up.append(host)
        return ["127.0.0.1"] if len(looked_up) > 1 else ["127.0.0.2"]

    def refuse(host, *rest, **more):
        assert host.replace(".", "").isdigit(), f"{host} was looked up a second time"
        return real(host, *rest, **more)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    target = _target(receiver, "hook.example.org")
    # Nobody listens at the address that was looked at, and no other one is asked.
    assert "can't be reached" in send(target, {}, b"{}", resolve=rebinding).reason
    assert (looked_up, receiver.requests) == (["hook.example.org"], [])
    assert send(target, {}, b"{}", resolve=rebinding).is_taken
    assert receiver.requests[0].headers["Host"] == f"hook.example.org:{receiver.port}"


def test_nothing_is_sent_to_an_address_that_isnt_public(receiver):
    target = _target(receiver, "hook.example.org", allow_private=False)
    answer = send(target, {}, b"{}", resolve=lambda host, port: ["127.0.0.1"])
    assert answer.status is None
    assert "127.0.0.1, which isn't a public address" in answer.reason
    assert answer.may_pass, "a name's address may be mended"
    assert receiver.requests == []


def test_a_redirect_isnt_followed(receiver):
    with receiving() as other:

        def redirect(handler, request):
            handler.send_response(307)
            handler.send_header("Location", other.url)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return 0

        receiver.answer = redirect
        answer = send(_target(receiver), {}, b"{}")
        assert (answer.status, answer.is_taken, answer.may_pass) == (307, False, False)
        assert "isn't followed" in answer.reason
        assert (len(receiver.requests), other.requests) == (1, [])


@pytest.mark.parametrize("status", [200, 204, 400, 401, 404, 410, 429, 500, 503])
def test_which_answers_may_pass(receiver, status):
    receiver.answer = lambda handler, request: status
    answer = send(_target(receiver), {}, b"{}")
    assert answer.is_taken == (status < 300)
    assert answer.may_pass == (status in (429, 500, 503))
    assert answer.reason == ("" if status < 300 else f"the receiver answered {status}")


def test_a_receiver_says_how_long_to_wait(receiver):
    def busy(handler, request):
        handler.send_response(503)
        handler.send_header("Retry-After", request.body.decode())
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return 0

    receiver.answer = busy
    waits = {text: send(_target(receiver), {}, text.encode()).retry_after_s for text in ("7", "999999", "-1", "nan")}
    assert waits == {"7": 7.0, "999999": 3600.0, "-1": 0.0, "nan": 0.0}


def test_a_receiver_that_drips_is_left(receiver):
    pause = threading.Event()

    def drip(handler, request):
        with contextlib.suppress(OSError):
            while handler.connection.send(b"H"):
                pause.wait(0.01)
        return 0

    receiver.answer = drip
    answer = send(_target(receiver), {}, b"{}", limit_s=0.3)
    assert (answer.status, answer.reason) == (None, "no answer within 0.3 s")


def test_an_answer_is_read_to_a_limit(receiver):
    def much(handler, request):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"x" * 65536)
        return 0

    receiver.answer = much
    answer = send(_target(receiver), {}, b"{}")
    assert answer.is_taken
    assert len(answer.text) == 4096


def test_whoever_isnt_the_host_of_the_name_is_refused(tmp_path):
    certificate, key = _certificate(tmp_path, "hook.example.org")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with receiving(served) as receiver:

        def told(host, tls):
            target = Target(host, receiver.port, "/", is_tls=True, allow_private=True)
            return send(target, {}, b"{}", resolve=lambda host, port: ["127.0.0.1"], tls=tls)

        assert told("hook.example.org", trusting).is_taken
        assert "CERTIFICATE_VERIFY_FAILED" in told("other.example.org", trusting).reason
        assert "CERTIFICATE_VERIFY_FAILED" in told("hook.example.org", None).reason
        assert len(receiver.requests) == 1


def _certificate(folder, host):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private
