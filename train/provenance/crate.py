"""A run of rounds as RO-Crate: every stage an action with its inputs, outputs and software.

Follows RO-Crate 1.1 and Process Run Crate 0.5 (w3id.org/ro/wfrun/process). The folder of the run
itself is the crate: nothing is copied, and one file, `ro-crate-metadata.json`, is added.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity, Dataset, File
from rocrate.rocrate import ROCrate

from imaging.errors import KitError
from imaging.files import replacing
from imaging.records import write_json
from train.rounds.records import RECORD, load_record

METADATA = "ro-crate-metadata.json"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_TERMS = "https://w3id.org/ro/terms/workflow-run#"
_FACTS = ("cpu", "gpu", "cores", "python", "seconds", "device", "seed", "threads")
"""What a stage's record says of its circumstances, as far as it has it."""
NO_LICENSE = (
    "No licence is stated. The run holds label maps of CTs and networks trained on them: see the "
    "licences of its data."
)


@dataclass(frozen=True)
class CrateText:
    """What only a person can say of a run."""

    name: str
    description: str = "A run of semi-supervised rounds: stages, label maps, networks, scores."
    license: str = NO_LICENSE
    """An address, or a sentence."""
    author: str = ""
    """Who ran it."""


@dataclass
class _Described:
    """The crate as it grows."""

    crate: Any
    run: Path
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 by id, of every file that some stage read or wrote."""

    def add(self, place: str, kind: str, **facts: Any) -> Any:
        """Add and return an entity that is no file of the crate; the one at `place` if there is."""
        found = self.crate.dereference(place)
        if found is not None:
            return found
        return self.crate.add(ContextEntity(self.crate, place, {"@type": kind, **facts}))

    def file(self, name: str, sha256: str) -> Any:
        """Return the entity of a file, by its name in records: the same for whoever names it.

        A file of another digest than before is another entity: it has been made again since.
        """
        path, inside = name.removeprefix("run/"), (self.run / name.removeprefix("run/")).is_file()
        place = path if inside else f"#{name}"
        if self.digests.setdefault(place, sha256) != sha256:
            place, inside = f"#{name}@{sha256[:12]}", False
        if not inside:
            return self.add(place, "CreativeWork", name=name, sha256=sha256)
        if (found := self.crate.dereference(place)) is not None:
            return found
        facts = {
            "name": name,
            "sha256": sha256,
            "contentSize": str((self.run / path).stat().st_size),
            "encodingFormat": guess_type(path)[0] or "application/octet-stream",
        }
        return self.crate.add(File(self.crate, self.run / path, path, properties=facts))


def stage_records(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and the record of every stage that was done, in the order of their ends.

    Raises:
        KitError: There is none.
    """
    found = sorted(run.rglob(RECORD), key=lambda path: (path.stat().st_mtime, path))
    if not found:
        raise KitError(f"{run} holds no {RECORD}; give the folder of a `train run`")
    for path in found:
        yield path.parent, load_record(path)


def write_crate(run: Path, text: CrateText) -> int:
    """Describe a run in RUN/ro-crate-metadata.json.

    Args:
        run: Its folder.
        text: Name, description and licence.

    Returns:
        How many stages are described.

    Raises:
        KitError: It holds no stage, a record is none, or the file cannot be written.
    """
    crate = ROCrate(gen_preview=False, version="1.1")
    crate.metadata.extra_terms["sha256"] = f"{_TERMS}sha256"
    described = _Described(crate, run)
    crate.name, crate.description = text.name, text.description
    crate.license = _license(described, text.license)
    if text.author:
        crate.root_dataset["author"] = described.add("#author", "Person", name=text.author)
    crate.root_dataset["conformsTo"] = described.add(
        _PROFILE, "CreativeWork", name="Process Run Crate", version="0.5"
    )
    actions = [_action(described, folder, record) for folder, record in stage_records(run)]
    for action in actions if text.author else ():
        action["agent"] = crate.root_dataset["author"]
    crate.root_dataset["mentions"] = _one_or_all(actions)
    crate.datePublished = max(action["endTime"] for action in actions)
    with replacing(run / METADATA) as partial:
        write_json(crate.metadata.generate(), partial)
    return len(actions)


def _license(described: _Described, text: str) -> Any:
    """Return an entity: an address as such, a sentence as a work that says it."""
    if text.startswith(("http://", "https://")):
        return described.add(text, "CreativeWork", name=text)
    return described.add("#licence", "CreativeWork", name="Licence", description=text)


def _action(described: _Described, folder: Path, record: Mapping[str, Any]) -> Any:
    """Add one stage: the action, its files and its software."""
    crate, run = described.crate, described.run
    place, key = folder.relative_to(run).as_posix(), str(record["stage"])
    ended = datetime.fromtimestamp((folder / RECORD).stat().st_mtime, UTC)
    started = ended - timedelta(seconds=float(record["seconds"]))
    outputs = [
        described.file(f"run/{place}/{name}", digest)
        for name, digest in record["outputs"].items()
        if name not in record["inputs"]
    ]
    stage = crate.add(Dataset(crate, folder, place, properties={"name": f"stage {key}"}))
    stage["hasPart"] = _one_or_all(outputs)
    for output in outputs:
        crate.root_dataset["hasPart"].remove(output)
    inputs = [described.file(name, digest) for name, digest in record["inputs"].items()]
    entity = described.add(
        f"#stage/{key}",
        "CreateAction",
        name=f"stage {key}",
        description=f"python -m train stage, {key}; its record is {place}/{RECORD}",
        startTime=started.isoformat(timespec="seconds"),
        endTime=ended.isoformat(timespec="seconds"),
        actionStatus="http://schema.org/CompletedActionStatus",
    )
    entity["instrument"] = _software(described, record)
    entity["object"], entity["result"] = _one_or_all(inputs), _one_or_all([stage, *outputs])
    entity["additionalProperty"] = [
        described.add(f"#stage/{key}/{name}", "PropertyValue", name=name, value=record[name])
        for name in _FACTS
        if record.get(name) is not None
    ]
    return entity


def _one_or_all(entities: list[Any]) -> Any:
    """Return one entity as itself: JSON-LD in a crate has no list of one."""
    return entities[0] if len(entities) == 1 else entities


def _software(described: _Described, record: Mapping[str, Any]) -> Any:
    """Return the kit at this commit, with the packages that it needed."""
    commit = record.get("commit") or "no commit known"
    kit = described.add(
        f"#flare23-kit@{record['kit']}-{commit}",
        "SoftwareApplication",
        name="flare23-kit",
        softwareVersion=f"{record['kit']}, {commit}",
        url="https://arxiv.org/abs/2310.01159",
    )
    packages = record["packages"].items()
    addresses = {name: f"https://pypi.org/project/{name}/{version}/" for name, version in packages}
    kit["softwareRequirements"] = [
        described.add(
            addresses[name],
            "SoftwareApplication",
            name=name,
            softwareVersion=version,
            url=addresses[name],
        )
        for name, version in packages
    ]
    return kit
