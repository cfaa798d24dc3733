"""TLS streams: trust, session resumption, and the kernel timestamps."""

import re
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress

import gevent
import pytest
from cryptography.hazmat.primitives import serialization
from gevent import get_hub

from amoc_gevent import clock
from amoc_gevent.demo.http import DemoServer
from amoc_gevent.errors import EXIT_USAGE, UsageError
from amoc_gevent.transport import Peer, TransportError, TransportTimeout, connect, context
from tests.transport.scripted import Scripted, resets, stays_silent

GET = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ask(stream):
    stream.read_timeout = 5
    stream.send(GET)
    return stream.receive()


def test_a_verified_stream_carries_bytes_with_the_kernels_stamp(ca):
    with DemoServer(context=ca.server_context()) as server:
        stream = connect(Peer("127.0.0.1", server.address[1], context(str(ca.file))), 5)
        assert ask(stream).startswith(b"HTTP/1.1 200 ")
        assert stream.stamped
        assert stream.sent <= stream.arrived <= clock.monotonic()
        assert stream.tls_us > 0
        stream.close()


@pytest.mark.parametrize(
    ("names", "trusting", "reason"),
    [
        (["localhost"], False, "TLS: unable to get local issuer certificate"),
        (["elsewhere.example"], True, "TLS: Hostname mismatch"),
    ],
)
def test_a_peer_with_an_untrusted_certificate_is_refused(ca, names, trusting, reason):
    with DemoServer(context=ca.server_context(*names)) as server:
        used = context(str(ca.file)) if trusting else context()
        with pytest.raises(TransportError) as raised:
            connect(Peer("localhost", server.address[1], used), 5)
    assert raised.value.kind.startswith(reason)


def test_without_verification_any_certificate_is_accepted(ca):
    with DemoServer(context=ca.server_context("elsewhere.example")) as server:
        stream = connect(Peer("localhost", server.address[1], context(verify=False)), 5)
        assert ask(stream).startswith(b"HTTP/1.1 200 ")
        stream.close()


class Tells:
    """A server in a thread that tells each client whether its session was resumed."""

    def __init__(self, used: ssl.SSLContext) -> None:
        self._context = used
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with self._context.wrap_socket(sock, server_side=True) as stream:
                    while stream.recv(4096):
                        stream.sendall(b"resumed" if stream.session_reused else b"new")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def in_a_thread(serve):
    """Call `serve` with the first connection, in a thread; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: serve(listener.accept()[0]), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
        get_hub().threadpool.apply(thread.join, (10,))
    finally:
        listener.close()


def until_line(process, pattern):
    """Read lines of a process until one matches; return what the group of the pattern matched."""
    with gevent.Timeout(10):
        for line in iter(lambda: get_hub().threadpool.apply(process.stdout.readline), b""):
            if found := re.search(pattern, line):
                return found[1]
    raise AssertionError(f"no line matches {pattern}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_stream_resumes_the_session_of_the_previous_one(ca, version):
    server = Tells(ca.server_context(minimum_version=version, maximum_version=version))
    peer = Peer("localhost", server.port, context(str(ca.file)))
    first = connect(peer, 5)
    assert ask(first) == b"new"
    session = first.session
    first.close()
    second = connect(peer, 5, session=session)
    assert ask(second) == b"resumed"
    assert (first.resumed, second.resumed) == (False, True)
    second.close()
    server.close()


def test_a_client_certificate_is_sent_on_request(ca):
    certificate, key = map(str, ca.certificate("client.example"))
    with DemoServer(context=ca.server_context(want_client_certificate=True)) as server:
        used = context(str(ca.file), (certificate, key))
        stream = connect(Peer("localhost", server.address[1], used), 5)
        assert ask(stream).startswith(b"HTTP/1.1 200 ")
        stream.close()


def test_a_missing_client_certificate_has_its_own_error_kind(ca):
    with DemoServer(context=ca.server_context(want_client_certificate=True)) as server:
        stream = connect(Peer("localhost", server.address[1], context(str(ca.file))), 5)
        with pytest.raises(TransportError) as raised:
            ask(stream)
        stream.close()
    assert raised.value.kind == "TLS: tlsv13 alert certificate required"


@pytest.mark.parametrize("data", [GET, b"GET /late"])
def test_a_server_can_ask_for_a_certificate_after_the_handshake(ca, data):
    asked = ca.server_context(want_client_certificate=True, post_handshake_auth=True)
    found = []

    def serve(sock):
        with asked.wrap_socket(sock, server_side=True) as stream:
            stream.recv(4096)
            stream.verify_client_post_handshake()
            stream.sendall(b"")  # sends the request for a certificate
            stream.sendall(b"first")
            stream.recv(4096)
            found.append(stream.getpeercert())
            stream.sendall(b"second")

    certificate, key = map(str, ca.certificate("client.example"))
    with in_a_thread(serve) as port:
        stream = connect(Peer("localhost", port, context(str(ca.file), (certificate, key))), 5)
        stream.read_timeout = 5
        stream.send(data)
        assert stream.receive() == b"first"
        stream.send(data)
        assert stream.receive() == b"second"
        stream.close()
    assert found[0]["subjectAltName"] == (("DNS", "client.example"),)


@pytest.mark.processes
def test_a_server_can_renegotiate(ca, tmp_path):
    certificate, key = ca.certificate("localhost")
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", "0", "-tls1_2", "-cert", certificate, "-key", key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        port = int(until_line(process, rb"ACCEPT \S*:(\d+)"))
        stream = connect(Peer("localhost", port, context(str(ca.file))), 5)
        stream.read_timeout = 5
        stream.send(b"hello\n")
        until_line(process, rb"(hello)")
        process.stdin.write(b"r\n")
        process.stdin.flush()
        waiting = gevent.spawn(stream.receive)
        until_line(process, rb"(CIPHER is|Read BLOCK|SSL_do_handshake)")
        process.stdin.write(b"after it\n")
        process.stdin.flush()
        assert waiting.get(timeout=5) == b"after it\n"
        stream.close()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("password", "told"),
    [
        (None, "the key is encrypted, give cert=(certificate, key, password)"),
        ("wrong", "or the password is wrong"),
        ("secret", None),
    ],
)
def test_an_encrypted_key_needs_its_password_and_asks_nobody(ca, tmp_path, password, told):
    certificate, key = ca.certificate("client.example")
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    cert = (str(certificate), str(encrypted), *((password,) if password else ()))
    if told is None:
        assert context(str(ca.file), cert).post_handshake_auth
        return
    with pytest.raises(UsageError) as raised:
        context(str(ca.file), cert)
    assert str(raised.value).startswith("TLS: unusable certificate file: cert=")
    assert told in str(raised.value)


def test_equal_settings_share_one_context(ca):
    assert context(str(ca.file)) is context(str(ca.file))
    assert context() is not context(verify=False)


@pytest.mark.parametrize(
    ("verify", "cert", "told"),
    [
        ("/none", None, "unreadable certificate file: verify=/none: No such file or directory"),
        (True, "/none", "unreadable certificate file: cert=/none: No such file or directory"),
        (True, (__file__, "/none"), "unreadable certificate file: cert=/none: No such file"),
        (__file__, "/none", f"unusable certificate file: verify={__file__}: no certificate"),
        (True, __file__, f"unusable certificate file: cert={__file__}: no certificate"),
    ],
)
def test_the_error_names_only_the_unusable_certificate_file(verify, cert, told):
    with pytest.raises(UsageError) as raised:
        context(verify, cert)
    assert isinstance(raised.value, TransportError)
    assert str(raised.value).startswith(f"TLS: {told}")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (
            lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "TLS: wrong version number",
        ),
        (lambda sock: sock.recv(9) and None, "connection closed"),
        (lambda sock: sock.recv(9) and resets(sock), "connection reset"),
    ],
)
def test_a_peer_without_tls_has_its_own_error_kind(handler, kind):
    with Scripted(handler) as server, pytest.raises(TransportError) as raised:
        connect(Peer("127.0.0.1", server.port, context(verify=False)), 5)
    assert raised.value.kind in {kind, "connection reset"}


def test_a_hanging_handshake_is_a_connect_timeout():
    with Scripted(stays_silent) as server:
        peer = Peer("127.0.0.1", server.port, context(verify=False))
        with pytest.raises(TransportTimeout, match="connect time-out"):
            connect(peer, 0.05)


def test_megabytes_arrive_in_both_directions(ca):
    body = bytes(range(256)) * 8192
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with DemoServer(context=ca.server_context()) as server:
        stream = connect(Peer("localhost", server.address[1], context(str(ca.file))), 5)
        stream.read_timeout = 10
        gevent.spawn(stream.send, head + body)
        received = b""
        while len(received) < len(body):
            received += stream.receive()
        stream.close()
    assert received.startswith(b"HTTP/1.1 200 ")
