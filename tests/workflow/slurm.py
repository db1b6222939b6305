"""A Slurm of one node, this machine, for tests: munged, slurmctld and slurmd without systemd, cgroups or accounting."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where Slurm looks for its configuration: Snakemake's plug-in takes SLURM_* out of the environment of jobs.
CONFIGURATION = Path("/etc/slurm/slurm.conf")

DAEMONS = ("munged", "slurmctld", "slurmd")


def why_not() -> str | None:
    """Return why no Slurm can be started here, None if one can."""
    missing = [name for name in (*DAEMONS, "sbatch", "scontrol") if not find(name)]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}); Debian: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "starting Slurm takes root"
    if CONFIGURATION.exists() and not CONFIGURATION.is_symlink():
        return f"this machine has a Slurm of its own ({CONFIGURATION})"
    return None


def find(name: str) -> str | None:
    """Return the path of a program, in /usr/sbin too."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """A running Slurm with one partition, ``main``; its files are in ``folder``. Stopped afterwards, nothing of it left."""
    for name in ("state", "spool", "log"):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(configuration(folder))
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.unlink(missing_ok=True)
    CONFIGURATION.symlink_to(folder / "slurm.conf")
    started = [] if running("munged") else [start_munge()]
    try:
        subprocess.run([str(find("slurmctld")), "-i"], check=True)
        subprocess.run([str(find("slurmd"))], check=True)
        wait_for(lambda: call("sinfo", "-h", "-o", "%t").strip() in ("idle", "mix", "alloc"), "the node to be idle")
        yield
    finally:
        call("scancel", "--user", "root", check=False)
        for name in ("slurmd", "slurmctld"):
            stop(folder / f"{name}.pid")
        for path in started:
            stop(path)
        CONFIGURATION.unlink(missing_ok=True)


def start_munge() -> Path:
    """Start the service that signs messages, with a key of its own where there is none; return the file with its id."""
    owner = ["runuser", "-u", "munge", "--"]
    Path("/run/munge").mkdir(exist_ok=True)
    for path in ("/run/munge", "/etc/munge", "/etc/munge/munge.key", "/var/lib/munge", "/var/log/munge"):
        if Path(path).exists():
            shutil.chown(path, "munge", "munge")
    Path("/run/munge").chmod(0o755)
    if not Path("/etc/munge/munge.key").exists():
        subprocess.run([*owner, str(find("mungekey"))], check=True)
    subprocess.run([*owner, str(find("munged"))], check=True)
    return Path("/run/munge/munged.pid")


def configuration(folder: Path) -> str:
    """Return the text of slurm.conf."""
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10 // 2**20
    return f"""\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=5
InactiveLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=60 DefaultTime=10 State=UP
"""


def call(*command: str, check: bool = True) -> str:
    """Return what one of Slurm's commands prints."""
    done = subprocess.run(
        [str(find(command[0])), *command[1:]], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


def jobs(state: str = "RUNNING") -> list[str]:
    """Return the numbers of the jobs in a state."""
    return call("squeue", "-h", "-t", state, "-o", "%i").split()


def running(name: str) -> bool:
    """Return whether a program runs."""
    return subprocess.run(["pgrep", "-x", name], capture_output=True, check=False).returncode == 0


def stop(path: Path) -> None:
    """End the process whose id is in a file, and wait until it is gone."""
    if not path.exists():
        return
    process = int(path.read_text())
    try:
        os.kill(process, 15)
        wait_for(lambda: not Path(f"/proc/{process}").exists(), f"process {process} to end")
    except ProcessLookupError:
        return


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until a function returns something true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)
