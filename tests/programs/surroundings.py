# SPDX-License-Identifier: MIT
"""What the tests of programs take for granted, whoever starts them: from cron, behind `&` in a script, under nohup, by a service manager."""
import fcntl
import os
import signal
import tempfile

# A moment for what must come on a machine with ten times the load that it can bear: tests wait for what happens, at most so long.
PATIENCE_S = 240


def usual():
    """Signals at their defaults and not blocked (a shell starts what it puts behind `&` with SIGINT and SIGQUIT ignored, nohup ignores SIGHUP, and
    programs inherit that), files that others may read, standard descriptors that are open."""
    for sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGCHLD,
                signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        if signal.getsignal(sig) == signal.SIG_IGN:
            signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o022)
    for fd in range(3):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            os.open("/dev/null", os.O_RDWR)  # the lowest that is free: this one
            os.set_inheritable(fd, True)


def on_tmpfs(path):
    dev = os.stat(path).st_dev
    with open("/proc/self/mountinfo") as f:
        kinds = [line.split(" - ")[1].split()[0] for line in f if line.split()[2] == f"{os.major(dev)}:{os.minor(dev)}"]
    return "tmpfs" in kinds


def others_reach(path):
    while os.stat(path).st_mode & 0o001:
        if path == "/":
            return True
        path = os.path.dirname(path)
    return False


def disk_folder(prefix):
    """A temporary directory on a disk, if there is one: files on tmpfs are shared memory, to the kernel as to the machines, and count as such.
    Others can reach what is in it: TMPDIR may be a directory of the user's own."""
    for where in (tempfile.gettempdir(), "/var/tmp", "/tmp", os.getcwd()):
        where = os.path.realpath(where)
        if os.path.isdir(where) and os.access(where, os.W_OK) and not on_tmpfs(where) and others_reach(where):
            return tempfile.TemporaryDirectory(prefix=prefix, dir=where)
    return tempfile.TemporaryDirectory(prefix=prefix)
