"""Debian's Prometheus on a host of the lab, with the project's configuration and quick rules."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from lab_run import ROOT, LabRun, run, wait_for

DEPLOY = ROOT / "deploy" / "prometheus"
HOST = "client-2"
PORT = 9090
QUICK = (
    (r"\[5m\]", "[8s]"),
    (r"\[15m\]", "[20s]"),
    (r"\[1h\] offset 5m", "[60s] offset 8s"),
)
"""What makes rules answer within seconds; their thresholds stay."""


def quick_rules(folder: Path) -> None:
    """Write the rules with windows of seconds, and no waiting before they fire."""
    rules = yaml.safe_load((DEPLOY / "rules" / "cairn.rules.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "0s"
            for pattern, new in QUICK:
                rule["expr"] = re.sub(pattern, new, rule["expr"])
    (folder / "rules").mkdir()
    (folder / "rules" / "cairn.rules.yaml").write_text(yaml.safe_dump(rules))


class Prometheus:
    """One Prometheus that scrapes every process of Cairn in a lab, once a second."""

    def __init__(self, lab: LabRun, folder: Path) -> None:
        self._lab = lab
        config = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        self.fired: set[str] = set()
        """Names of the alerts that were waited for, and came."""
        self._more = folder / "more.json"
        operator = lab.get("pods", "-n", "kube-system", "-l", "k8s-app=cairn-operator")["items"]
        self.operator_node = operator[0]["spec"]["nodeName"]
        for job in config["scrape_configs"]:
            if job["job_name"] == "operator":  # where it runs, and nowhere else
                address = operator[0]["status"]["hostIP"]
                job["static_configs"] = [{"targets": [f"{address}:9963"]}]
                self.leader = f"{address}:9963"
            if job["job_name"] == "cairn-relay":
                job["file_sd_configs"] = [{"files": [str(self._more)]}]
        path = folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(config))
        quick_rules(folder)
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", lab.netns(HOST), "prometheus"),
                    f"--config.file={path}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{PORT}",
                ],
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def ask(self, path: str) -> Any:
        """Return the data of an answer; None while there is none."""
        words = ("curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{PORT}/api/v1/{path}")
        text = run("ip", "netns", "exec", self._lab.netns(HOST), *words, check=False)
        try:
            answer = json.loads(text)
        except json.JSONDecodeError:
            return None
        assert answer["status"] == "success", (path, answer)
        return answer["data"]

    def flows(self) -> dict[tuple[str, str], float]:
        """Return how many flows were counted, by kind and verdict."""
        rows = self.query("sum by (kind, verdict) (cairn_agent_flows_total)")
        return {
            (row["metric"]["kind"], row["metric"]["verdict"]): float(row["value"][1])
            for row in rows
        }

    def grown(self, before: dict[tuple[str, str], float]) -> set[tuple[str, str]]:
        """Return the kinds and verdicts of which there are more than before."""
        return {which for which, count in self.flows().items() if count > before.get(which, 0)}

    def scrape(self, target: str, instance: str) -> None:
        """Scrape another relay too."""
        self._scrape([{"targets": [target], "labels": {"instance": instance}}])

    def scrape_no_more(self) -> None:
        self._scrape([])

    def _scrape(self, rows: list[dict[str, Any]]) -> None:
        made = self._more.with_suffix(".new")
        made.write_text(json.dumps(rows))
        made.rename(self._more)

    def query(self, expression: str) -> list[dict[str, Any]]:
        data = self.ask(f"query?query={quote(expression)}")
        return list(data["result"]) if data else []

    def firing(self) -> set[tuple[str, str]]:
        """Return the alerts that fire, with their instance where they have one."""
        data = self.ask("alerts") or {"alerts": []}
        return {
            (alert["labels"]["alertname"], alert["labels"].get("instance", ""))
            for alert in data["alerts"]
            if alert["state"] == "firing"
        }

    def wait_for_alerts(self, *wanted: tuple[str, str], within_s: float = 30) -> None:
        seen: set[tuple[str, str]] = set()

        def all_seen() -> bool:
            seen.update(self.firing())
            return set(wanted) <= seen

        try:
            wait_for("alerts", all_seen, within_s=within_s)
        except AssertionError:
            raise AssertionError(
                f"do not fire within {within_s} s: {sorted(set(wanted) - seen)}"
            ) from None
        self.fired |= {name for name, _ in wanted}

    def wait_for_names(self, *names: str) -> None:
        """Wait until these alerts fire, for whatever instance."""
        wait_for(f"{names} to fire", lambda: set(names) <= {name for name, _ in self.firing()})
        self.fired |= set(names)

    def wait_for_peace(self, *names: str, within_s: float = 40) -> None:
        """Wait until none of these alerts fires; without names, no alert at all."""

        def noisy() -> set[tuple[str, str]]:
            return {a for a in self.firing() if not names or a[0] in names}

        last: set[tuple[str, str]] = set()

        def quiet() -> bool:
            nonlocal last
            last = noisy()
            return not last

        try:
            wait_for("no alert", quiet, within_s=within_s)
        except AssertionError:
            raise AssertionError(f"still firing: {sorted(last)}") from None
