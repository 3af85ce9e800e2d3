from pathlib import Path

from doctor.looking import looking, plant
from slipway.doctor.checks import hygiene


def test_packages_of_the_user(tmp_path: Path) -> None:
    here, folder = looking(tmp_path), tmp_path / "site-packages"
    path = ["", "/usr/lib/python3", str(folder)]

    def origin(name: str) -> str | None:
        return str(folder) if name == "numpy" else "/usr/lib/python3"

    assert hygiene.user_site(here, path[:2], str(folder), origin).status == "ok"
    found = hygiene.user_site(here, path, str(folder), origin)
    assert (found.status, found.saw) == ("fault", f"{folder} is on Python's path and gives numpy")
    assert hygiene.user_site(here, path, str(folder), lambda name: None).status == "warning"
    plant(tmp_path / "opt/slipway/etc/env.sh")  # in the image nothing of it has a place
    assert hygiene.user_site(here, path, str(folder), lambda name: None).status == "fault"


def test_variables_of_the_host(tmp_path: Path) -> None:
    assert hygiene.environment(looking(tmp_path, environment={"PYTHONPATH": ""})).status == "ok"
    own = looking(tmp_path, environment={"PYTHONPATH": "/src"})
    assert hygiene.environment(own, lambda name: "/venv").status == "warning"
    found = hygiene.environment(own, lambda name: "/src" if name == "torch" else "/venv")
    assert (found.status, found.saw) == ("fault", "PYTHONPATH=/src; torch would come from there")
    library = looking(tmp_path, environment={"LD_PRELOAD": f"{tmp_path}/gone.so libm.so.6"})
    found = hygiene.environment(library, lambda name: "/venv")
    assert found.status == "fault" and f"not there: {tmp_path}/gone.so" in found.saw


def test_where_a_package_is() -> None:
    assert (hygiene.where("numpy") or "").endswith("packages/numpy")
    assert hygiene.where("no_such_package") is None
