"""`auditor export` prints the names of what it wrote; a mistake is one line."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Call, Made


@pytest.mark.parametrize(
    ("to", "files"), [("inspect", 1), ("jsonl", 4), ("csv", 4), ("parquet", 4)]
)
def test_the_files_that_were_written_are_named(
    call: "Call", made: "Made", tmp_path: Path, to: str, files: int
) -> None:
    made.run()
    ended = call("export", "last", "--to", to, "--out", str(tmp_path / "new" / "folder"))
    assert (ended.code, ended.err) == (0, "")
    written = [Path(line) for line in ended.out.splitlines()]
    assert len(written) == files
    assert all(path.is_file() for path in written)


def test_the_scenario_is_printed_alone(call: "Call", made: "Made") -> None:
    made.run()
    ended = call("export", "tiny-1", "--scenario")
    assert (ended.code, ended.err) == (0, "")
    assert yaml.safe_load(ended.out)["targets"][0]["id"] == "guilty-1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tiny-1",), "say what to write and where"),
        (("tiny-1", "--to", "csv"), "say what to write and where"),
        (("tiny-1", "--scenario", "--to", "csv"), "leave out --to and --out"),
        (("tiny-1", "--to", "csv", "--out", "x", "--content"), "--content is for --to otel"),
        (("tiny-1", "--to", "otel", "--out", "x"), "leave out --out"),
        (("tinny-1", "--scenario"), "did you mean tiny-1?"),
        (("tiny-1", "--to", "csv", "--out", "FILE"), "is a file: give --out the name of a folder"),
    ],
)
def test_a_mistake_is_one_line(
    call: "Call", made: "Made", tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    made.run()
    (file := tmp_path / "file").write_text("")
    ended = call("export", *(str(file) if word == "FILE" else word for word in words))
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_run_without_trials_has_nothing_to_write(
    call: "Call", made: "Made", tmp_path: Path
) -> None:
    made.run(trials=0)
    ended = call("export", "tiny-1", "--to", "csv", "--out", str(tmp_path / "out"))
    assert (ended.code, "no trials yet" in ended.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_spans_are_sent_to_the_collector_that_the_environment_names(
    call: "Call", made: "Made", monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="no OTLP exporter here")
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    made.run()
    ended = call("export", "tiny-1", "--to", "otel")
    server.shutdown()
    thread.join()
    server.server_close()
    assert (ended.code, ended.out) == (0, "")
    assert "sent 4 spans of run tiny-1" in ended.err
    assert len(bodies) == 2


def test_without_opentelemetry_it_says_what_to_install(
    call: "Call", made: "Made", monkeypatch: pytest.MonkeyPatch
) -> None:
    made.run()
    for name in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.exporter"):
        monkeypatch.setitem(sys.modules, name, None)
    ended = call("export", "tiny-1", "--to", "otel")
    assert ended.code == 2
    assert "pip install 'auditor[otel]'" in ended.err
