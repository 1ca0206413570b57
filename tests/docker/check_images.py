"""The images, built and run: contents, user, health, the way of a photo through two of them, and their end.

`make docker-test` runs these; they take minutes and need root, so `make test` does not.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from tests.docker import confined
from tests.docker.builder import Builder, Image
from tests.docker.conftest import ROOT, Running, arguments, serving

BUILD_TOOLS = ("cc", "gcc", "g++", "c++", "clang", "ld", "make", "cmake", "git", "uv", "hatchling")
CACHES = ("var/cache/uv", "var/cache/pip", "root/.cache", "tmp/*", "src", "opt/uv")
WRITABLE = ("tmp", "data", "out", "var/tmp", "run/lock", "dev", "proc", "sys")
"""Folders that the user of the image may write to where the root file system is not read-only."""

KEY = secrets.token_hex(24)

TRY_EVERYWHERE = """
import os, sys
made = []
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if folder != "/" or name not in ("proc", "sys")]
    path = os.path.join(folder, ".written")
    try:
        open(path, "w").close()
        made.append(folder)
    except OSError:
        pass
print(os.getuid(), os.getgid(), os.getgroups(), sorted(made), sep="\\n")
"""


def test_the_client_image_has_no_torch_and_no_web_framework(client: Image) -> None:
    server_side = ("torch", "fastapi", "starlette", "uvicorn")
    assert client.find(*(f"opt/**/site-packages/{name}" for name in server_side)) == []


def test_the_server_images_have_torch_and_nothing_of_the_tests(server: Image, server_gpu: Image) -> None:
    for image in (server, server_gpu):
        assert image.find("opt/bbmr/lib/*/site-packages/torch/__init__.py"), image.name
        assert (
            image.find(*(f"opt/**/site-packages/{name}" for name in ("pytest", "mypy", "matplotlib"))) == []
        )


def test_there_are_no_build_tools(image: Image) -> None:
    folders = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "opt/*/bin")
    assert image.find(*(f"{folder}/{name}" for folder in folders for name in BUILD_TOOLS)) == []


def test_there_are_no_caches_and_no_sources(image: Image) -> None:
    assert image.find(*CACHES) == []
    assert image.find("opt/**/.git", "opt/**/tests/docker", "opt/**/*.Dockerfile", "opt/app/benchmarks") == []
    # An empty file may remain where a build step saw this machine's package sources.
    for conf in (image.root / "etc/pip.conf", image.root / "etc/uv/uv.toml"):
        assert not conf.exists() or conf.stat().st_size == 0


def test_the_weights_are_there_byte_for_byte(image: Image) -> None:
    for source in (ROOT / "models/bbmr_models/weights").glob("*.safetensors"):
        shipped = image.root / "opt/app/bbmr_models/weights" / source.name
        assert shipped.read_bytes() == source.read_bytes()


def test_the_licence_and_the_labels_are_there(image: Image) -> None:
    assert image.find("opt/app/bbmr-*.dist-info/licenses/LICENSE")
    assert image.config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert image.config["Labels"]["org.opencontainers.image.title"].startswith("bbmr ")


def test_nothing_in_the_image_belongs_to_its_user_or_to_everybody(image: Image) -> None:
    uid = int(image.config["User"].split(":")[0])
    assert uid >= 1000
    loose = []
    for path in image.root.rglob("*"):
        inside = path.relative_to(image.root).as_posix()
        if path.is_symlink() or any(inside == free or inside.startswith(free + "/") for free in WRITABLE):
            continue
        status = path.lstat()
        if status.st_uid == uid or status.st_mode & 0o002:
            loose.append(inside)
    assert loose == []


def test_the_user_can_write_to_tmp_and_the_volume_only(server: Image, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    status, said = confined.run(server, ["python", "-c", TRY_EVERYWHERE], volumes=[(tmp_path, "/data", "rw")])
    assert status == 0, said
    assert said.split("\n")[:4] == ["10001", "10001", "[]", "['/data', '/tmp']"]


def test_the_client_reconstructs_through_the_server(client: Image, running: Running, tmp_path: Path) -> None:
    running.wait()
    script = client_script(running, tmp_path)
    status, said = confined.run(client, *script)
    assert status == 0, said
    assert (tmp_path / "out" / "reconstruction.png").stat().st_size > 100_000
    assert "PSNR" in said


def test_a_server_without_torch_does_the_same(client: Image, server_light: Image, tmp_path: Path) -> None:
    assert server_light.find("opt/**/site-packages/torch") == []
    with serving(server_light, tmp_path / "data") as running:
        running.wait()
        status, said = confined.run(client, *client_script(running, tmp_path))
    assert status == 0, said
    assert "PSNR" in said


def test_a_public_server_wants_the_key_of_its_secret_and_keeps_containers(
    server: Image, tmp_path: Path
) -> None:
    loaded = yaml.safe_load((ROOT / "docker/public.yml").read_text())
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "bbmr_api_keys").write_text(f"alice {KEY}\n")
    os.chown(folder / "bbmr_api_keys", 10001, 10001)
    (folder / "bbmr_api_keys").chmod(0o400)
    container = (ROOT / "tests/vectors/v1/avif.bbmr").read_bytes()
    variables = loaded["services"]["server"]["environment"]
    with serving(server, tmp_path / "data", variables, (folder, "/run/secrets", "ro")) as running:
        running.wait()
        assert put(running, container, {}) == 401
        assert put(running, container, {"Authorization": f"Bearer {KEY}"}) == 201
        kept = [path for path in (running.data / "containers").rglob("*.bbmr") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [container]
    assert kept[0].stat().st_uid == 10001


def test_health_is_bad_without_a_server_and_good_with_one(running: Running) -> None:
    nobody = Running(running.image, running.process, 1, running.data)
    status, said = nobody.health()
    assert status == 1
    assert "no answer" in said
    running.wait()
    assert running.health() == (0, "")


def test_health_turns_bad_when_the_server_is_gone(running: Running) -> None:
    running.wait()
    running.process.kill()
    running.process.wait()
    assert running.health()[0] == 1


def test_sigterm_ends_an_idle_server_with_status_0(running: Running) -> None:
    running.wait()
    running.process.send_signal(getattr(signal, running.image.config["StopSignal"]))
    said, _ = running.process.communicate(timeout=30)
    assert running.process.returncode == 0, said
    assert "Traceback" not in said


def test_sigterm_lets_an_accepted_photo_finish(client: Image, running: Running, tmp_path: Path) -> None:
    running.wait()
    process = confined.start(client, *client_script(running, tmp_path))
    end = time.monotonic() + 120
    while working(running) < 1:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()[0]
    running.process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=120)
    said, _ = running.process.communicate(timeout=30)
    assert (process.returncode, running.process.returncode) == (0, 0), told + said


def test_the_images_name_what_the_server_is_asked_for(server: Image, running: Running) -> None:
    running.wait()
    with urllib.request.urlopen(f"{running.url}/models", timeout=10) as answer:
        report = json.load(answer)
    assert report["devices"] == ["cpu"]
    assert list(server.config["ExposedPorts"]) == [server.environment["BBMR_PORT"] + "/tcp"]


def test_a_change_of_the_code_installs_no_library_again(
    builder: Builder, context: Path, server: Image, tmp_path: Path
) -> None:
    changed = shutil.copytree(context, tmp_path / "context")
    (changed / "server/bbmr_server/changed.py").write_text("")
    dockerfile = ROOT / "docker/server.Dockerfile"
    image, said = builder.build("bbmr-server-changed", dockerfile, changed, **arguments("server"))
    steps = [step for step in said.split("STEP ") if "RUN" in step and "requirements.lock" in step]
    assert len(steps) == 2, "torch has a step, and the other libraries have one"
    assert all("Using cache" in step for step in steps)
    assert image.find("opt/app/bbmr_server/changed.py")


def put(running: Running, container: bytes, headers: dict[str, str]) -> int:
    """Have a container kept; the status of the answer."""
    headers = {"Content-Type": "application/vnd.bbmr", **headers}
    request = urllib.request.Request(f"{running.url}/containers", container, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def client_script(
    running: Running, folder: Path
) -> tuple[list[str], dict[str, str], list[tuple[Path, str, str]]]:
    """The client's service of docker-compose.yml, pointed at `running`: command, variables, volumes."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["client"]
    out = folder / "out"
    out.mkdir(exist_ok=True)
    out.chmod(0o777)
    volumes = [(ROOT / "samples", "/samples", "ro"), (out, "/out", "rw")]
    return [*service["entrypoint"], *service["command"]], {"BBMR_SERVER": running.url}, volumes


def working(running: Running) -> float:
    """How many requests the server has accepted and not finished."""
    try:
        with urllib.request.urlopen(f"{running.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except urllib.error.URLError:
        return 0
    return next(float(line.split()[1]) for line in lines if line.startswith("bbmr_queue_length "))
