"""Workers for strangers' SQL, from the outside: starting their server, handing over questions, ending them in time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from mlwarehouse import errors
from mlwarehouse.engines.locked_answers import CHUNK_BYTES, LockedAnswer
from mlwarehouse.engines.locked_wire import Asked, write_asked
from mlwarehouse.engines.running import Cancel
from mlwarehouse.errors import SqlError, SqlLimitError, StorageError

START_TIMEOUT_S = 120.0
"""Loading the libraries takes half a second; on a machine that does much else, longer."""

PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from mlwarehouse.engines.fork_server import main; main()"
)


class Workers:
    """A server of workers, started at once and again when it is gone. Threads may share it."""

    def __init__(self, most: int) -> None:
        """Start the server; it gets ready beside the caller.

        Args:
            most: Questions answered at the same time; others wait for their turn.
        """
        self._most = most
        self._turns = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._server = _Server()
        self._is_closed = False

    def ask(self, asked: Asked) -> tuple[pa.Table, bool]:
        """Have a worker answer, and take the answer as a whole.

        Returns:
            The rows, and whether there were more.

        Raises:
            SqlError: As for `answering`.
        """
        with self.answering(asked) as answer:
            return pa.Table.from_batches(list(answer), answer.schema), answer.is_truncated

    @contextlib.contextmanager
    def answering(self, asked: Asked, cancel: Cancel | None = None) -> Iterator[LockedAnswer]:
        """Have a worker answer; it lives while the block lasts.

        Args:
            asked: The question.
            cancel: Ends it from another thread.

        Yields:
            The answer, whose rows come when it is iterated.

        Raises:
            SqlError: The worker refused the question, or it failed.
            SqlLimitError: It took too much time, memory or room, or no worker was free within the time that it has.
            QueryCancelledError: It was cancelled.
            StorageError: Workers can't be started, or read the tables.
        """
        question = write_asked(asked)
        cancel = cancel or Cancel()
        with self._turn(asked.bounds.time_s), contextlib.ExitStack() as held:
            handle, out = self._begun(question, held)
            held.enter_context(cancel.tells(lambda: _kill(handle)))
            yield LockedAnswer(out, asked.bounds, lambda: cancel.is_cancelled)

    def close(self) -> None:
        """End the server, and with it the workers."""
        with self._lock:
            self._is_closed = True
            if self._pid == os.getpid():
                self._server.end()

    @contextlib.contextmanager
    def _turn(self, timeout_s: float) -> Iterator[None]:
        if not self._turns.acquire(timeout=timeout_s):
            raise SqlLimitError(f"All {self._most} workers were busy for {timeout_s:g} s; try again.")
        try:
            yield
        finally:
            self._turns.release()

    def _begun(self, question: bytes, held: contextlib.ExitStack) -> tuple[int, int]:
        """A worker that has begun: a handle of its process, which ends with the block, and the pipe it answers in."""
        out, theirs = os.pipe()
        held.callback(os.close, out)
        try:
            source = os.memfd_create("question")
            try:
                _write(source, question)
                handle = self._fork(source, theirs)
            finally:
                os.close(source)
        finally:
            os.close(theirs)
        held.callback(os.close, handle)
        held.callback(_kill, handle)
        return handle, out

    def _fork(self, source: int, out: int) -> int:
        """Have a worker begin; returns a handle of its process."""
        with self._lock:
            if self._is_closed:
                raise SqlError("This locked SQL is closed; ask the warehouse for another one.")
            if self._pid != os.getpid():
                # The server of the process that this one was forked from isn't ours.
                self._pid, self._server = os.getpid(), _Server()
            for _ in range(2):
                try:
                    return self._server.fork(source, out)
                except OSError:
                    self._server.end()
                    self._server, gone = _Server(), self._server
            raise StorageError(f"No worker for SQL can be started. {gone.last_words()}")


class _Server:
    """The process that workers are forked from."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._words = os.memfd_create("words")
        package = str(Path(errors.__file__).parent.parent)
        path = [package, *(p for p in sys.path if p and p != package)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", PROGRAM, json.dumps(path)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                env={},
                cwd="/",
                # Ctrl-C at a terminal is for the program, which then ends it.
                start_new_session=True,
            )
        self._is_ready = False
        self._control.settimeout(START_TIMEOUT_S)

    def fork(self, source: int, out: int) -> int:
        """Hand a question's descriptors over; returns a handle of the worker's process.

        Raises:
            OSError: The server is gone.
        """
        if not self._is_ready:
            if not self._control.recv(16):
                raise ConnectionResetError
            self._is_ready = True
        socket.send_fds(self._control, [b"ask"], [source, out])
        _, handles, _, _ = socket.recv_fds(self._control, 16, 1)
        if not handles:
            raise ConnectionResetError
        return handles[0]

    def end(self) -> None:
        """End it, and with it its workers; in a process forked from the one that started it, only forget it."""
        self._control.close()
        if self._pid == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            self._process.returncode = 0

    def last_words(self) -> str:
        """The last line that it has said."""
        lines = os.pread(self._words, CHUNK_BYTES, 0).decode(errors="replace").strip().splitlines()
        return f"It said: {lines[-1]}" if lines else "It said nothing."

    def __del__(self) -> None:
        self.end()
        os.close(self._words)


def _write(target: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]
    os.lseek(target, 0, os.SEEK_SET)


def _kill(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
