"""A kubeconfig that cannot be used is one line in plain words; paths in it are relative to it."""

import json
from pathlib import Path

import pytest

from cairn.drive.kubeconfig import NoAccess, from_kubeconfig

CONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "expected"),
        ("just words", "it is no kubeconfig"),
        ("{}", "'contexts' is missing"),
        (json.dumps(CONFIG | {"users": []}), "'u' is missing"),
        (
            json.dumps(
                CONFIG
                | {"clusters": [{"name": "c", "cluster": {
                    "server": "https://x", "certificate-authority": "ca.crt"}}]}
            ),
            "ca.crt: No such file or directory",
        ),
    ],
)  # fmt: skip
def test_broken_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(NoAccess, match=says) as caught:
        from_kubeconfig(path)
    assert str(caught.value).startswith(f"kubeconfig {path}: ")
    assert "\n" not in str(caught.value)
    assert "Errno" not in str(caught.value)


def test_missing_file_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(NoAccess) as caught:
        from_kubeconfig(tmp_path / "none")
    assert "No such file or directory; set KUBECONFIG or pass --kubeconfig" in str(caught.value)
    assert "Errno" not in str(caught.value)


def test_usable_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(CONFIG))
    access = from_kubeconfig(path)
    assert access.url == "https://127.0.0.1:1"
    assert access.headers() == {"Authorization": "Bearer t"}
