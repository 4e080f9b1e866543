"""Runs of a script: what one prints, and how to start one as a user would."""

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from steps import find_step

# One line of progress: step, train loss, val loss
PROGRESS = re.compile(r"^step +(\d+): train loss (\S+), val loss (\S+)$", re.M)

# Should anything try to send: nobody listens at this address
WANDB_SILENCE = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_ERROR_REPORTING": "false"}
WANDB_PLACES = ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR")


def losses_of(out):
    """Return what a run printed as [(step, train loss, val loss)]."""
    return [(int(step), float(train), float(val)) for step, train, val in PROGRESS.findall(out)]


def samples_of(out):
    """Return the samples in what a run printed, without the header and the progress before."""
    return out.partition("\n\n")[2]


def without_checkpoint(out):
    """Leave out the line in which v12 names the file that it samples from."""
    return re.sub(r"^model: .*\.pt, val loss .*\n", "", out, flags=re.M)


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def start(version, argv, folder, launcher=(), **env):
    """Start a script as a user would, in folder, with a home of its own beside it."""
    home = folder.parent / f"{folder.name}-home"
    home.mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "PYTHON"))}
    places = dict.fromkeys(("HOME", "USERPROFILE", *WANDB_PLACES), str(home))
    own = {"NETRC": str(home / "netrc"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    posix = {}
    if os.name != "nt":
        # A session of its own, so that Ctrl-C reaches it and its children, but not the tests; and
        # what a shell makes its background jobs ignore, it hears
        listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        posix = {"start_new_session": True, "preexec_fn": listen}
    return subprocess.Popen(
        [sys.executable, *launcher, str(find_step(version).path), *map(str, argv)],
        cwd=folder,
        env={**kept, **WANDB_SILENCE, **places, **own, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        **posix,
    )


def wait_for(process, line_start):
    for line in process.stdout:
        if line.startswith(line_start):
            return
    pytest.fail(f"no line {line_start!r}: {process.stderr.read()}")


def finish(process, timeout=120):
    """Return (stdout, stderr, exit status) of a started script."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            process.kill()
    return out, err, process.returncode
