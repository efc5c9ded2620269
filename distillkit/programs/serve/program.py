"""``distillkit serve``: load, claim the directory, answer until told to stop, save."""

import importlib.util
import ipaddress
import logging
import socket
from pathlib import Path

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.errors import ConfigError
from distillkit.core.provenance import provenance
from distillkit.core.rundir import RunDirectory
from distillkit.core.stopping import stopping
from distillkit.core.terminal import terminal
from distillkit.endpoints.answers import secret
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import pick_device
from distillkit.models.pair import load_pair
from distillkit.online.draft import OnlineDraft
from distillkit.online.records import Buffer
from distillkit.online.routing import ALL
from distillkit.online.serving import Server, Service
from distillkit.programs.osd.drafting import labels_of, learning_of
from distillkit.programs.osd.fields import check_learning
from distillkit.programs.train.differences import check_same
from distillkit.run_drafts import ServeRun
from distillkit.training.checkpoint import (
    Progress,
    check_checkpoint,
    keep_newest,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)

UPDATES = 1_000_000
"""Updates that a schedule counts on; a service has no end."""
NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def serve(composed: Composed, *, console: Console | None = None) -> None:
    """Answer requests until a signal asks to stop; what was learned is saved.

    Raises:
        DistillkitError: something the user has to mend.
    """
    console, run = console or terminal(), composed.run
    key = _checked(run)
    directory = directory_of(composed)
    check_same(directory, composed)
    listening = _listening(run)
    device = pick_device(run.device)
    student, target, notes = load_pair(
        run.student, run.teacher, device=device, precision=run.precision
    )
    assert target is not None
    record = {**provenance(), "device": str(device), "seed": run.seed}
    with directory.claim(
        fingerprint=composed.fingerprint,
        config=composed.yaml(),
        overrides=composed.overrides,
        provenance=record,
    ) as more:
        for note in (*notes, *more):
            console.print(f"note: {note}", soft_wrap=True)
        server, save = _server(run, target, student, directory, composed.fingerprint)
        version = server.drafts[ALL].version
        host, port = listening.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        console.print(f"run directory {directory.path}\ndraft of version {version}")
        console.print(f"serving {run.teacher.name} at {address}/v1", soft_wrap=True)
        _answer(run, server, save, target=target, key=key, listening=listening)
        save()
        console.print(f"saved version {server.drafts[ALL].version} in {directory.path}")


def directory_of(composed: Composed) -> RunDirectory:
    """Where a service keeps its draft: its name, or one of the fingerprint."""
    run: ServeRun = composed.run
    return RunDirectory(Path(run.output) / "serve" / (run.name or composed.fingerprint[:8]))


def _checked(run: ServeRun) -> str:
    """The key that clients must send, once all is known to be there that serving needs.

    Raises:
        ConfigError: a package is missing, or strangers could reach a service without a key.
    """
    check_learning(run)
    if run.buffer.keep:
        raise ConfigError(
            "buffer.keep=true would write requests of strangers to disk, which distillkit serve "
            "never does. Remove it, and buffer.replay with it."
        )
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"distillkit serve needs {', '.join(missing)}. Install distillkit[serve]."
        )
    key = secret(run.key_variable)
    if not key and not _is_loopback(run.host):
        raise ConfigError(
            f"host={run.host} lets others in, and the environment variable {run.key_variable} "
            "holds no key for them to send. Set it, or use host=127.0.0.1."
        )
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(run: ServeRun) -> socket.socket:
    """The socket, bound before anything is loaded."""
    family = socket.AF_INET6 if ":" in run.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((run.host, run.port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigError(
            f"host={run.host} port={run.port} cannot be listened at ({error}). Choose another "
            "port=..., or port=0 for any that is free."
        ) from error
    return listening


def _server(
    run: ServeRun,
    target: LanguageModel,
    student: LanguageModel,
    directory: RunDirectory,
    fingerprint: str,
) -> tuple[Server, "Saving"]:
    """The models, as the newest checkpoint left them, and what saves them."""
    learning = learning_of(run, updates=UPDATES)
    draft = OnlineDraft(ALL, student, target, learning)
    newest = newest_checkpoint(directory.checkpoints)
    if newest is not None:
        progress = check_checkpoint(newest, fingerprint=fingerprint, old=False)
        load_checkpoint(newest, student=student, optimizer=draft.optimizer)
        draft.version = progress.step
    service = Service(
        target=target,
        sampling=run.rollout,
        proposals=run.proposals,
        labels=0 if run.update.interval is None else labels_of(run),
        route=lambda _: ALL,
        update=run.update,
        seed=run.seed,
    )
    saving = Saving(directory, draft, fingerprint=fingerprint, keep=run.checkpoint.keep_last)
    return Server(service, {ALL: draft}, {ALL: Buffer(run.buffer, seed=run.seed)}), saving


class Saving:
    """Writes a draft where it has learned since it was written."""

    def __init__(
        self, directory: RunDirectory, draft: OnlineDraft, *, fingerprint: str, keep: int
    ) -> None:
        self._folder, self._draft = directory.checkpoints, draft
        self._fingerprint, self._keep, self._saved = fingerprint, keep, draft.version

    def __call__(self) -> None:
        draft = self._draft
        if draft.version == self._saved:
            return
        save_checkpoint(
            self._folder,
            student=draft.student,
            optimizer=draft.optimizer,
            progress=Progress(step=draft.version, fingerprint=self._fingerprint),
        )
        keep_newest(self._folder, self._keep)
        self._saved = draft.version


def _answer(
    run: ServeRun,
    server: Server,
    save: Saving,
    *,
    target: LanguageModel,
    key: str,
    listening: socket.socket,
) -> None:
    """Run the endpoint in this thread until a signal asks to stop."""
    # They need an extra, and load what is slow to load.
    from distillkit.serving.app import Endpoint, app_of
    from distillkit.serving.figures import Figures
    from distillkit.serving.running import Running
    from distillkit.serving.worker import Worker

    def save_now_and_then() -> None:
        if server.drafts[ALL].version % run.checkpoint.every == 0:
            save()

    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    figures = Figures()
    figures.show("draft_version", server.drafts[ALL].version)
    endpoint = Endpoint(
        target=target,
        draft=server.drafts[ALL].student,
        name=run.teacher.name,
        sampling=run.rollout,
        limits=run.limits,
        figures=figures,
        worker=Worker(server, run.limits, figures, save_now_and_then),
        key=key,
    )
    running = Running(app_of(endpoint))

    def leave() -> None:
        running.should_exit = True

    with stopping(leave):
        running.run(sockets=[listening])
