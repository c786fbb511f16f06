"""From a network to its archive, with a program in Docker's place; tests/image has the real one."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner

import imaging
from evaluation.submission.contents import differences, read_contents
from evaluation.submission.rules import RuleResult, Submission, complete
from imaging.digest import file_sha256, sha256
from inference.manifest import WeightsFile
from tests.evaluation.archives import saved_by_docker, tar_of
from train.cli import main
from train.package import context
from train.package.packaging import Watcher, make_package
from train.package.request import PackageRequest

ROOT = Path(__file__).parents[3]
MANIFEST = "weights_manifest.json"
INSIDE = {
    "workspace/sbom.cdx.json": b"{}",
    "workspace/licences.txt.gz": gzip.compress(b"as it is"),
    "workspace/large": os.urandom(3_000_000),
}

# keeps the context that it is given; has an image from `build` on, or from the start
FAKE_DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$FAKE/calls"
for last; do :; done
case "$1 $2" in
  "version "*) [ ! -e "$FAKE/no daemon" ] || { echo "Cannot connect to the daemon" >&2; exit 1; } ;;
  "build "*) echo "Step 1/2"
    [ ! -e "$FAKE/no build" ] || { echo "manifest of base not found" >&2; exit 1; }
    cp -rp "$last" "$FAKE/context"; echo sha256:new >"$FAKE/image" ;;
  "image inspect") case "$*" in *Size*) echo 685000000 ;; *) cat "$FAKE/image" ;; esac ;;
  "save "*) head -c "${FAKE_SAVED:-100000000}" "$FAKE/saved.tar"
    [ ! -e "$FAKE/no save" ] || { echo "no space left on device" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A folder with a program called docker and what it saves; it is the working folder."""
    folder = tmp_path / "fake"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/docker").write_text(FAKE_DOCKER)
    (folder / "bin/docker").chmod(0o755)
    (folder / "saved.tar").write_bytes(saved_by_docker([tar_of(INSIDE)]))
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def bundle(network):
    """The bundle of the tiny network."""
    manifest = network()
    weights = manifest.folder / "weights"
    weights.mkdir()
    onnx = Path(shutil.move(manifest.weights("onnx"), weights / "tiny.onnx"))
    network(files={"onnx": WeightsFile.of(onnx, "weights/tiny.onnx")})
    (weights / "older.onnx").write_bytes(b"not of this manifest")
    return manifest.folder


def package(*words):
    return CliRunner().invoke(main, ["package", *map(str, words)], env={"COLUMNS": "80"})


def refused(*words):
    """The one line of what is refused; nothing may be left of an archive."""
    done = package(*words)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit)
    assert not list(Path.cwd().glob("**/*team.tar.gz"))
    return done.output.splitlines()[-1].removeprefix("Error: ")


def files_in(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


# ----- what is built --------------------------------------------------------------------------


def test_the_image_gets_the_kit_and_these_weights_and_no_others(fake, bundle):
    done = package(bundle, "-o", "team.tar.gz", "--base", "mine:1", "--network", "host")
    assert done.exit_code == 0, done.output
    built = fake / "context"
    assert files_in(built / "weights") == {"tiny.onnx"}
    brought = {name.partition("/")[0] for name in context.KIT}
    assert {path.name for path in built.iterdir()} == {*brought, "locks", "weights", MANIFEST}
    assert [path.name for path in (built / "train").iterdir()] == ["inventory"]
    assert files_in(built / "locks") == {"inference.txt"}
    assert (built / MANIFEST).read_bytes() == (bundle / MANIFEST).read_bytes()
    for package_of_kit in ("imaging", "inference"):
        wanted = {name for name in files_in(ROOT / package_of_kit) if "__pycache__" not in name}
        assert files_in(built / package_of_kit) == wanted
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in built.rglob("*"))
    [call] = [line for line in (fake / "calls").read_text().splitlines() if "build " in line]
    assert call.startswith("build --tag team:latest --target cpu --network host --build-arg LOCK=")
    assert "BASE_IMAGE=mine:1" in call
    assert f"VERSION={imaging.__version__} " in call
    assert f"MANIFEST_SHA256={file_sha256(bundle / MANIFEST)}" in call
    assert re.search(r"REVISION=[0-9a-f]{40}(\+changes)? ", call)


def test_the_archive_holds_what_docker_saved_and_the_record_has_its_digests(fake, bundle):
    assert package(bundle, "-o", "team.tar.gz").exit_code == 0
    archive = Path("team.tar.gz")
    assert differences(read_contents(archive), read_contents(fake / "saved.tar")) == ()
    record = json.loads(Path("team_package/package.json").read_text())
    assert record["archive"] == {
        "name": "team.tar.gz",
        "sha256": file_sha256(archive),
        "bytes": archive.stat().st_size,
        "tar_sha256": sha256(gzip.decompress(archive.read_bytes())),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }
    with tarfile.open(archive) as plain:
        (image,) = json.load(plain.extractfile("manifest.json"))
    config = image["Config"].removesuffix(".json")
    assert record["image"] == {"tag": "team:latest", "id": f"sha256:{config}", "target": "cpu"}
    assert record["manifest"] == {"name": "tiny", "sha256": file_sha256(bundle / MANIFEST)}
    made = {"build.log", "bundle", "package.json"}
    assert {path.name for path in Path("team_package").iterdir()} == made


def test_what_the_image_holds_and_its_licences_lie_beside_the_archive(fake, bundle):
    done = package(bundle, "-o", "team.tar.gz")
    assert Path("team.cdx.json").read_text() == "{}"
    assert Path("team.licences.txt").read_text() == "as it is"
    told = " ".join(re.sub("[│┃]", " ", done.output).split())
    assert "MB; team.cdx.json and team.licences.txt say what it holds" in told


def test_a_dockerfile_without_the_list_is_told(fake, bundle):
    (fake / "saved.tar").write_bytes(saved_by_docker([tar_of({"a": b""})]))
    done = package(bundle, "-o", "team.tar.gz")
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == (
        "Error: the image has no /workspace/licences.txt.gz, which the kit's Dockerfile makes; "
        "team.tar.gz was written"
    )


def test_the_same_commit_gives_the_same_bytes_on_another_day(fake, bundle):
    assert package(bundle, "-o", "team.tar.gz").exit_code == 0
    before = Path("team.tar.gz").read_bytes()
    saved = saved_by_docker([tar_of(dict(reversed(INSIDE.items())), mtime=9)])
    (fake / "saved.tar").write_bytes(saved)
    assert package(bundle, "-o", "team.tar.gz").exit_code == 0
    assert Path("team.tar.gz").read_bytes() == before


def test_the_date_is_the_commits_or_source_date_epoch(fake, bundle, monkeypatch):
    committed = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert context.date_of(ROOT) == int(committed.stdout)
    assert context.date_of(fake) == 0  # git does not know it
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert package(bundle, "-o", "team.tar.gz").exit_code == 0
    assert "SOURCE_DATE_EPOCH=86400 " in (fake / "calls").read_text()
    with tarfile.open("team.tar.gz") as plain:
        assert {entry.mtime for entry in plain} == {86400}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    told = package(bundle, "-o", "other.tar.gz").output.splitlines()[-1]
    assert told == ("Error: SOURCE_DATE_EPOCH is 'today'; give seconds since 1970, or unset it")


def test_the_table_says_what_was_not_done_and_fits_80_columns(fake, bundle):
    (fake / "image").write_text("sha256:0123456789abcdef\n")
    done = package(bundle, "-o", "team.tar.gz")
    assert max(map(len, done.output.splitlines())) <= 80
    text = " ".join(re.sub("[│┃]", " ", done.output).split())
    for told in (
        "export not asked for",
        "is a bundle: tiny",
        "no --calibrate",
        "2 is 'tumour', in FLARE23 'right kidney'; no spleen, pancreas,",
        "team:latest, 685 MB with its base; sha256:0123456789ab had this name before",
        "no --cases: the image was never run",
    ):
        assert told in text


def test_plans_for_gpus_go_into_the_gpu_image_only(fake, bundle):
    (bundle / "weights/plans").mkdir()
    (bundle / "weights/plans/a.plan").write_bytes(b"plan")
    assert package(bundle, "-o", "team.tar.gz").exit_code == 0
    assert files_in(fake / "context/weights") == {"tiny.onnx"}
    shutil.rmtree(fake / "context")
    assert package(bundle, "-o", "team.tar.gz", "--target", "gpu").exit_code == 0
    assert files_in(fake / "context/weights") == {"tiny.onnx", "plans/a.plan"}
    assert files_in(fake / "context/locks") == {"gpu.txt"}


def test_the_bundle_that_it_made_can_be_given_again(fake, bundle):
    assert package(bundle, "-o", "team.tar.gz").exit_code == 0
    shutil.rmtree(fake / "context")
    assert package("team_package/bundle", "-o", "team.tar.gz").exit_code == 0
    assert files_in(fake / "context/weights") == {"tiny.onnx"}


def test_a_rule_that_fails_leaves_the_archive_and_says_so(fake, bundle, write_ct):
    request = PackageRequest(
        bundle, Path("team.tar.gz"), Path("work"), ROOT, cases={"a": Path("a")}
    )
    found = complete({"runs": RuleResult("failed", "a: exit status 1")}, "not here")
    checks = []

    def check(asked):
        checks.append(asked)
        return Submission("team", None, ("a",), found)

    done = make_package(request, Watcher(check))
    assert [(check.image, check.cases) for check in checks] == [("team.tar.gz", request.cases)]
    [failed] = done.failed
    assert failed.found == "0 of 22 rules passed on 1 CT, failed: runs"
    assert Path("team.tar.gz").is_file()


# ----- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Team.tar.gz", "team.tar", "team.zip", ".tar.gz"])
def test_a_name_that_the_organisers_would_not_take_is_refused_first(fake, bundle, name):
    assert f"{name}: call it " in refused(bundle, "-o", name)
    assert not (fake / "calls").exists()


def test_without_docker(fake, bundle, monkeypatch):
    monkeypatch.setenv("PATH", str(bundle))
    assert "the program docker is not here; install Docker" in refused(bundle, "-o", "team.tar.gz")


def test_without_its_daemon(fake, bundle):
    (fake / "no daemon").touch()
    told = refused(bundle, "-o", "team.tar.gz")
    assert told == (
        "docker version: Cannot connect to the daemon; start Docker's daemon, or ask to be let "
        "into it"
    )


def test_a_folder_that_is_no_result_of_nnu_net(fake):
    Path("empty").mkdir()
    assert "is it an nnU-Net result folder?" in refused("empty", "-o", "team.tar.gz")


def test_without_a_checkout(fake, bundle):
    Path("empty").mkdir()
    told = refused(bundle, "-o", "team.tar.gz", "--checkout", "empty")
    assert told.startswith("empty is no checkout of the kit (no Dockerfile, .dockerignore, LICENSE")
    assert told.endswith("clone the kit and give its folder with --checkout")


def test_weights_that_the_image_would_not_get(fake, network):
    told = refused(network().folder, "-o", "team.tar.gz")
    assert told.startswith("files.onnx.path of manifest 'tiny' is tiny.onnx, the image takes weig")


def test_weights_that_are_not_the_manifests(fake, bundle):
    (bundle / "weights/tiny.onnx").write_bytes(b"others")
    assert "6 bytes, the manifest says" in refused(bundle, "-o", "team.tar.gz")


def test_a_build_that_fails(fake, bundle):
    (fake / "no build").touch()
    told = refused(bundle, "-o", "team.tar.gz")
    assert told == (
        "docker build: manifest of base not found; all of it is in team_package/build.log"
    )
    assert Path("team_package/build.log").read_text().startswith("Step 1/2\n")
    assert [path.name for path in Path("team_package").iterdir() if path.name[0] == "."] == []


def test_a_save_that_breaks_off_leaves_the_archive_of_before(fake, bundle):
    (fake / "no save").touch()
    told = refused(bundle, "-o", "team.tar.gz")
    assert told == "docker save: no space left on device; team.tar.gz was not written"


def test_a_disk_that_is_full(fake, bundle):
    words = [sys.executable, "-m", "train", "package", str(bundle), "-o", "team.tar.gz"]
    limited = ["sh", "-c", 'ulimit -f 2000; exec "$@"', "sh", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(limited, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: cannot write team.tar.gz: File too large"
    assert not list(Path.cwd().glob("*team.tar.gz"))


@pytest.mark.parametrize("words", [("--truth", "."), ("--images", ".", "--truth", ".")])
def test_what_8_bit_weights_need_goes_together(fake, bundle, words):
    done = package(bundle, "-o", "team.tar.gz", *words)
    assert done.exit_code == 2
    assert "--calibrate, --images and --truth go together" in done.output


def test_options_of_the_export_are_refused_where_nothing_is_exported(fake, bundle):
    done = package(bundle, "-o", "team.tar.gz", "--fold", "0", "--trust-checkpoint")
    assert done.exit_code == 2
    assert "exported already: leave out --fold, --trust-checkpoint" in done.output
    assert not (fake / "calls").exists()


def test_a_check_of_an_earlier_archive_is_not_taken_for_this_ones(fake, bundle):
    Path("team_package/check").mkdir(parents=True)
    assert package(bundle, "-o", "team.tar.gz").exit_code == 0
    step = json.loads(Path("team_package/package.json").read_text())["steps"][-1]
    assert step["found"].endswith("; team_package/check is of an earlier archive")


@pytest.mark.parametrize("argument", ["PIP_CERT", "=x"])
def test_a_build_argument_has_a_name_and_a_value(fake, bundle, argument):
    done = package(bundle, "-o", "team.tar.gz", "--build-arg", argument)
    assert done.exit_code == 2
    assert "--build-arg is NAME=VALUE" in done.output


# ----- from nnU-Net's folder ------------------------------------------------------------------


@pytest.mark.slow
def test_a_result_folder_is_exported_and_its_warnings_are_in_the_table(fake, model_folder):
    folder = model_folder()
    folder.fullres["resampling_fn_data_kwargs"] = {"is_seg": False, "order": 3}
    done = package(folder.write(), "-o", "team.tar.gz", "--storage", "f16")
    assert done.exit_code == 0, done.output
    assert files_in(fake / "context/weights") == {"Dataset007_Made_3d_fullres.onnx"}
    steps = json.loads(Path("team_package/package.json").read_text())["steps"]
    assert [step["name"] for step in steps] == [
        *("export", "quantize", "labels", "build", "save", "check")
    ]
    assert steps[0]["outcome"] == "warning"
    assert "trained with order 3; inference resamples linearly" in steps[0]["found"]
    assert files_in(Path("team_package/bundle")) == {
        *("parity.json", MANIFEST, "weights/Dataset007_Made_3d_fullres.onnx")
    }
