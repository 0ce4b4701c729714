"""What a page of metrics tells the doctor: who runs in which version, how the history fares."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from cairn.cli.report_pages import Pages, read_pages, take_page
from cairn.drive.metrics_text import common, gauge, number, spell

NAME = "cairn_relay_certificate_expiry_timestamp_seconds"
PAGE = spell(
    (
        *common("relay"),
        number("cairn_relay_history_writing", "", 0),
        number("cairn_relay_history_missed_flows_total", "", 12),
        gauge(NAME, "", {("server",): 2e9}, "certificate"),
    )
)


def test_a_page_is_read() -> None:
    told = Pages()
    take_page(told, "relay", PAGE)
    assert told.versions.keys() == {"relay"}
    assert told.history == {"writing": 0.0, "missed_flows_total": 12.0}
    (certificate,) = told.certificates
    assert (certificate.name, certificate.ends_at) == ("certificate server of the relay", 2e9)


def test_pages_are_asked_and_silent_ones_left_out() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            told = read_pages((f"relay=127.0.0.1:{served.server_port}", "x=127.0.0.1:1", "y", "z="))
        finally:
            served.shutdown()
            thread.join()
    assert told.versions.keys() == {"relay"}
