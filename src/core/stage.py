"""A stage: one config model and one function, from finished inputs to a finished output."""

import inspect
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from pydantic import BeforeValidator, Field

from src.core.config import Config, Cosmetic, essence, parts
from src.core.errors import MlxError
from src.core.files import digest, stat_fingerprint, to_json
from src.core.log import logged_to, peak_mb
from src.core.manifest import NAME, Manifest, Origin, content, hash_outputs, now, versions
from src.core.project import DEFAULT, Project, load
from src.core.run import Run, Upstream
from src.core.seeds import seed_everything


def as_tuple(value: Any) -> Any:
    """Let one path stand for a list of one."""
    return (value,) if isinstance(value, str | Path) else value


class StageConfig(Config):
    """What every section has.

    A section may have a method `ready() -> None` that raises an MlxError where this machine cannot run its stage:
    `mlx run` asks before the first stage starts.
    """

    input: Annotated[tuple[Path, ...], BeforeValidator(as_tuple)] = ()
    """Folder(s) to read in place of the previous stage's output."""
    max_drop: Annotated[float, Field(ge=0, le=1), Cosmetic()] = 1.0
    """Largest share of rows that may be dropped; above it the stage fails."""

    def wants(self, role: str) -> bool:
        """Whether a stage with these settings reads its input of this role."""
        del role
        return True


C = TypeVar("C", bound=StageConfig)


class Stage(Generic[C]):
    """A function wearing its config: callable from a notebook, listed by the CLI, chained by the pipeline."""

    def __init__(
        self,
        work: Callable[[C, Run], None],
        reads: Mapping[str, tuple[str | None, ...]],
        volatile: tuple[str, ...],
        *,
        service: bool,
        at: str = "",
    ) -> None:
        self.work = work
        self.reads = reads
        self.volatile = volatile
        self.service = service
        self.at = at
        self.name = work.__name__
        self.help = inspect.getdoc(work) or ""
        self.Config: type[C] = get_type_hints(work)["config"]

    def load(self, file: str | Path = DEFAULT, *overrides: str) -> Project:
        """Read a project file for this stage alone; `stage(project)` then runs it."""
        return load(file, overrides, {self.name: self.Config}, whole=False)

    def __call__(self, project: Project, *, force: bool = False) -> Manifest:
        """Run, unless the output is already there, made from this config and these inputs.

        A service runs each time, until it is stopped; its manifest tells what ran and is written nowhere.
        """
        config: C = project.section(self.name)  # type: ignore[assignment]
        output = self.folder(project.name)
        inputs = self.inputs(project)
        key = self.key(project, inputs)
        if self.service:
            return self._serve(config, project, output, inputs, key, fresh=force)
        done = Manifest.find(output)
        if done and done.key == key and not force:
            self._log(done, output, "is up to date")
            return done
        if lost := next((path for path in _outside(config) if output.resolve() in path.resolve().parents), None):
            raise MlxError(f"{lost} would be lost: {self.name} writes its folder anew", "move the file elsewhere, and name it there")
        with logged_to(self._log_file(project)), _Alone(output):
            manifest = self._run(config, project, output, inputs, key, fresh=force)
            self._log(manifest, output, f"{manifest.seconds:.1f} s, {manifest.peak_mb:.0f} MB")
        return manifest

    def folder(self, name: str) -> Path:
        """Where it writes for the project `name`."""
        return Path(self.at.format(name=name)) if self.at else folder(name, self.name)

    def inputs(self, project: Project) -> dict[str, tuple[Upstream, ...]]:
        """What this stage reads: `input:` of its section, else the nearest earlier stage that the project has."""
        config: StageConfig = project.section(self.name)  # type: ignore[assignment]
        found: dict[str, tuple[Upstream, ...]] = {}
        for number, role in enumerate(self.reads):
            if not config.wants(role):
                continue
            if number == 0 and config.input:
                found[role] = tuple(_upstream(path, "") for path in config.input)
            elif maker := self._maker(project, role):
                found[role] = (_upstream(folder(project.name, maker), f"mlx {maker} {project.arguments}"),)
        return found

    def makers(self, project: Project) -> list[str]:
        """The stages of the project whose output this one reads."""
        config: StageConfig = project.section(self.name)  # type: ignore[assignment]
        given = {next(iter(self.reads))} if config.input and self.reads else set()
        found = (self._maker(project, role) for role in self.reads if role not in given and config.wants(role))
        return [maker for maker in found if maker]

    def _maker(self, project: Project, role: str) -> str | None:
        makers = self.reads[role]
        if found := next((each for each in makers if each in project.present), None):
            return found
        if None in makers:
            return None
        names = " or ".join(f"`{each}:`" for each in makers)
        raise MlxError(
            f"{project.file}: nothing makes the {role} that {self.name} reads", f"add a section {names}, or set {self.name}.input"
        )

    def key(self, project: Project, inputs: Mapping[str, tuple[Upstream, ...]]) -> str:
        """Stand for all that the output depends on."""
        config = project.section(self.name)
        marks = {role: [each.fingerprint for each in found] for role, found in inputs.items()}
        return digest([self.name, to_json(essence(config)), project.head.seed, marks, stat_fingerprint(_outside(config))])

    def _run(
        self, config: C, project: Project, output: Path, inputs: dict[str, tuple[Upstream, ...]], key: str, *, fresh: bool
    ) -> Manifest:
        work = output / ".work" / key
        if fresh:
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        staged = _emptied(work / "output")
        seed_everything(project.head.seed)
        start = time.perf_counter()
        run = self._begin(project, staged, work, inputs, fresh=fresh)
        with run.ledger:
            self.work(config, run)
        self._check_drops(config, run)
        outputs = hash_outputs(staged)
        _install(staged, output)
        manifest = self._manifest(config, run, key, outputs, start)
        manifest.write(output)
        shutil.rmtree(output / ".work", ignore_errors=True)
        return manifest

    def _serve(
        self, config: C, project: Project, output: Path, inputs: dict[str, tuple[Upstream, ...]], key: str, *, fresh: bool
    ) -> Manifest:
        with logged_to(self._log_file(project)), _Alone(output):
            start = time.perf_counter()
            run = self._begin(project, output, output, inputs, fresh=fresh)
            self.work(config, run)
        return self._manifest(config, run, key, {}, start)

    def again(self, project: Project) -> Run:
        """The run of a service for a worker of its: the folder is held by who started it, who has checked the inputs."""
        output = self.folder(project.name)
        return self._begin(project, output, output, self.inputs(project), fresh=True)

    def _begin(self, project: Project, output: Path, work: Path, inputs: dict[str, tuple[Upstream, ...]], *, fresh: bool = False) -> Run:
        return Run(
            stage=self.name,
            name=project.name,
            seed=project.head.seed,
            output=output,
            work=work,
            cache=project.head.model_cache,
            inputs=inputs,
            fresh=fresh,
            reread=lambda: self.load(project.file, *project.overrides).section(self.name),
            arguments=(project.file.as_posix(), *project.overrides),
        )

    def _manifest(self, config: C, run: Run, key: str, outputs: dict[str, str], start: float) -> Manifest:
        return Manifest(
            stage=self.name,
            name=run.name,
            key=key,
            fingerprint=content(outputs, self.volatile),
            seed=run.seed,
            config=config.model_dump(mode="json"),
            inputs={r: tuple(Origin(path=u.path.as_posix(), fingerprint=u.fingerprint) for u in us) for r, us in run.inputs.items()},
            outputs=outputs,
            counts=run.ledger.counts(),
            info=run.info,
            versions=versions(),
            created=now(),
            seconds=round(time.perf_counter() - start, 3),
            peak_mb=peak_mb(),
        )

    def _log_file(self, project: Project) -> Path:
        return Path("log") / project.name / f"{self.name}.log"

    def _check_drops(self, config: C, run: Run) -> None:
        ledger = run.ledger
        if ledger.read and ledger.dropped / ledger.read > config.max_drop:
            reasons = ", ".join(f"{reason} {count}" for reason, count in ledger.counts()["reasons"].items())
            raise MlxError(
                f"{self.name} dropped {ledger.dropped} of {ledger.read} rows, more than max_drop {config.max_drop:.0%}: {reasons}",
                f"look at {ledger.path}, or raise {self.name}.max_drop",
            )

    def _log(self, manifest: Manifest, output: Path, note: str) -> None:
        import logging

        logging.getLogger(f"mlx.{self.name}").info("%s → %s (%s)", summary(manifest), output, note)


def stage(
    *, reads: Mapping[str, tuple[str | None, ...]] | None = None, volatile: Iterable[str] = (), service: bool = False, at: str = ""
) -> Callable[[Callable[[C, Run], None]], Stage[C]]:
    """Declare a stage: its name is the function's, its help the docstring, its config the annotation of `config`.

    Args:
        reads: For each role of an input the stages that may make it, nearest first; None where it may be missing.
        volatile: Output files (or folders) that hold times and speeds, and so are no part of the fingerprint.
        service: Whether it runs until it is stopped: never up to date, no output to put in place, no manifest written.
            `run.output` is then its folder itself, held so that a second one does not start.
        at: Where it writes, with `{name}` for the project's name; unless given, the folder that bears its name.
    """
    return lambda work: Stage(work, reads or {}, tuple(volatile), service=service, at=at)


def folder(name: str, stage: str) -> Path:
    """Where `stage` of the project `name` writes."""
    return Path("checkpoint" if stage == "train" else "data") / name / stage


def summary(manifest: Manifest) -> str:
    """The ledger in a line: `120 read, 100 kept, 20 dropped (duplicate 15, language 5)`."""
    counts = manifest.counts
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts["reasons"].items())
    return f"{counts['read']:,} read, {counts['kept']:,} kept, {counts['dropped']:,} dropped" + (f" ({reasons})" if reasons else "")


def _upstream(path: Path, made_by: str) -> Upstream:
    if path.is_file():
        return Upstream(path, stat_fingerprint([path]))
    manifest = Manifest.read(path, made_by)
    return Upstream(path, manifest.fingerprint, manifest)


def _outside(config: Config) -> list[Path]:
    """Files that the config names besides the inputs."""
    return [path for part in parts(config) if callable(files := getattr(part, "files", None)) for path in files()]


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _install(staged: Path, output: Path) -> None:
    """Put a finished output in the place of the one before, which was whole until now."""
    (output / NAME).unlink(missing_ok=True)
    for old in [each for each in output.iterdir() if not each.name.startswith(".")]:
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for new in staged.iterdir():
        new.replace(output / new.name)


class _Alone:
    """Holds an output folder, so that two runs never write to it at once; freed even by kill -9."""

    def __init__(self, output: Path) -> None:
        from filelock import FileLock

        output.mkdir(parents=True, exist_ok=True)
        self.output = output
        self.lock = FileLock(output / ".lock")

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise MlxError(f"{self.output} is being written by another mlx", "wait for it, or end it") from None

    def __exit__(self, *_: object) -> None:
        self.lock.release()
