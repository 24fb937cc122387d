"""Seeded faults: the cases of each parser must notice every one of them.

A mutant is the parser's own source with one place changed. Should that place be gone, the mutant
says so, so that none of them can rot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import engine.parsers
from tests.parsers.case import Case
from tests.parsers.cases_binary import AWS, DECIMAL, FRAMES, SOCKET
from tests.parsers.cases_json import JSON, JSON_ARRAY
from tests.parsers.cases_lines import LINES, NDJSON, TEXT, WHOLE_TEXT
from tests.parsers.cases_sse import SSE

FOLDER = Path(engine.parsers.__file__).parent
CASES: dict[str, list[Case]] = {
    "sse": SSE,
    "lines": LINES,
    "ndjson": NDJSON,
    "text": TEXT + WHOLE_TEXT,
    "json": JSON,
    "json_array": JSON_ARRAY,
    "frames": FRAMES + DECIMAL,
    "aws_eventstream": AWS,
    "websocket": SOCKET,
}


@dataclass(frozen=True)
class Mutant:
    fault: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant("the bit of a packed frame is kept", "frames", "flag & ~_COMPRESSED", "flag"),
    Mutant("packed frames of any size", "frames", "if len(data) > limit:", "if False:"),
    Mutant("a cut gzip taken for whole", "frames", "if not inflate.eof:", "if False:"),
    Mutant(
        "gzip unpacked without its bit",
        "frames",
        "flag & _COMPRESSED and payload.startswith(_GZIP)",
        "payload.startswith(_GZIP)",
    ),
    Mutant(
        "a message before its last byte",
        "websocket",
        "len(buffer) < end:",
        "len(buffer) < end - 1:",
    ),
    Mutant(
        "a message of the largest size refused", "websocket", "length > limit", "length >= limit"
    ),
    Mutant("text taken for binary", "websocket", '0x81: "text"', '0x81: "binary"'),
    Mutant(
        "text decoded per read",
        "text",
        "self._decoder.decode(data, final)",
        'data.decode("utf-8", "replace")',
    ),
    Mutant("half a character lost at the end", "text", "final=True)", "final=False)"),
    Mutant("data holds what still waits", "text", "data[: len(data) - len(waiting)]", "data"),
    Mutant(
        "the pair CR LF is two newlines",
        "sse",
        "if at < 0:",
        'at = max(at, data.rfind(b"\\r\\n"))\n    if at < 0:',
    ),
    Mutant("CR is half of a pair too early", "sse", ' - data.endswith(b"\\n\\r")', ""),
    Mutant("the last event is lost", "sse", 'left + b"\\n\\n" if left', 'b"" if left'),
    Mutant(
        "the mark at the start is kept", "sse", "return whole.removeprefix(BOM)", "return whole"
    ),
    Mutant("a mark is removed anywhere", "sse", "self._fresh = False", "pass"),
    Mutant("data joined without newline", "sse", 'b"\\n".join(body)', 'b"".join(body)'),
    Mutant("line feeds only", "sse", "if _CR not in data:", "if True:"),
    Mutant("the remainder is dropped", "sse", "            rest += data\n", ""),
    Mutant(
        "the remainder after whole frames is dropped",
        "sse",
        "rest[:] = data[end:].lstrip(_EOL)",
        "rest.clear()",
    ),
    Mutant(
        "every space after the colon is dropped",
        "sse",
        'body.append(value.removeprefix(b" "))',
        "body.append(value.lstrip())",
    ),
    Mutant(
        "the space after the colon is demanded",
        "sse",
        'if name == b"data":',
        'if line.startswith(b"data: "):',
    ),
    Mutant(
        "one event's name for the next",
        "sse",
        'lines, event, body = 0, b"", []',
        "lines, body = 0, []",
    ),
    Mutant("the fast road taken in mid-frame", "sse", "self.idle\n            and ", ""),
    Mutant("the fast road ignores CR", "sse", "or _CR in whole", ""),
    Mutant("the fast road ignores lines between", "sse", "any(lines[1::2])", "False"),
    Mutant("comments are not counted", "sse", "frames += lines > 0", "frames += bool(body)"),
    Mutant(
        "no bound for one read",
        "sse",
        "if len(whole) > self._limit else whole",
        "if False else whole",
    ),
    Mutant("no bound for the remainder", "sse", "if len(self._rest) > self._limit:", "if False:"),
    Mutant("good frames lost with the bad", "sse", "if not good:", "if True:"),
    Mutant("everything waits for the end", "sse", "if end < 0:", "if True:"),
    Mutant(
        "CR CR waits",
        "sse",
        'data.rfind(b"\\r\\r", 0, stop)',
        'data.rfind(b"\\r\\r", 0, len(data) - 1)',
    ),
    Mutant("blank lines are frames", "sse", "if len(lines) > 1:", "if lines:"),
    Mutant("the half of a pair kept in CR CR LF", "sse", "frame[:-1] if", "frame if"),
    Mutant("both halves of a pair end a line", "lines", 'self._after_cr = last == b"\\r"', "pass"),
    Mutant("a line feed is always a half", "lines", "if self._after_cr and data:", "if data:"),
    Mutant("the last line is lost", "lines", "return [left] if left else []", "return []"),
    Mutant(
        "all Unicode separators end a line",
        "lines",
        "data.splitlines()",
        "[l.encode() for l in data.decode('utf-8', 'replace').splitlines()]",
    ),
    Mutant("the mark is kept", "lines", "line.removeprefix(BOM)", "line"),
    Mutant("the remainder is dropped", "lines", "self._rest[:] = tail", "self._rest.clear()"),
    Mutant("no bound", "lines", "if max(map(len, lines)) > self._limit:", "if False:"),
    Mutant("blank lines are records", "ndjson", " if line and not line.isspace()", ""),
    Mutant("lines of spaces are records", "ndjson", " and not line.isspace()", ""),
    Mutant(
        "blank lines are no sign of life",
        "ndjson",
        "self.frames += len(lines)",
        "self.frames += len([l for l in lines if l])",
    ),
    Mutant("a blank body is a record", "json", "if not body.strip():", "if not body:"),
    Mutant("the mark is kept", "json", ".removeprefix(BOM)", ""),
    Mutant("no bound", "json", "if self._size > self._limit:", "if False:"),
    Mutant(
        "depth ignores strings", "json_array", '|"[^"\\\\]*(?:\\\\.[^"\\\\]*)*"|(")', '|(")(?!)'
    ),
    Mutant(
        "escapes are ignored in whole strings",
        "json_array",
        '[^"\\\\]*(?:\\\\.[^"\\\\]*)*"|',
        '[^"]*"|',
    ),
    Mutant("escapes are ignored in cut strings", "json_array", "self._at += 1", "pass"),
    Mutant(
        "a cut string is forgotten",
        "json_array",
        'self._state = "string"\n',
        'self._state = "nested"\n',
    ),
    Mutant("depth is forgotten", "json_array", "self._depth -= 1", "self._depth = 0"),
    Mutant(
        "the last bare value is lost",
        "json_array",
        'return self.feed(b" ") if self._state == "bare" else []',
        "return []",
    ),
    Mutant(
        "nested arrays are opened",
        "json_array",
        'byte == b"[" and not self._inside',
        'byte == b"["',
    ),
    Mutant("no bound", "json_array", "if end - self._start > self._limit:", "if False:"),
    Mutant("the mark is a value", "json_array", "\\xef\\xbb\\xbf", ""),
    Mutant("the checksum is not looked at", "frames", "if self._crc and", "if False and"),
    Mutant(
        "the checksum leaves out the length",
        "frames",
        "zlib.crc32(buffer[at:end])",
        "zlib.crc32(buffer[body:end])",
    ),
    Mutant("always the big end first", "frames", "_U32[options.length]", '_U32["u32be"]'),
    Mutant("the flag is lost", "frames", "Record(str(flag), payload)", 'Record("", payload)'),
    Mutant("lengths count characters", "frames", "return singles + doubles", "return singles"),
    Mutant("lengths count bytes", "frames", "return singles + doubles", "return len(text)"),
    Mutant("a payload ends with its first line", "frames", "if units >= size:", "if True:"),
    Mutant(
        "units are counted anew for each read", "frames", "units = self._units or 1", "units = 1"
    ),
    Mutant("a wrong length passes", "frames", "if beyond > 2:", "if False:"),
    Mutant("the guard line is no length", "frames", 'head in (b"", _GUARD)', 'head == b""'),
    Mutant("a frame without last newline is lost", "frames", 'last=b"\\n"', 'last=b""'),
    Mutant("no bound", "frames", "if length > self._limit:", "if False:"),
    Mutant(
        "no bound for payloads of lines", "frames", "- body > self._limit:", "- body > 1 << 40:"
    ),
    Mutant("good frames lost with the bad", "prefixed", "if not records:", "if True:"),
    Mutant("frames taken are not forgotten", "prefixed", "del self._buffer[:at]", "pass"),
    Mutant("one frame a read", "prefixed", "while found :=", "if found :="),
    Mutant("frames are not counted", "prefixed", "self.frames += len(records)", "pass"),
    Mutant(
        "the prelude's checksum is not looked at",
        "aws_eventstream",
        "if zlib.crc32(buffer[at : at + 8]) != crc:",
        "if False:",
    ),
    Mutant(
        "the checksum is not looked at",
        "aws_eventstream",
        "if zlib.crc32(message[:-4]) !=",
        "if None and 0 !=",
    ),
    Mutant("an exception is an event", "aws_eventstream", 'case "exception":', 'case "other":'),
    Mutant("an error has no message", "aws_eventstream", "payload or dumps", "payload and dumps"),
    Mutant("a type has the wrong size", "aws_eventstream", "8: 8, 9: 16", "8: 9, 9: 16"),
    Mutant("headers may run out", "aws_eventstream", "if at != len(block):", "if at < 0:"),
    Mutant("lengths may contradict", "aws_eventstream", "if head + _LEAST > total:", "if False:"),
    Mutant("no bound", "aws_eventstream", "if total > self._limit:", "if False:"),
]


def fresh(file: str, old: str = "", new: str = "") -> ModuleType:
    """The parser's module once more, with `old` replaced in its source."""
    path = FOLDER / f"{file}.py"
    source = path.read_text(encoding="utf-8")
    assert old in source, f"{file}.py has no {old!r}: write the mutant anew"
    module = ModuleType(f"engine.parsers.{file}")
    module.__package__ = "engine.parsers"
    exec(compile(source.replace(old, new), str(path), "exec"), module.__dict__)
    return module


def load(mutant: Mutant) -> tuple[ModuleType, list[Case]]:
    """The mutated module and the cases that must notice."""
    module = fresh(mutant.file, mutant.old, mutant.new)
    if mutant.file != "prefixed":
        return module, CASES[mutant.file]
    frames = fresh("frames")
    frames.PrefixedParser = module.PrefixedParser  # type: ignore[attr-defined]
    return frames, CASES["frames"]


def failure(module: ModuleType, cases: list[Case]) -> str:
    """The name of the first case that fails, "" if all pass."""
    for case in cases:
        try:
            case.run(module)
        except Exception:
            return case.name
    return ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.fault}")
def test_the_cases_notice_a_mutant(mutant: Mutant) -> None:
    assert failure(*load(mutant))


@pytest.mark.parametrize("file", CASES)
def test_the_cases_pass_without_a_mutation(file: str) -> None:
    assert failure(fresh(file), CASES[file]) == ""
