"""Envoy's access log: records, what is none, and a file that is put aside."""

from pathlib import Path

from cairn.agent.access_log import AccessLogReader
from cairn.observe.access_log import read_lines

DENIED = (
    b'{"direction":"egress","rule":"denied","status":403,"method":"GET","host":"h","path":"/x"}'
)
ALLOWED = b'{"direction":"ingress","rule":"rule 1","status":200,"method":"GET","listener":15001}'


def test_records_say_whether_they_were_denied() -> None:
    read = read_lines([DENIED, ALLOWED, b"{", b"\xff", b""])
    assert [line.denied for line in read.lines] == [True, False]
    assert read.bad == 3
    assert read.lines[0].what == "GET h/x"


def test_denied_connections_are_told_from_those_that_end() -> None:
    ended = b'{"ended":"rbac_access_denied_matched_policy[none]","server_name":"a.example"}'
    plain = b'{"ended":"filter_chain_not_found"}'
    well = b'{"ended":"","server_name":"a.example","details":"-"}'
    read = read_lines([ended, plain, well])
    assert [line.denied for line in read.lines] == [True, True, False]
    assert [line.what for line in read.lines] == ["TLS a.example", "no TLS", "TLS a.example"]


def test_what_was_there_before_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"old\n")
    reader = AccessLogReader(path)
    assert reader.read() == []
    with path.open("ab") as file:
        file.write(b"one\ntw")
        file.flush()
        assert reader.read() == [b"one"]
        file.write(b"o\n")
    assert reader.read() == [b"two"]
    reader.close()


def test_a_file_that_is_put_aside_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    reader = AccessLogReader(path)
    assert reader.read() == []
    path.write_bytes(b"one\n")
    assert reader.read() == [b"one"]
    with path.open("ab") as file:
        file.write(b"two\n")
    path.rename(tmp_path / "access.log.1")
    path.write_bytes(b"three\n")
    assert reader.read() == [b"two"]
    assert reader.read() == [b"three"]
    reader.close()
