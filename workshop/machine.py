"""The machine that measures: what it is, and what else it does meanwhile."""

import os
import platform
import re

import torch


def seconds_of_others():
    """Return the seconds that all cores have worked for other processes; None without /proc."""
    if not os.path.exists("/proc/stat"):
        return None
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, *more = map(int, file.readline().split()[1:9])
    all_of_them = (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")
    return all_of_them - sum(os.times()[:4])  # without this process and its children


def machine(device):
    """Return on what a run was made; threads as torch takes them by default."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = re.search(r"model name\s*: (.*)", file.read())  # ARM has none
        cpu = names[1] if names else cpu
    found = {"device": device, "cpu": cpu, "cores": os.cpu_count(), "system": platform.system()}
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    found["threads"] = torch.get_num_threads()
    return found | {"python": platform.python_version(), "torch": torch.__version__}
