"""The page of metrics that daemons spell themselves, read by the reader of Prometheus' library."""

import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cairn.drive.metrics_text import Family, Histogram, common, counter, gauge, histogram, spell
from cairn.drive.metrics_thread import start_metrics


def read(*families: Family) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(spell(families).decode())
        for sample in family.samples
    }


def test_labels_of_any_text_come_back_whole() -> None:
    awkward = 'a "quoted"\\back\nline'
    page = read(gauge("cairn_x", "Text", {(awkward, "v"): 2.5}, "what", "which"))
    assert page["cairn_x", (("what", awkward), ("which", "v"))] == 2.5


def test_a_counter_keeps_its_name() -> None:
    assert read(counter("cairn_x_total", "Text", {(): 3})) == {("cairn_x_total", ()): 3}


def test_buckets_hold_what_is_below_them() -> None:
    took = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        took.observe(value)
    page = read(histogram("cairn_took_seconds", "Text", {("a",): took}, "what"))
    buckets = [page["cairn_took_seconds_bucket", (("le", le), ("what", "a"))]
               for le in ("0.1", "1.0", "+Inf")]  # fmt: skip
    assert buckets == [2, 3, 4]
    assert page["cairn_took_seconds_count", (("what", "a"),)] == 4
    assert page["cairn_took_seconds_sum", (("what", "a"),)] == pytest.approx(7.65)


def test_every_process_tells_of_itself() -> None:
    page = read(*common("speaker"))
    names = {name for name, _ in page}
    assert "cairn_build_info" in names
    assert page["process_resident_memory_bytes", ()] > 1e6
    assert page["process_open_fds", ()] >= 3


def test_a_thread_serves_the_page_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start_metrics(lambda: common("dns"), port, print)
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                text = page.read().decode()
            break
        except urllib.error.URLError:
            continue
    assert 'cairn_build_info{component="dns"' in text
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
    assert refused.value.code == 404
    refused.value.close()
