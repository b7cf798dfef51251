"""Importing TensorBoard's log folders."""

from __future__ import annotations

import json
import struct
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports.tfevents import FEW, read_events
from mlwarehouse.imports.tfrecord import LANE, frames, masked_crc

from .event_file import event, field, frame, histogram, hparams, plain, session_end, tensor, words, write

T = 1_700_000_000.0
NAME = "events.out.tfevents.1700000000.host.1.0"


def counts(report):
    return {name: n for name, n in report.added.items() if n}


def crc32c(data):
    """Bit by bit, as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@settings(deadline=None)
@given(st.binary(max_size=5 * LANE))
def test_the_sum_is_crc_32c(data):
    assert masked_crc(data) == masked(data)


def test_the_sum_of_known_data():
    assert crc32c(b"123456789") == 0xE3069283
    long = bytes(range(256)) * 100
    assert masked_crc(long) == masked(long)


data = st.lists(st.binary(max_size=3 * LANE), max_size=8)


@settings(deadline=None)
@given(data, st.data())
def test_frames_of_a_file_that_was_cut_or_changed_are_its_whole_ones(parts, draw):
    content = bytearray(b"".join(map(frame, parts)))
    ends = np.cumsum([len(p) + 16 for p in parts]).tolist() if parts else []
    cut = draw.draw(st.integers(0, len(content)))
    found = frames(np.frombuffer(bytes(content[:cut]), np.uint8))
    n_whole = sum(end <= cut for end in ends)
    assert [bytes(content[s : s + n]) for s, n in zip(found.starts, found.lengths, strict=True)] == parts[:n_whole]
    assert (found.trouble is None) == (cut in (0, *ends))
    if content:
        place = draw.draw(st.integers(0, len(content) - 1))
        content[place] ^= draw.draw(st.integers(1, 255))
        hit = sum(end <= place for end in ends)
        found = frames(np.frombuffer(bytes(content), np.uint8))
        got = [bytes(content[s : s + n]) for s, n in zip(found.starts, found.lengths, strict=True)]
        begin = ends[hit] - 16 - len(parts[hit])
        if place - begin < 12:
            assert (got, found.damaged) == (parts[:hit], [])
            assert found.trouble is not None
        else:
            assert (got, found.damaged) == (parts[:hit] + parts[hit + 1 :], [begin])


numbers = st.floats(width=32)
points = st.lists(
    st.tuples(st.sampled_from(["loss", "acc/val"]), st.integers(-5, 2**40), numbers, st.sampled_from("pctd")),
    max_size=4 * FEW,
)


@settings(deadline=None)
@given(points)
def test_points_are_those_that_were_written_in_whatever_form(points):
    forms = {
        "p": plain,
        "c": tensor,
        "t": lambda t, v: tensor(t, v, "packed"),
        "d": lambda t, v: tensor(t, v, "double"),
    }
    content = b"".join(frame(event(T + n, step, forms[f](tag, v))) for n, (tag, step, v, f) in enumerate(points))
    array = np.frombuffer(content, np.uint8)
    found = read_events(array, frames(array), {})
    tags = {n: name for name, n in found.names.items()}

    def column(parts):
        return np.concatenate(parts).tolist() if parts else []

    got = sorted(zip(*map(column, (found.order, found.tags, found.steps, found.values, found.times)), strict=True))
    assert [(tags[tag], step, struct.pack("<d", value), at) for _, tag, step, value, at in got] == [
        (tag, step, struct.pack("<d", value), T + n) for n, (tag, step, value, _) in enumerate(points)
    ]


def test_scalars_texts_and_hyper_parameters_come(warehouse, tmp_path, ask):
    root = tmp_path / "digits"
    write(root / "a" / NAME, field(1, T) + field(3, "brain.Event:2"))
    write(root / "a" / NAME, *(event(T + n, n, plain("loss", 1 / (n + 1))) for n in range(40)))
    write(root / "a" / NAME, *(event(T + n, n, tensor("acc", n / 8)) for n in range(30)))
    write(root / "a" / NAME, event(T, 7, tensor("n", 3.0, "int"), plain("two", 2.0)), event(T, 0, histogram("w")))
    write(root / "a" / NAME, event(T, 1, words("note", "one")), event(T + 50, 1, words("note", "two")))
    write(root / NAME, event(T, 0, hparams(lr=0.1, depth=3, kind="cnn", fast=True)), event(T + 1, 0, session_end(2)))
    write(root / "b" / "train" / f"{NAME}.v2", event(T, 0, plain("loss", float("nan"))))
    report = warehouse.import_(root)
    assert counts(report) == {"experiments": 1, "runs": 3, "params": 4, "points": 73, "tags": 2}
    assert report.oddity_counts() == {"histograms left out": 1}
    runs = ask("SELECT run_name, experiment_name, status, EPOCH_MS(ended_at) AS ended FROM runs ORDER BY run_name")
    assert [tuple(row.values()) for row in runs] == [
        ("a", "digits", "FINISHED", 1_700_000_050_000),
        ("b/train", "digits", "FINISHED", 1_700_000_000_000),
        ("digits", "digits", "FAILED", 1_700_000_001_000),
    ]
    assert {r["key"]: r["value"] for r in ask("SELECT key, value FROM params")} == {
        "lr": "0.1",
        "depth": "3",
        "kind": "cnn",
        "fast": "True",
    }
    assert {r["key"]: r["value"] for r in ask("SELECT key, value FROM tags")} == {"note": "two", "note (1)": "one"}
    acc = ask("SELECT step, value FROM metrics WHERE key = 'acc' ORDER BY step")
    assert [(p["step"], p["value"]) for p in acc] == [(n, n / 8) for n in range(30)]
    assert ask("SELECT step, value FROM metrics WHERE key = 'n'") == [{"step": 7, "value": 3.0}]


def test_again_adds_nothing_and_a_file_that_grew_only_what_is_new(warehouse, tmp_path, ask):
    root = tmp_path / "runs"
    path = write(root / "a" / NAME, *(event(T + n, n, plain("loss", float(n))) for n in range(20)))
    half = frame(event(T + 20, 20, plain("loss", 20.0)))
    with path.open("ab") as file:
        file.write(half[:-6])
    report = warehouse.import_(root)
    assert (report.added["points"], report.oddity_counts()) == (20, {"file without an end": 1})
    assert counts(warehouse.import_(root)) == {}
    with path.open("ab") as file:
        file.write(half[-6:])
    # Another file of the run, by a process that began meanwhile; then the first one goes on.
    second = write(root / "a" / NAME.replace("17", "18"), event(T + 21, 21, plain("loss", 21.0)))
    assert counts(warehouse.import_(root)) == {"runs": 1, "points": 2}
    write(path, event(T + 22, 22, plain("loss", 22.0)))
    write(second, event(T + 23, 23, plain("loss", 23.0)))
    assert counts(warehouse.import_(root)) == {"runs": 1, "points": 2}
    assert [r["step"] for r in ask("SELECT step FROM metrics ORDER BY event_at")] == list(range(24))


def test_what_is_damaged_is_told_and_the_rest_comes(warehouse, tmp_path):
    root = tmp_path / "runs"
    path = write(root / "a" / NAME, *(event(T + n, n, plain("loss", float(n))) for n in range(20)))
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    write(root / "b" / NAME, event(T, 0, plain("loss", 1.0)), b"\xff\xff", field(1, T) + b"\x12\x05x")
    (root / "b" / NAME).write_bytes((root / "b" / NAME).read_bytes() + bytes(64))
    (root / "c").mkdir()
    (root / "c" / NAME).touch()
    (root / "d").mkdir()
    (root / "d" / NAME).write_bytes(b"nothing of the kind, but long enough")
    write(root / "e" / NAME, event(T, 0, field(1, "w") + field(4, b"x" * 9000)), b"")
    report = warehouse.import_(root)
    assert report.oddity_counts() == {
        "event damaged": 3,
        "file without an end": 2,
        "run without an event": 2,
        "empty file": 1,
        "images left out": 1,
    }
    assert (report.added["runs"], report.added["points"]) == (3, 20)


def test_a_folder_without_event_files_is_refused(warehouse, tmp_path):
    with pytest.raises(InvalidInputError, match="isn't a folder with event files"):
        warehouse.import_(tmp_path, kind="tensorboard")


@pytest.mark.trial_data
@pytest.mark.parametrize(
    "name",
    ["catboost_slr", "keras_tutorial", "lightning_examples", "lightning_faces", "nas_asquaredm", "unet_pets"],
)
def test_folders_of_others_come_with_exactly_the_points_that_are_in_them(trial_data, tmp_path, name):
    truth = json.loads((trial_data / "truth.json").read_text())["dev"]["tensorboard"][name]
    place = trial_data / truth["folder"]
    packed = trial_data / "dev" / "tensorboard" / f"{name}.tar.gz"
    if packed.exists():
        with tarfile.open(packed) as archive:
            archive.extractall(tmp_path, filter="data")
        place = tmp_path / name
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    report = warehouse.import_(place)
    assert report.added["points"] == truth["scalar_points"]
    assert report.added["tags"] == truth["kinds"].get("tensor:text", 0)
    folders = {path.rpartition("/")[0] for path in truth["per_file"]}
    assert report.added["runs"] == len(folders)
    keys = warehouse.engine().query("SELECT DISTINCT key FROM metrics").num_rows
    assert keys == truth["distinct_scalar_tags"]
    assert counts(warehouse.import_(place)) == {}
    warehouse.close()
