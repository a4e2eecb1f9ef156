"""Python imports this by itself, first of all, where its folder is on PYTHONPATH: in the driver and
in the workers of a study under test. The product knows nothing of it.

``TCC_FAULTS`` names a folder outside the store:

    settings.json   save_every_s: seconds between saved states; pause_s: sleep after a step;
                    injuries: trial → {"step": 30, "what": "nan" | "raise" | "die" | "eat"}
    notes.txt       grows: one line an optimiser step, a saved state, a commit, a kill here
    armed.json      kills whoever writes a matching file next: {"key": regex, "when": "before" |
                    "after"} what makes it visible; renamed to fired.json, so each kills once
"""

import contextlib
import json
import os
import re
import signal
import sys
import time
from importlib.machinery import PathFinder
from pathlib import Path


def install(folder):
    note = Notes(folder / "notes.txt")
    changes = {
        "tcc.trial.state": lambda module: keep_often(module, folder, note),
        "tcc.trial.course": lambda module: injure(module, note),
        "tcc.stores._store": lambda module: note_commits(module, note),
    }
    sys.meta_path.insert(0, Changing(changes))
    for name in ("replace", "link", "unlink"):
        setattr(os, name, deadly(getattr(os, name), folder, note))


class Notes:
    """Adds whole lines to a file that several processes share."""

    def __init__(self, path):
        self.path, self.handle = path, None

    def __call__(self, what, trial, number=0):
        if self.handle is None:
            self.handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        line = f"{what} {trial} {number} {os.getpid()} {time.time():.3f}\n"
        os.write(self.handle, line.encode())


class Changing:
    """Finds modules as Python does, and changes some as soon as they are imported."""

    def __init__(self, changes):
        self.changes = changes

    def find_spec(self, name, path=None, target=None):
        if name not in self.changes:
            return None
        spec = PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self.changes[name](module)

        spec.loader.exec_module = exec_module
        return spec


def settings(folder):
    return json.loads((folder / "settings.json").read_text())


def keep_often(module, folder, note):
    """Saves a training's state far more often, and notes what was saved and taken up."""
    found = settings(folder)
    if "save_every_s" in found:
        module.AT_SELECTION_S = module.BETWEEN_S = found["save_every_s"]
        module.WORK_PER_SAVE = 1
    restore, save = module.Keeper.restore, module.Keeper.save

    def noting_restore(self, *args, **kwargs):
        course = restore(self, *args, **kwargs)
        now = settings(folder)
        course.noted = (self.trial, now.get("pause_s", 0), now.get("injuries", {}).get(self.trial))
        note("restored", self.trial, course.step)
        return course

    def noting_save(self, course, *args, **kwargs):
        step = course.step
        save(self, course, *args, **kwargs)
        note("saved", self.trial, step)

    module.Keeper.restore, module.Keeper.save = noting_restore, noting_save


def injure(module, note):
    """Notes each optimiser step of a training; does to it what the settings say."""
    add = module.Course.add

    def noting_add(self, terms):
        trial, pause_s, injury = self.noted
        note("step", trial, self.step)
        if pause_s:
            time.sleep(pause_s)
        if injury and self.step == injury["step"]:
            terms = HOW[injury["what"]](terms)
        add(self, terms)

    module.Course.add = noting_add


def nan(terms):
    return {**terms, "total": terms["total"] * float("nan")}


def throw(terms):
    raise RuntimeError("injected")


def die(terms):
    os.kill(os.getpid(), signal.SIGKILL)


def eat(terms):
    """Takes memory until somebody ends this process."""
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1 << 20)) * 64)
        time.sleep(0.05)


HOW = {"nan": nan, "raise": throw, "die": die, "eat": eat}


def note_commits(module, note):
    commit = module.Store.commit

    def noting_commit(self, record):
        commit(self, record)
        note("committed", record.trial.id)

    module.Store.commit = noting_commit


def deadly(call, folder, note):
    """A call that makes a file appear or vanish, and may be the last thing its process does."""
    armed, fired = folder / "armed.json", folder / "fired.json"
    rename = os.rename

    def called(*args, **kwargs):
        if not armed.exists():
            return call(*args, **kwargs)
        target = os.fspath(args[-1])
        with contextlib.suppress(OSError, ValueError):
            wanted = json.loads(armed.read_text())
            if re.search(wanted["key"], target):
                rename(armed, fired)  # of several writers one gets it
                if wanted["when"] == "after":
                    call(*args, **kwargs)
                note("died", target.replace(" ", "_"))
                os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)

    return called


if "TCC_FAULTS" in os.environ:
    install(Path(os.environ["TCC_FAULTS"]))
