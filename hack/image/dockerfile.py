"""Runs the stages of the Dockerfile on this machine, without Docker, and compares what comes of them
with the archives of hack/build-image.sh.

usage: dockerfile.py ARCHIVES WORK

Needs root, in a mount namespace of its own, with which all goes that it mounts in the directory WORK.
Nothing is removed by hand, for much of what is in there is not its own. This machine stands for the images that stages begin
with: each stage sees its files, writes into an overlay, and has in its working directory only what
it copies there. That directory is the repository's, so that cargo finds what it has built.
"""

import copy
import fnmatch
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile

from dockerfile_parse import DockerfileParser

REPOSITORY = pathlib.Path.cwd()
# Where the Dockerfile has the repository.
SOURCE = "/src"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
# What this machine has in place of a base image.
BASES = re.compile(r"(rust:\S+-slim-\S+|debian:\S+-slim)$")


class Archive:
    """An image as hack/build-image.sh packed it."""

    def __init__(self, path):
        self.tar = tarfile.open(path)
        manifest = self.json(self.json("index.json")["manifests"][0]["digest"])
        config = self.json(manifest["config"]["digest"])
        self.config = {key: config["config"][key] for key in ("User", "Env", "WorkingDir", "Labels")}
        self.entry = {key: config["config"].get(key) for key in ("Entrypoint", "Cmd")}
        self.layers = [layer["digest"] for layer in manifest["layers"]]

    def read(self, name):
        name = name if name.endswith(".json") else "blobs/sha256/" + name.removeprefix("sha256:")
        return self.tar.extractfile(name).read()

    def json(self, name):
        return json.loads(self.read(name))

    def unpack(self, root):
        for digest in self.layers:
            with tarfile.open(fileobj=io.BytesIO(self.read(digest)), mode="r:gz") as layer:
                # It is of our own making, and modes count. Older Pythons have no filters.
                layer.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
                layer.extractall(root)
        return root


def tree(root):
    """Each path with its kind, mode, and content or target."""
    found = {}
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = "directory"
        mode = "" if path.is_symlink() else oct(stat.S_IMODE(about.st_mode))
        found["/" + str(path.relative_to(root))] = (mode, content)
    return found


class Stage:
    """What an instruction after the other makes of a base."""

    def __init__(self, build, name, base, work):
        self.build, self.name = build, name
        self.base = build.stages.get(base)
        assert self.base or base == "scratch" or BASES.match(base), f"{base} is no base that is known"
        self.environment = dict(self.base.environment) if self.base else {}
        self.config = {"User": "", "Env": [], "WorkingDir": "/", "Labels": {}}
        if self.base:
            self.config = copy.deepcopy(self.base.config)
        self.entry = {"Entrypoint": None, "Cmd": None}
        self.is_scratch = base == "scratch"
        self.source, self.root = work / name / "source", work / name / "root"
        self.source.mkdir(parents=True)
        self.root.mkdir()
        if self.is_scratch:
            return
        upper, overlay = work / name / "upper", work / name / "overlay"
        upper.mkdir()
        overlay.mkdir()
        below = [str(stage.upper) for stage in self.ancestors()] + ["/"]
        options = f"lowerdir={':'.join(below)},upperdir={upper},workdir={overlay}"
        mount("-t", "overlay", "overlay", "-o", options, self.root)
        mount("--rbind", "/dev", self.root / "dev")
        mount("-t", "proc", "proc", self.root / "proc")
        self.upper = upper
        if self.base:
            shutil.copytree(self.base.source, self.source, symlinks=True, dirs_exist_ok=True)
        self.inside(SOURCE).mkdir(parents=True, exist_ok=True)
        mount("--bind", self.source, self.inside(SOURCE))

    def ancestors(self):
        return [self.base, *self.base.ancestors()] if self.base else []

    def inside(self, path):
        return self.root / rebased(path).lstrip("/")

    def instruct(self, instruction, value):
        getattr(self, instruction.lower())(value)

    def arg(self, value):
        name, _, default = value.partition("=")
        given = self.build.arguments.get(name, default)
        if given != "":
            self.environment[name] = given

    def env(self, value):
        self.config["Env"].append(value)

    def label(self, value):
        for name, said in re.findall(r'([\w.]+)="([^"]*)"', value):
            self.config["Labels"][name] = self.expanded(said)

    def workdir(self, value):
        self.config["WorkingDir"] = value

    def user(self, value):
        self.config["User"] = value

    def entrypoint(self, value):
        self.entry["Entrypoint"] = value

    def cmd(self, value):
        self.entry["Cmd"] = value

    def expanded(self, value):
        return re.sub(r"\$\{?(\w+)\}?", lambda name: self.environment.get(name[1], ""), value)

    def copy(self, value):
        *sources, target = value.split()
        stage = next((one.removeprefix("--from=") for one in sources if one.startswith("--from=")), None)
        sources = [one for one in sources if not one.startswith("--")]
        to = self.inside(os.path.join(self.config["WorkingDir"], target))
        for source in sources:
            if stage:
                copy_into(self.build.stages[stage].inside(source), to)
            else:
                is_directory = (REPOSITORY / source).is_dir()
                for path in self.build.context(source):
                    place = to / path.relative_to(source) if is_directory else to / path.name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(REPOSITORY / path, place, follow_symlinks=False)

    def run(self, value):
        mounts, command = re.match(r"((?:--mount=\S+\s+)*)(.*)", value, re.DOTALL).groups()
        for target in re.findall(r"target=([^, ]+)", mounts):
            # What cargo has built here is its cache.
            if target.startswith(SOURCE):
                self.inside(target).mkdir(parents=True, exist_ok=True)
                mount("--bind", REPOSITORY / target.removeprefix(SOURCE + "/"), self.inside(target))
        environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        environment |= {key: os.environ[key] for key in os.environ if key.startswith(("CARGO_HOME", "RUSTUP"))}
        where = rebased(self.config["WorkingDir"])
        subprocess.run(
            ["chroot", self.root, "/bin/sh", "-c", f"cd '{where}' && {rebased(command)}"],
            check=True,
            env=environment | self.environment,
            stdin=subprocess.DEVNULL,
        )


def rebased(path):
    """The repository's own path, where the Dockerfile has another."""
    return re.sub(rf"(?<![\w/.-]){SOURCE}(?![\w-])", str(REPOSITORY), str(path))


def copy_into(source, to):
    if source.is_dir():
        shutil.copytree(source, to, symlinks=True, dirs_exist_ok=True)
    elif source.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, to)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


class Build:
    def __init__(self, text, arguments, work, stages=None):
        self.arguments, self.work = arguments, work
        self.stages = stages if stages is not None else {}
        parser = DockerfileParser(fileobj=io.BytesIO())
        parser.content = text
        self.instructions = [one for one in parser.structure if one["instruction"] != "COMMENT"]
        ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
        self.ignored = [line for line in ignored if line and not line.startswith("#")]

    def context(self, source):
        """The repository's files that are sent to the builder, of a file or a directory."""
        listed = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "--", source],
            check=True, stdout=subprocess.PIPE, text=True,
        ).stdout.splitlines()
        assert listed, f"{source} is copied, and is not there"
        parts = lambda path: ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
        kept = lambda path: not any(fnmatch.fnmatch(part, pattern) for part in parts(path) for pattern in self.ignored)
        return [pathlib.Path(path) for path in listed if kept(path) and os.path.lexists(path)]

    def run(self, only=None):
        """Runs the stages, or those alone that are named, and returns the last one."""
        versions, stage, name = {}, None, None
        for one in self.instructions:
            if one["instruction"] == "FROM":
                base, _, name = re.match(r"(?:--platform=\S+ )?(\S+)( AS (\S+))?$", one["value"]).groups()
                for key, value in versions.items():
                    base = base.replace(f"${{{key}}}", value)
                wanted = only is None or name in only
                stage = Stage(self, name, base, self.work) if wanted else None
                if wanted:
                    self.stages[name] = stage
            elif name is None:
                key, _, value = one["value"].partition("=")
                versions[key] = value
            elif stage:
                stage.instruct(one["instruction"], one["value"])
        return self.stages


def difference(stage, archive, unpacked):
    """What is other in words; empty if nothing is."""
    config = stage.config | {"Env": sorted(stage.config["Env"])}
    theirs = archive.config | {"Env": sorted(archive.config["Env"])}
    for key in theirs:
        if config[key] != theirs[key]:
            return f"{key} is {config[key]}, and in the archive {theirs[key]}"
    if stage.entry != archive.entry:
        return f"it begins with {stage.entry}, and in the archive {archive.entry}"
    ours, theirs = tree(stage.root), tree(unpacked)
    for path in sorted(ours.keys() | theirs.keys()):
        if ours.get(path) != theirs.get(path):
            return f"{path} is {ours.get(path)}, and in the archive {theirs.get(path)}"
    return ""


# What is changed of the last stage, into what.
PLANTED = [
    ("USER 4150:4150", "USER 0:0"),
    ("USER 4150:4150\n", "USER 4150:4150\nENTRYPOINT /netting/netting-sidecar\n"),
    ("ENV PATH=/netting:/usr/sbin:/usr/bin\nWORKDIR /\nLABEL org.opencontainers.image.title=\"netting\"",
     "ENV PATH=/netting:/usr/bin\nWORKDIR /\nLABEL org.opencontainers.image.title=\"netting\""),
    ("COPY --from=base /base/netting/ /\n", "COPY --from=base /base/netting-test-app/ /\n"),
    ("COPY --from=netting-binaries /binaries/ /\n", "COPY --from=netting-binaries /binaries/netting /netting/\n"),
    ("LABEL org.opencontainers.image.title=\"netting\" ", "LABEL org.opencontainers.image.title=\"mesh\" "),
]

failed = 0


def check(sentence, fault):
    global failed
    failed += bool(fault)
    print(("FAIL  " if fault else "ok    ") + sentence + (f": {fault}" if fault else ""), flush=True)


def main(archives, work):
    text = pathlib.Path("Dockerfile").read_text()
    hadolint = subprocess.run(["hadolint", "Dockerfile"], stdout=subprocess.PIPE, text=True)
    check("hadolint finds nothing wrong with the Dockerfile", hadolint.stdout.strip())
    # An overlay's upper directory may not be in an overlay itself.
    mount("-t", "tmpfs", "tmpfs", work)
    images = {name: Archive(archives / f"{name}.tar") for name in ("netting", "netting-test-app")}
    labels = images["netting"].config["Labels"]
    created = labels["org.opencontainers.image.created"]
    epoch = subprocess.run(["date", f"--date={created}", "+%s"], check=True, stdout=subprocess.PIPE, text=True)
    arguments = {
        "TARGETARCH": ARCHITECTURE,
        "PROFILE": labels["dev.netting.profile"],
        "SOURCE_DATE_EPOCH": epoch.stdout.strip(),
        "CREATED": created,
        "REVISION": labels["org.opencontainers.image.revision"],
    }
    (work / "stages").mkdir()
    stages = Build(text, arguments, work / "stages").run()
    unpacked = {name: archive.unpack(work / "archives" / name) for name, archive in images.items()}
    for name, archive in images.items():
        check(f"the Dockerfile makes the {name} of hack/build-image.sh", difference(stages[name], archive, unpacked[name]))
    for number, (wanted, other) in enumerate(PLANTED):
        assert text.count(wanted) == 1, f"{wanted!r} is in the Dockerfile once"
        planted = work / f"planted-{number}"
        planted.mkdir()
        made = Build(text.replace(wanted, other), arguments, planted, dict(stages)).run(only={"netting"})
        found = difference(made["netting"], images["netting"], unpacked["netting"])
        check(f"{other.strip().splitlines()[-1]!r} in its stead is found out", "" if found else "it is the same")
    return failed


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    os.umask(0o022)
    sys.exit(1 if main(*map(pathlib.Path, sys.argv[1:])) else 0)
