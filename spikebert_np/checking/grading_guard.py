"""What a learner's code may not do while it is marked: an audit hook, and limits of the system.

Python tells the hook of every file that is opened and every process that is begun. It cannot be
taken away again, and what it calls is bound before a learner's code could rebind it. Native code
(ctypes) is not held by it.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

ENDED = frozenset({
    "os.exec", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.spawn",
    "os.startfile", "os.system", "pty.spawn", "resource.prlimit", "resource.setrlimit",
    "subprocess.Popen",
    "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.sendmsg", "socket.sendto", "sqlite3.connect",
    "gc.get_objects", "gc.get_referents", "gc.get_referrers",  # which would find the hook
})  # fmt: skip
CHANGING = frozenset({
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.setxattr", "os.symlink", "os.truncate", "os.utime",
})  # fmt: skip
# Which begin a process, end one, or outlive it, and the hook is not told.
UNTOLD = (
    ("_posixsubprocess", "fork_exec"), ("subprocess", "_fork_exec"), ("posix", "pidfd_open"),
    ("os", "pidfd_open"), ("_posixshmem", "shm_open"),
)  # fmt: skip
OWN = frozenset({"self", str(os.getpid()), "cpuinfo", "meminfo"})  # in /proc
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FILE_BYTES = 1 << 26


def limit(memory, seconds):
    """Hold this process to so many bytes of memory and seconds of a processor, for good."""
    import resource

    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: FILE_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "darwin":  # has no such limit of memory
        del limits[resource.RLIMIT_AS]
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def guard(folder, package, tell):
    """Refuse, for good: other processes, the network, writing outside `folder`, and reading what
    holds answers: notebooks, the files of the package and of another one of its name, the course
    and the tests beside it, what Git has stored.

    tell: called where one of these was to be read.
    """
    for module, function in UNTOLD:
        with suppress(ImportError):
            if hasattr(import_module(module), function):
                setattr(import_module(module), function, _refused)
    parent, name = os.path.split(package)
    folders = frozenset(entry.name for entry in Path(package).iterdir() if entry.is_dir())
    answers = _identities(Path(package), Path(parent, "tutorials"), Path(parent, "tests"))

    # All that it reads is a default: a name of a module, or of an enclosing function, could be
    # given another value from outside. And no method of a learner's own kind of string is called.
    def hook(
        event, args, *, folder=folder, inside=f"{folder}/", name=name, folders=folders,
        answers=answers, own=OWN, tell=tell, ended=ENDED, changing=CHANGING,
        untold=frozenset(module for module, _ in UNTOLD), writing=WRITING, isinstance=isinstance,
        str=str, bytes=bytes, int=int, encode=str.encode, decode=bytes.decode, zip=zip, any=any,
        len=len, cwd=os.getcwd, stat=os.stat, Error=PermissionError, OSError=OSError,
    ):  # fmt: skip
        if event in ended or (event == "import" and args[0] in untold):
            raise Error(f"{event} is not allowed while answers are marked")
        if event != "open" and event not in changing:
            return
        writes = event != "open" or (args[2] or 0) & writing
        for path in args if event != "open" else args[:1]:
            if isinstance(path, str):
                path = encode(path, "utf-8", "surrogateescape")
            elif not isinstance(path, bytes):
                if event == "open" and not isinstance(path, int):  # says at each call what it is
                    raise Error("give the path as text while answers are marked")
                continue
            path = decode(path, "utf-8", "surrogateescape")
            path = path if path.startswith("/") else f"{cwd()}/{path}"
            if (path.startswith(inside) or path == folder) and "/.." not in path:
                continue
            if writes and path != "/dev/null":
                raise Error(f"{path}: only the current folder can be written to")
            try:
                found = stat(path)
                is_folder = found.st_mode & 0o170000 == 0o040000
                known = (found.st_dev, found.st_ino) in answers
            except OSError:
                is_folder = known = False
            if is_folder:  # by whose descriptor its files could be opened under another name
                raise Error(f"{path}: a folder is not to be opened while answers are marked")
            parts = []
            for part in path.split("/"):
                if part == "..":
                    parts = parts[:-1]
                elif part not in ("", "."):
                    parts.append(part)
            if (
                known
                or path.endswith(".ipynb")
                or ".git" in parts
                or (path.endswith((".py", ".pyc"))
                    and any(a == name and b in folders for a, b in zip(parts, parts[1:])))
                or (parts[:1] == ["proc"] and (len(parts) > 3 or parts[1] not in own))
            ):  # fmt: skip
                tell()
                raise Error(f"{path}: is not to be read while answers are marked")

    sys.addaudithook(hook)


def _identities(*folders):
    """What tells the files in these folders from all others, by whatever path."""
    files = [os.stat(path) for folder in folders for path in folder.rglob("*") if path.is_file()]
    return frozenset((file.st_dev, file.st_ino) for file in files)


def _refused(*_, **__):
    raise PermissionError("other processes are not allowed while answers are marked")
