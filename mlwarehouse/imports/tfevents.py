"""TensorBoard's event files: scalars, texts and hyper-parameters, plain or as tensors.

Most events of a file look like others but for time, step and value. One of them is taken apart field by field, and says
where these three stand; all events with the same bytes everywhere else are then read at once.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlwarehouse.imports.protobuf import BYTES, FIXED32, VARINT, Field, ProtobufError, fields, text
from mlwarehouse.imports.tfrecord import Bytes, Frames

MAX_FORMS = 64
"""Forms that are tried on events of one length; what is left is read one by one."""

FEW = 8
"""So few events aren't worth looking for others like them."""

_NUMBERS: Mapping[int, str] = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2", 22: "<u4", 23: "<u8"}
"""Types of tensors, by their number in TensorFlow's `DataType`."""

_VALUES: Mapping[int, str] = {5: "<f4", 6: "<f8", 7: "varint", 10: "varint"}
"""The fields of `TensorProto` that hold numbers, by how they are written."""

Array = npt.NDArray[Any]


@dataclass
class Events:
    """What a file has.

    Attributes:
        tags: The tag of each point, as a place in `names`.
        names: The tags.
        steps: The step of each point.
        values: Its value.
        times: Its time, in seconds since the epoch.
        order: Its event's place in the file.
        texts: Tag and text, in the order of the file.
        hparams: What `hparams` events say: values by name, and the session's status and times.
        others: How many values of other kinds there are, by kind.
        damaged: Places in the file of events that can't be read.
        first_time: The time of the first event; None where there is none.
        last_time: The time of the last one.
    """

    tags: list[Array] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    steps: list[Array] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)
    times: list[Array] = field(default_factory=list)
    order: list[Array] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    hparams: dict[str, str] = field(default_factory=dict)
    session: dict[str, float] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    damaged: list[int] = field(default_factory=list)
    first_time: float | None = None
    last_time: float | None = None

    def saw(self, first: float, last: float) -> None:
        """Remember times."""
        self.first_time = first if self.first_time is None else min(self.first_time, first)
        self.last_time = last if self.last_time is None else max(self.last_time, last)


@dataclass(frozen=True)
class _Scalar:
    """A scalar in an event: its tag, where its value stands, and as what."""

    tag: str
    place: int
    kind: str


@dataclass(frozen=True)
class _Form:
    """Where things stand in an event. ``step`` is a stretch of bytes, empty where there is none."""

    time: int
    step: tuple[int, int]
    scalars: tuple[_Scalar, ...]


def read_events(content: Bytes, found: Frames, plugins: dict[str, str]) -> Events:
    """The events of a file.

    Args:
        content: The file.
        found: Its frames.
        plugins: The plugin that each tag is of: told by the first event of a tag only, so files of a run share it.
    """
    events = Events()
    order = np.argsort(found.lengths, kind="stable")
    edges = np.flatnonzero(np.diff(found.lengths[order])) + 1
    alone: list[int] = []
    for group in np.split(order, edges):
        # In the order of the file: what a tag is, its first event says.
        alone += _alike(content, found, np.sort(group), plugins, events) if len(group) > FEW else list(map(int, group))
    for n in sorted(alone):
        _read_one(content, int(found.starts[n]), int(found.lengths[n]), n, plugins, events)
    return events


def _alike(
    content: Bytes, found: Frames, group: npt.NDArray[np.intp], plugins: dict[str, str], events: Events
) -> list[int]:
    """Read events of one length; those that are read one by one are returned."""
    length = int(found.lengths[group[0]])
    alone: list[int] = []
    for _ in range(MAX_FORMS):
        if len(group) <= FEW:
            break
        start = int(found.starts[group[0]])
        form = _form(content[start : start + length].tobytes(), plugins)
        if form is None:
            alone.append(int(group[0]))
            group = group[1:]
            continue
        is_free = np.zeros(length, bool)
        is_free[form.time : form.time + 8] = True
        is_free[form.step[0] : form.step[1]] = True
        for scalar in form.scalars:
            is_free[scalar.place : scalar.place + np.dtype(scalar.kind).itemsize] = True
        rows = content[found.starts[group][:, None] + np.arange(length)]
        same = (rows[:, ~is_free] == rows[0, ~is_free]).all(axis=1)
        # A step of as many bytes: all but the last go on.
        step = rows[:, form.step[0] : form.step[1]]
        if step.shape[1]:
            same &= (step[:, :-1] >= 128).all(axis=1) & (step[:, -1] < 128)
        _take(rows[same], group[same], form, events)
        group = group[~same]
    return [*alone, *map(int, group)]


def _take(rows: Bytes, order: npt.NDArray[np.intp], form: _Form, events: Events) -> None:
    times = np.ascontiguousarray(rows[:, form.time : form.time + 8]).view("<f8")[:, 0]
    step = np.zeros(len(rows), np.uint64)
    for n, column in enumerate(range(*form.step)):
        step |= (rows[:, column] & 127).astype(np.uint64) << np.uint64(7 * n)
    for scalar in form.scalars:
        size = np.dtype(scalar.kind).itemsize
        value = np.ascontiguousarray(rows[:, scalar.place : scalar.place + size]).view(scalar.kind)[:, 0]
        events.tags.append(np.full(len(rows), events.names.setdefault(scalar.tag, len(events.names))))
        events.steps.append(step.view(np.int64))
        events.values.append(value.astype(np.float64))
        events.times.append(times)
        events.order.append(order)
    events.saw(float(times.min()), float(times.max()))


def _form(event: bytes, plugins: dict[str, str]) -> _Form | None:
    """Where things stand in an event of scalars alone; None for any other."""
    time, step, scalars = None, (0, 0), []
    try:
        for part in fields(event):
            if part.number == 1 and part.end - part.start == 8:
                time = part.start
            elif part.number == 2 and part.kind == VARINT:
                step = (part.start, part.end)
            elif part.number == 5 and part.kind == BYTES:
                for value in fields(event, part.start, part.end):
                    scalar = _scalar(event, value, plugins)
                    if scalar is None or scalar.kind == "varint":
                        return None
                    scalars.append(scalar)
            else:
                return None
    except ProtobufError:
        return None
    return _Form(time, step, tuple(scalars)) if time is not None and scalars else None


def _scalar(event: bytes, value: Field, plugins: dict[str, str]) -> _Scalar | None:
    """A value of a summary as a scalar; None for any other."""
    parts = {part.number: part for part in fields(event, value.start, value.end)}
    if 1 not in parts:
        return None
    tag = text(event, parts[1])
    if 9 in parts:
        plugins.setdefault(tag, _plugin(event, parts[9]))
    if 2 in parts and parts[2].kind == FIXED32:
        return _Scalar(tag, parts[2].start, "<f4")
    return _tensor_scalar(event, tag, parts[8]) if 8 in parts and plugins.get(tag, "scalars") == "scalars" else None


def _tensor_scalar(event: bytes, tag: str, tensor: Field) -> _Scalar | None:
    dtype, found = 0, None
    for part in fields(event, tensor.start, tensor.end):
        if part.number == 1:
            dtype = part.value
        elif part.number == 2 and any(each.number == 2 for each in fields(event, part.start, part.end)):
            # It has a dimension.
            return None
        elif part.number == 4 and dtype in _NUMBERS:
            found = _Scalar(tag, part.start, _NUMBERS[dtype]), part.end - part.start
        elif part.number in _VALUES:
            found = _Scalar(tag, part.start, _VALUES[part.number]), part.end - part.start
    if found is None or (found[0].kind != "varint" and np.dtype(found[0].kind).itemsize != found[1]):
        return None
    return found[0]


def _plugin(event: bytes, metadata: Field) -> str:
    for part in fields(event, metadata.start, metadata.end):
        if part.number == 1:
            return next((text(event, p) for p in fields(event, part.start, part.end) if p.number == 1), "")
    return ""


def _read_one(content: Bytes, start: int, length: int, n: int, plugins: dict[str, str], events: Events) -> None:
    event = content[start : start + length].tobytes()
    try:
        time, step = 0.0, 0
        parts = list(fields(event))
        for part in parts:
            if part.number == 1:
                (time,) = struct.unpack("<d", event[part.start : part.end])
            elif part.number == 2:
                step = part.value - (1 << 64) if part.value >> 63 else part.value
        if time:
            events.saw(time, time)
        for part in parts:
            if part.number == 4:
                events.others["graphs"] += 1
            elif part.number == 5:
                for value in fields(event, part.start, part.end):
                    _read_value(event, value, time, step, n, plugins, events)
    except (ProtobufError, struct.error):
        events.damaged.append(start - 12)


def _read_value(
    event: bytes, value: Field, time: float, step: int, n: int, plugins: dict[str, str], events: Events
) -> None:
    scalar = _scalar(event, value, plugins)
    if scalar is not None:
        if scalar.kind == "varint":
            number = float(next(fields(b"\x08" + event[scalar.place : value.end])).value)
        else:
            number = float(np.frombuffer(event, scalar.kind, 1, scalar.place)[0])
        events.tags.append(np.array([events.names.setdefault(scalar.tag, len(events.names))]))
        for column, one in ((events.steps, step), (events.values, number), (events.times, time), (events.order, n)):
            column.append(np.array([one]))
        return
    parts = {part.number: part for part in fields(event, value.start, value.end)}
    tag = text(event, parts[1]) if 1 in parts else ""
    plugin = plugins.get(tag, "")
    if plugin == "text" and 8 in parts:
        words = [text(event, p) for p in fields(event, parts[8].start, parts[8].end) if p.number == 8]
        events.texts.append((tag, "\n".join(words)))
    elif plugin == "hparams" and 9 in parts:
        for part in _data(event, parts[9]):
            _read_hparams(event, part, events)
    else:
        kinds = {4: "images", 5: "histograms", 6: "audio", 8: plugin or "tensors"}
        events.others[next((kinds[k] for k in parts if k in kinds), "values")] += 1


def _data(event: bytes, metadata: Field) -> Iterator[Field]:
    """What a plugin has written into the description of a value."""
    for part in fields(event, metadata.start, metadata.end):
        if part.number == 1:
            for each in fields(event, part.start, part.end):
                if each.number == 2:
                    yield from fields(event, each.start, each.end)


def _read_hparams(event: bytes, part: Field, events: Events) -> None:
    """`HParamsPluginData`: the start of a session has the values, its end the status."""
    if part.number not in (3, 4) or part.kind != BYTES:
        return
    for each in fields(event, part.start, part.end):
        if part.number == 3 and each.number == 1:
            entry = {p.number: p for p in fields(event, each.start, each.end)}
            if 1 in entry:
                events.hparams[text(event, entry[1])] = _json(event, entry[2]) if 2 in entry else ""
        elif part.number == 4 and each.number == 1:
            events.session["status"] = each.value
        elif each.kind == 1:
            (at,) = struct.unpack("<d", event[each.start : each.end])
            events.session["started" if part.number == 3 else "ended"] = at


def _json(event: bytes, value: Field) -> str:
    """A `google.protobuf.Value` as text: of text itself, of anything else its JSON."""
    for part in fields(event, value.start, value.end):
        if part.number == 2:
            number = struct.unpack("<d", event[part.start : part.end])[0]
            return json.dumps(int(number)) if number.is_integer() and abs(number) < 2**53 else json.dumps(number)
        if part.number == 3:
            return text(event, part)
        if part.number == 4:
            return str(bool(part.value))
        if part.number in (5, 6):
            return json.dumps(event[part.start : part.end].decode("utf-8", "replace"))
    return "null"
