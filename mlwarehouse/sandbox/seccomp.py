"""A seccomp filter: the system calls that a process which only computes never needs are refused to it.

A list of what is refused, not of what is allowed: what an allocator or a runtime calls differs between their versions,
and what reaches out of a process doesn't. It stands behind Landlock and beside it: of what is listed, Landlock leaves
processes, modes and owners of files, and sockets other than TCP's.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

from mlwarehouse.sandbox.calls import LIBC, called

PR_SET_SECCOMP = 22
MODE_FILTER = 2

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's numbers of processors (``linux/audit.h``)."""

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL_PROCESS, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
"""Offsets in what the kernel shows a filter."""

EPERM, ENOSYS = 1, 38
X32_CALLS = 0x40000000
CLONE_THREAD = 0x00010000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Other processes: starting them, looking into them, signalling them.
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    # Sockets, also through a ring that does calls for others.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "recvmmsg": (299, 243),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # Files by other ways than the one call that is looked at below, and what belongs to files.
    "open": (2, None),
    "creat": (85, None),
    "openat2": (437, 437),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "truncate": (76, 45),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "utimensat": (280, 88),
    "futimesat": (261, None),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # Memory and messages shared with others.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "semget": (64, 190),
    "semop": (65, 193),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # What this process is and sees.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "fsconfig": (431, 431),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "capset": (126, 91),
    "personality": (135, 92),
    "setpriority": (141, 140),
    "sched_setscheduler": (144, 119),
    "ioprio_set": (251, 30),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    # The machine.
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
}
"""System calls and their numbers on x86_64 and aarch64; None where it has no such call."""

CLONE, CLONE3, OPENAT, TGKILL, PRLIMIT = (56, 220), (435, 435), (257, 56), (234, 131), (302, 261)

Instruction = tuple[int, int, int, int]
"""Code, steps forward when true, steps forward when false, operand."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def is_supported() -> bool:
    """Whether there is a filter for this processor, and the kernel takes filters."""
    # Asked with nothing to install, a kernel with filters says that it can't read the nothing.
    outcome = LIBC.prctl(PR_SET_SECCOMP, MODE_FILTER, None, 0, 0)
    return platform.machine() in ARCHITECTURES and outcome == -1 and ctypes.get_errno() == 14


def restrict() -> None:
    """Put the filter on this thread and all that it starts.

    Raises:
        SandboxUnavailableError: The kernel refused.
    """
    program = instructions(platform.machine(), os.getpid())
    packed = b"".join(struct.pack("=HBBI", *i) for i in program)
    called("seccomp", LIBC.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(_Program(len(program), packed)), 0, 0))


def instructions(machine: str, pid: int) -> list[Instruction]:
    """The filter.

    Args:
        machine: A key of `ARCHITECTURES`.
        pid: The process, which may signal its own threads.
    """
    column = list(ARCHITECTURES).index(machine)
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER_AT),
        (JUMP_AT_LEAST, 0, 1, X32_CALLS),
        (RETURN, 0, 0, REFUSE | ENOSYS),
    ]
    for numbers in REFUSED.values():
        number = numbers[column]
        if number is not None:
            program += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | EPERM)]
    # The C library then uses `clone`, whose flags a filter can see.
    program += [(JUMP_EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, REFUSE | ENOSYS)]
    program += _only(CLONE[column], 0, (JUMP_ANY_BIT, 1, 0, CLONE_THREAD))
    program += _only(OPENAT[column], 2, (JUMP_ANY_BIT, 0, 1, WRITING))
    program += _only(TGKILL[column], 0, (JUMP_EQUAL, 1, 0, pid))
    program += _only(PRLIMIT[column], 0, (JUMP_EQUAL, 1, 0, 0))
    program.append((RETURN, 0, 0, ALLOW))
    return program


def _only(number: int, argument: int, test: Instruction) -> list[Instruction]:
    """Allow a call only where its argument passes a test, which steps over the refusal."""
    return [
        (JUMP_EQUAL, 0, 4, number),
        (LOAD, 0, 0, ARGUMENTS_AT + 8 * argument),
        test,
        (RETURN, 0, 0, REFUSE | EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
