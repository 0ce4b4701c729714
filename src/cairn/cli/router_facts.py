"""Ask the home router what it knows: its sessions, routes, neighbours, kernel.

    a lab, or the address of `cairn router`  ->  RouterReport

In the lab the router's own sockets and its network namespace are read. Outside, --router names an
http address at which a `cairn router` answers, or a file with what `cairn bgpctl`'s views hold.
"""

import subprocess
import urllib.request
from pathlib import Path

import msgspec

from cairn.cli.report_kernel import read_links, read_neighbours, read_routes, read_settings
from cairn.diagnose.facts import RouterPath, RouterReport, RouterSession
from cairn.lab.inventory import router_plan
from cairn.lab.state import Lab, LabError, lab_names, load_lab
from cairn.linux import namespace
from cairn.netlink.socket import RouteSocket
from cairn.router.bgpctl import Unanswered, ask
from cairn.router.foreign_views import ForeignFailed, read_foreign
from cairn.router.views import NeighborRow, PathRow, Views, load_views

PATIENCE_S = 3.0
ROUTER = "router"
NO_ROUTER = "the router cannot be asked; pass --router"


def lab_of(kubeconfig: str | None) -> Lab | None:
    """Return the lab whose cluster a kubeconfig leads to, if it is one's."""
    wanted = Path(kubeconfig).resolve() if kubeconfig else None
    for name in lab_names() if wanted else ():
        try:
            lab = load_lab(name)
        except LabError:
            continue
        if wanted in (lab.kubeconfig.resolve(), lab.inner_kubeconfig.resolve()):
            return lab
    return None


def ask_router(lab: Lab | None, given: str | None) -> RouterReport:
    """Return what the router tells; `skipped` says why it could not be asked."""
    try:
        if given:
            return report_of(_given(given), "cairn")
        if lab is None:
            return RouterReport(skipped=NO_ROUTER)
        return _of_lab(lab)
    except (Unanswered, ForeignFailed, OSError, ValueError, msgspec.MsgspecError) as error:
        return RouterReport(skipped=" ".join(str(error).split()), kind=lab.router if lab else "")


def _given(given: str) -> Views:
    if given.startswith(("http://", "https://")):
        with urllib.request.urlopen(given, timeout=PATIENCE_S) as answer:  # noqa: S310
            return load_views(answer.read())
    return ask(given)


def _of_lab(lab: Lab) -> RouterReport:
    match lab.router:
        case "cairn":
            views = ask(str(lab.router_socket))
        case "frr" | "bird":
            folder = lab.run / ROUTER
            views = namespace.call_in(lab.netns(ROUTER), read_foreign, f"{lab.router}:{folder}")
        case _:
            views = read_openbgpd(lab)
    report = report_of(views, lab.router)
    wanted = [(name.replace(".", "/"), v) for name, v in router_plan(lab).sysctls.items()]

    def kernel() -> RouterReport:
        with RouteSocket() as socket:
            links = read_links(socket)
            return msgspec.structs.replace(
                report,
                links=links,
                routes=read_routes(socket, links),
                neighbours=read_neighbours(socket, links),
                settings=read_settings(wanted),
                has_kernel=True,
            )

    return namespace.call_in(lab.netns(ROUTER), kernel)


def report_of(views: Views, kind: str) -> RouterReport:
    """Return the views of any routing daemon as a report."""
    return RouterReport(
        kind=kind,
        router_id=views.router_id,
        asn=views.asn,
        sessions=tuple(map(_session, views.neighbors)),
        paths=tuple(map(_path, views.paths)),
        counters=views.counters,
        now_at=views.now_at,
    )


def _session(row: NeighborRow) -> RouterSession:
    error = row.details.get("Last error", "")
    return RouterSession(row.address, row.asn, row.state.lower(), row.since_s, row.prefixes, error)


def _path(row: PathRow) -> RouterPath:
    return RouterPath(
        row.prefix, row.gateway, row.neighbor, row.valid, row.best, row.stale, row.reason
    )


def read_openbgpd(lab: Lab) -> Views:
    """Return what OpenBGPD's own tool says; raises Unanswered."""
    answers = []
    for what in ("neighbor", "rib"):
        argv = [*router_plan(lab).bgpctl, "-j", "show", what]
        done = subprocess.run(argv, capture_output=True, timeout=PATIENCE_S, check=False)
        if done.returncode:
            raise Unanswered(f"bgpctl: {done.stderr.decode(errors='replace').strip()}")
        answers.append(msgspec.json.decode(done.stdout))
    return openbgpd_views(*answers)


def openbgpd_views(neighbors: dict[str, object], rib: dict[str, object]) -> Views:
    """Return the JSON of OpenBGPD's `show neighbor` and `show rib` as views."""
    rows = neighbors.get("neighbors") or []
    paths = rib.get("rib") or []
    if not isinstance(rows, list) or not isinstance(paths, list):
        raise Unanswered("bgpctl printed another kind of JSON")
    return Views(
        "",
        0,
        tuple(
            NeighborRow(
                address=str(row.get("remote_addr", "")),
                asn=int(row.get("remote_as") or 0),
                received=0,
                sent=0,
                queued=0,
                since_s=None,
                state=str(row.get("state", "")),
                details={"Last error": str(row.get("last_error") or "")},
            )
            for row in rows
        ),
        tuple(
            PathRow(
                prefix=str(path.get("prefix", "")),
                gateway=str(path.get("exit_nexthop", "")),
                neighbor=str((path.get("neighbor") or {}).get("remote_addr", "")),
                valid=bool(path.get("valid")),
                best=bool(path.get("best")),
                internal=path.get("source") == "internal",
            )
            for path in paths
        ),
    )
