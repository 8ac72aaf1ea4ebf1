"""What a learner's code may not do while it is marked: an audit hook, and limits of the system.

Python tells the hook of every file that is opened and every process that is begun. It cannot be
taken away again, and what it calls is bound before a learner's code could rebind it. Native code
(ctypes) is not held by it.
"""

import os
import sys

ENDED = frozenset({
    "os.exec", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.spawn",
    "os.startfile", "os.system", "pty.spawn", "resource.prlimit", "subprocess.Popen",
    "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.sendmsg", "socket.sendto", "sqlite3.connect",
    "gc.get_objects", "gc.get_referents", "gc.get_referrers",  # which would find the hook
})  # fmt: skip
CHANGING = frozenset({
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.setxattr", "os.symlink", "os.truncate", "os.utime",
})  # fmt: skip
OWN = ("/proc/self/", f"/proc/{os.getpid()}/", "/proc/cpuinfo", "/proc/meminfo")
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
    holds answers: notebooks, the files of a package that is called as `package` is, the course
    beside it, what Git has stored.

    tell: called with the path that was to be read.
    """
    parent, name = os.path.split(package)

    # All that it reads is a default: a name of a module, or of an enclosing function, could be
    # given another value from outside. And no method of a learner's own kind of string is called.
    def hook(
        event, args, *, folder=folder, inside=f"{folder}/", course=f"{parent}/tutorials/",
        package=f"/{name}/", own=OWN, tell=tell, ended=ENDED,
        changing=CHANGING, writing=WRITING, isinstance=isinstance, str=str, bytes=bytes,
        encode=str.encode, decode=bytes.decode, cwd=os.getcwd, stat=os.stat, Error=PermissionError,
        OSError=OSError,
    ):  # fmt: skip
        if event in ended:
            raise Error(f"{event} is not allowed while answers are marked")
        if event != "open" and event not in changing:
            return
        writes = event != "open" or (args[2] or 0) & writing
        for path in args if event != "open" else args[:1]:
            if isinstance(path, str):
                path = encode(path, "utf-8", "surrogateescape")
            elif not isinstance(path, bytes):
                continue
            path = decode(path, "utf-8", "surrogateescape")
            path = path if path.startswith("/") else f"{cwd()}/{path}"
            if (path.startswith(inside) or path == folder) and "/.." not in path:
                continue
            if writes and path != "/dev/null":
                raise Error(f"{path}: only the current folder can be written to")
            try:
                is_folder = stat(path).st_mode & 0o170000 == 0o040000
            except OSError:
                is_folder = False
            if is_folder:  # by whose descriptor its files could be opened under another name
                raise Error(f"{path}: a folder is not to be opened while answers are marked")
            if (
                path.endswith(".ipynb")
                or "/.git/" in path
                or path.startswith(course)
                or (package in path and path.endswith((".py", ".pyc")))
                or (path.startswith("/proc/") and not path.startswith(own))
            ):
                tell(path)
                raise Error(f"{path}: is not to be read while answers are marked")

    sys.addaudithook(hook)
