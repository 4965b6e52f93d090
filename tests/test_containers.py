"""The containers: what they are built from exists and is pinned, and what they start runs outside of one."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from seqclass.bundle import Bundle
from seqclass.data.store import Store

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, in upper case, and what follows them."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.split()[0].upper(), line.split(maxsplit=1)[1]) for line in lines]


def values(file: Path, instruction: str) -> list[str]:
    return [rest for name, rest in instructions(file) if name == instruction]


def arguments(file: Path) -> dict[str, str]:
    return dict(rest.split("=", 1) for rest in values(file, "ARG"))


def pins() -> dict[str, str]:
    lines = [Requirement(line) for line in (ROOT / "req.txt").read_text().splitlines() if line.strip()]
    return {normal(each.name): str(each.specifier).removeprefix("==") for each in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def extras() -> dict[str, list[str]]:
    tree = ast.parse((ROOT / "setup.py").read_text())
    call = next(
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    return {"": ast.literal_eval(given["install_requires"]), **ast.literal_eval(given["extras_require"])}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    file: Path = request.param
    return file


def test_there_is_one_to_train_and_one_to_serve() -> None:
    assert [file.name for file in FILES] == ["serve.Dockerfile", "train.Dockerfile"]


def test_everything_that_is_copied_exists_and_is_not_ignored(dockerfile: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = [source for rest in values(dockerfile, "COPY") for source in rest.split()[:-1]]
    assert {"req.txt", "setup.py", "seqclass"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not [pattern for pattern in ignored if Path(source).match(pattern)], source


def test_the_base_is_an_argument_and_pinned_to_a_patch_release(dockerfile: Path) -> None:
    (base,) = values(dockerfile, "FROM")
    assert base == "${BASE}"
    bases = [arguments(dockerfile)["BASE"], *re.findall(r"--build-arg BASE=(\S+)", dockerfile.read_text())]
    assert any("slim" in each for each in bases)
    assert any("cuda" in each for each in bases)
    for each in bases:
        assert re.search(r":\d+\.\d+\.\d+-", each), f"{each} is not one release"


def test_pins_are_those_of_the_pinned_environment(dockerfile: Path) -> None:
    assert arguments(dockerfile)["TORCH"] == pins()["torch"]
    installs = [part for rest in values(dockerfile, "RUN") for part in rest.split("&&") if "pip install" in part]
    assert len(installs) == 3
    for command in installs:
        assert '"torch==${TORCH}"' in command or "--constraint req.txt" in command, command


def test_all_that_is_installed_has_a_pin_within_its_range(dockerfile: Path) -> None:
    known, pinned = extras(), pins()
    (asked,) = re.findall(r'"?\.\[([\w,]+)\]"?', " ".join(values(dockerfile, "RUN")))
    for extra in ["", *asked.split(",")]:
        assert extra in known, f"setup.py has no extra '{extra}'"
        for requirement in map(Requirement, known[extra]):
            pin = pinned.get(normal(requirement.name))
            assert pin is not None, f"req.txt has no pin of {requirement.name}"
            assert requirement.specifier.contains(pin), f"{requirement} and {pin}"


def test_the_pins_are_what_these_tests_ran_with() -> None:
    for name in ("torch", "numpy", "h5py", "onnx", "onnxruntime", "onnxscript"):
        assert version(name).split("+")[0] == pins()[name]


def test_it_does_not_run_as_root_and_says_whether_it_is_well(dockerfile: Path) -> None:
    assert values(dockerfile, "USER") == ["${RUN_AS}"]
    user = arguments(dockerfile)["RUN_AS"]
    assert user not in ("root", "0")
    assert any(f"useradd --create-home --uid 10001 {user}" in rest for rest in values(dockerfile, "RUN"))
    (check,) = values(dockerfile, "HEALTHCHECK")
    command = json.loads(check.split("CMD ", 1)[1])
    assert command[0] in ("python", "seqclass")
    names = [name for name, _ in instructions(dockerfile)]
    last = len(names) - 1 - names[::-1].index("RUN")
    assert last < names.index("USER"), "what is run while building needs to be root"


def test_compose_builds_these_files_and_mounts_a_bundle_read_only() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {name: each["build"]["dockerfile"] for name, each in services.items()} == {
        "train": "docker/train.Dockerfile",
        "serve": "docker/serve.Dockerfile",
    }
    assert services["serve"]["volumes"][0].endswith(":/opt/ml/model:ro")
    port = services["serve"]["ports"][0].split(":")[-1]
    assert port in values(ROOT / "docker" / "serve.Dockerfile", "EXPOSE")


def environment(folder: Path) -> dict[str, str]:
    """That of a container, as far as it goes: `seqclass` and `python` are those of this environment."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    program = programs / "seqclass"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m seqclass "$@"\n')
    program.chmod(0o755)
    (programs / "python").unlink(missing_ok=True)
    (programs / "python").symlink_to(sys.executable)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_the_health_check_and_the_command_of_the_training_image_run(tmp_path: Path) -> None:
    file = ROOT / "docker" / "train.Dockerfile"
    check = json.loads(values(file, "HEALTHCHECK")[0].split("CMD ", 1)[1])
    for command in (check, json.loads(values(file, "CMD")[0])):
        subprocess.run(command, env=environment(tmp_path), cwd=tmp_path, check=True, capture_output=True, timeout=120)


def test_a_sagemaker_job_trains_and_leaves_a_bundle(make_store: Callable[..., Store], tmp_path: Path) -> None:
    job = tmp_path / "ml"
    (job / "input" / "config").mkdir(parents=True)
    (job / "input" / "data" / "training").mkdir(parents=True)
    shutil.move(make_store(num_samples=60).path, job / "input" / "data" / "training" / "store.h5")
    options = {"model": "kmer_logreg", "model.k": "2", "trainer.max_epochs": '"1"', "trainer.accelerator": "cpu"}
    (job / "input" / "config" / "hyperparameters.json").write_text(json.dumps(options))
    machines = {"current_host": "algo-1", "hosts": ["algo-1"]}
    (job / "input" / "config" / "resourceconfig.json").write_text(json.dumps(machines))
    clean = {name: value for name, value in environment(tmp_path).items() if not name.startswith("SM_")}
    done = subprocess.run(
        [sys.executable, ROOT / "docker" / "train.py"],
        env=clean | {"SEQCLASS_SAGEMAKER": str(job)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(Bundle.load(job / "model").targets) == 3


def test_a_sagemaker_job_that_fails_says_why(tmp_path: Path) -> None:
    clean = {name: value for name, value in environment(tmp_path).items() if not name.startswith("SM_")}
    done = subprocess.run(
        [sys.executable, ROOT / "docker" / "train.py"],
        env=clean | {"SEQCLASS_SAGEMAKER": str(tmp_path / "ml")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "no hyper-parameter says which model" in (tmp_path / "ml" / "output" / "failure").read_text()


@pytest.fixture
def service(make_bundle: Callable[..., Bundle], tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The serving image's entry point with the bundle where SageMaker puts it, on a port that is free here."""
    file = ROOT / "docker" / "serve.Dockerfile"
    make_bundle().save(tmp_path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [*json.loads(values(file, "ENTRYPOINT")[0]), *json.loads(values(file, "CMD")[0]), "--port", str(port)]
    given = environment(tmp_path) | {"SM_MODEL_DIR": str(tmp_path / "model")}
    process = subprocess.Popen(
        command, env=given, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield process, port
    process.kill()
    process.wait()


def test_the_service_gets_well_and_ends_when_told(service: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
    process, port = service
    check = json.loads(values(ROOT / "docker" / "serve.Dockerfile", "HEALTHCHECK")[0].split("CMD ", 1)[1])
    assert ":8080/" in check[2], "the health check asks another port than the service's"
    check[2] = check[2].replace(":8080/", f":{port}/")
    for _ in range(240):
        assert process.poll() is None, process.communicate()[0]
        if subprocess.run(check, env=environment(tmp_path), capture_output=True).returncode == 0:
            break
        time.sleep(0.5)
    else:
        pytest.fail("the health check never passed")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
