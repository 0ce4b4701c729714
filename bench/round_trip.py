"""Request and response of one octet over one TCP connection: how many a second.

serve PORT                       answers every octet, on all addresses, until killed
ask ADDRESS PORT SECONDS         prints JSON: rate_per_s, p50_us, p99_us
"""

import json
import socket
import sys
import threading
import time

WARM_UP = 200


def answer(connection: socket.socket) -> None:
    """Answer until the other side closes."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        while octet := connection.recv(1):
            connection.sendall(octet)


def serve(port: int) -> None:
    """Answer every connection."""
    with socket.create_server(("", port)) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def ask(address: str, port: int, seconds: float) -> dict[str, float]:
    """Ask again and again; return rate and times."""
    with socket.create_connection((address, port), 5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for turn in range(sys.maxsize):
            if turn == WARM_UP:
                began = time.perf_counter_ns()
            start = time.perf_counter_ns()
            connection.sendall(b"x")
            if not connection.recv(1):
                raise ConnectionError(f"{address} port {port} closed the connection")
            end = time.perf_counter_ns()
            if turn >= WARM_UP:
                times.append(end - start)
                if end - began > seconds * 1e9:
                    break
    ordered = sorted(times)
    return {
        "rate_per_s": len(times) * 1e9 / (end - began),
        "p50_us": ordered[len(times) // 2] / 1000,
        "p99_us": ordered[len(times) * 99 // 100] / 1000,
    }


def main() -> None:
    """Serve or ask."""
    match sys.argv[1:]:
        case ["serve", port]:
            serve(int(port))
        case ["ask", address, port, seconds]:
            print(json.dumps(ask(address, int(port), float(seconds))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
