"""Runs `uv pip install WORDS...` for the environment of this interpreter, with the indexes that pip is told of.

uv unpacks an environment in a tenth of the processor time that pip takes. It does not read pip's configuration
(files, PIP_*), so that is handed over here. Fails if uv is not available or pip's settings cannot be read: pip remains.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).with_name("lock") / "base.txt"


def options() -> tuple[list[str], dict[str, str]]:
    """What pip is configured with, as options of uv and variables of its environment."""
    from pip._internal.commands.install import InstallCommand

    pip = InstallCommand("install", "").parser.get_default_values()
    words = ["--index-strategy=unsafe-best-match"]  # as pip: all indexes are equal
    words += ["--no-index"] if pip.no_index else ["--default-index", pip.index_url]
    for option, values in (
        ("--index", pip.extra_index_urls),
        ("--find-links", pip.find_links),
        ("--allow-insecure-host", pip.trusted_hosts),
    ):
        words += [word for value in values for word in (option, value)]
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):  # else what is imported is compiled then
        words.append("--compile-bytecode")
    named = {
        "SSL_CERT_FILE": pip.cert,
        "SSL_CLIENT_CERT": pip.client_cert,
        "ALL_PROXY": pip.proxy,
        "UV_HTTP_TIMEOUT": int(pip.timeout),
    }
    return words, {name: str(value) for name, value in named.items() if value}


def pinned(name: str) -> str:
    """The lock's lines on a package: its version and checksums."""
    (found,) = re.findall(rf"^{name}==.*(?:\n +.*)*", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return found


def main(words: list[str]) -> int:
    """Install uv where it is not yet, then what is asked for."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
            file.write(pinned("uv"))
            file.flush()
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
            subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", file.name], check=True)
    more, environment = options()
    command = [str(uv), "pip", "install", "--python", sys.executable, *more, *words]
    return subprocess.run(command, env=os.environ | environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
