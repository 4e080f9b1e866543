"""What the tests share: the twelve scripts, a small corpus and Config, ways to run a script."""

import functools
import importlib.util
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

sys.dont_write_bytecode = True  # loading a script leaves no __pycache__ beside it
torch.set_num_threads(1)  # as the scripts that the tests start

ROOT = Path(__file__).resolve().parents[1]
STEPS = json.loads((ROOT / "tools" / "steps.json").read_text(encoding="utf-8"))
FILES = {step["version"]: ROOT / step["file"] for step in STEPS}
LAST = 12  # of the course; beyond/ goes on to NEWEST
NEWEST = max(FILES)

# The first 32 characters of the Thousand Character Classic, all distinct, over and over:
# each character tells the next one, so that every version can learn this text by heart.
ALPHABET = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳"
TEXT = ALPHABET * 20
VOCAB = len(ALPHABET)

SMALL = {
    "device": "cpu",
    "prompts": ("天地", "日"),
    "max_new_tokens": 12,
    "max_iters": 20,
    "eval_interval": 10,
    "eval_iters": 2,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "block_size": 8,
    "n_embed": 16,
    "n_head": 2,
    "n_layer": 2,
    "dropout": 0.1,
    "wandb_mode": "disabled",
}

# One line of progress: step, train loss, val loss
PROGRESS = re.compile(r"^step +(\d+): train loss (\S+), val loss (\S+)$", re.M)

WANDB_PLACES = ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR")
# Should anything try to send: nobody listens at this address
WANDB_SILENCE = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_ERROR_REPORTING": "false"}


def load(version):
    """Return the script as a module, freshly imported."""
    path = FILES[version]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loaded = functools.cache(load)

# Equal up to rounding: a GPU may add up in another order than its own next kernel
assert_close = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)


def versions(first=1, last=NEWEST):
    """Run a test with gpt being each script from first to last."""
    chosen = [version for version in FILES if first <= version <= last]
    return pytest.mark.parametrize("gpt", chosen, indirect=True, ids=lambda n: f"v{n}")


@pytest.fixture
def gpt(request):
    return loaded(request.param)


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    return request.param


@pytest.fixture(autouse=True, scope="session")
def no_wandb_settings(tmp_path_factory):
    """What the user has set for wandb does not count here, and wandb writes nothing at home."""
    home = str(tmp_path_factory.mktemp("wandb-home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name in WANDB_PLACES:
            patch.setenv(name, home)
        for name, value in WANDB_SILENCE.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def fresh_start(tmp_path, monkeypatch):
    """Each test starts in an empty folder and with the same random numbers."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The lesson site, built once for all tests that look at it."""
    from test_tools_site import site

    out = tmp_path_factory.mktemp("site") / "out"
    site.build(out)
    return out


def known_to(gpt, changes):
    names = {f.name for f in fields(gpt.Config)}
    return {k: v for k, v in {**SMALL, **changes}.items() if k in names}


def small(gpt, **changes):
    """Return the small Config, with those of the settings that this version has."""
    return gpt.Config(**known_to(gpt, changes))


def flags(gpt, **changes):
    """Return the small settings as a command line, with those that this version has."""
    argv = []
    for name, value in known_to(gpt, changes).items():
        if isinstance(value, bool):
            argv.append(f"--{name}" if value else f"--no_{name}")
            continue
        values = value if isinstance(value, (tuple, list)) else [value]
        argv += [f"--{name}", *map(str, values)]
    return argv


def new_model(gpt, device="cpu", vocab_size=VOCAB, **changes):
    return gpt.BabyGPT(small(gpt, **changes), vocab_size).to(device)


def random_ids(*shape, device="cpu", vocab_size=VOCAB):
    return torch.randint(vocab_size, shape).to(device)


def data_of(gpt, config, text=TEXT):
    path = Path("text-for-load_data.txt")
    path.write_text(text, encoding="utf-8")
    _, data = gpt.load_data(replace(config, data_path=str(path), prompts=()))
    path.unlink()
    return data


def train(gpt, model, data, config):
    """Call train(), which takes the tokenizer too where it saves the model."""
    more = [gpt.Tokenizer(TEXT)] if hasattr(gpt, "save_checkpoint") else []
    gpt.train(model, data, config, *more)


def interrupt(gpt, monkeypatch, step):
    """Let Ctrl-C be pressed at this training step (evaluation, without gradients, not counted)."""
    get_batch, count = gpt.get_batch, itertools.count()

    def interrupted(*args):
        if torch.is_grad_enabled() and next(count) == step:
            raise KeyboardInterrupt
        return get_batch(*args)

    monkeypatch.setattr(gpt, "get_batch", interrupted)


@pytest.fixture
def run(corpus, capsys, monkeypatch, tmp_path):
    """Return run(gpt, **settings): call main() in a new folder, return what it printed."""
    count = itertools.count(1)

    def run(gpt, **changes):
        folder = tmp_path / f"run-{next(count)}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        try:
            gpt.main(flags(gpt, **{"data_path": corpus, **changes}))
        except KeyboardInterrupt:
            pytest.fail("Ctrl-C ended the script")
        return capsys.readouterr().out

    return run


def samples_of(out):
    """Return the samples in what a run printed, without the header and the progress before."""
    return out.partition("\n\n")[2]


def without_checkpoint(out):
    """Leave out the line in which v12 names the file that it samples from."""
    return re.sub(r"^model: .*\.pt, val loss .*\n", "", out, flags=re.M)


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def start(version, argv, folder, **env):
    """Start a script as a user would, in folder, with a home of its own beside it."""
    home = folder.parent / f"{folder.name}-home"
    home.mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "PYTHON"))}
    env = {
        **kept,
        **WANDB_SILENCE,
        **dict.fromkeys(("HOME", "USERPROFILE", *WANDB_PLACES), str(home)),
        "NETRC": str(home / "netrc"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
        **env,
    }
    posix = {}
    if os.name != "nt":
        # A session of its own, so that Ctrl-C reaches it and its children, but not the tests; and
        # what a shell makes its background jobs ignore, it hears
        listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        posix = {"start_new_session": True, "preexec_fn": listen}
    return subprocess.Popen(
        [sys.executable, str(FILES[version]), *map(str, argv)],
        cwd=folder,
        env=env,
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


def finish(process):
    """Return (stdout, stderr, exit status) of a started script."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            process.kill()
    return out, err, process.returncode
