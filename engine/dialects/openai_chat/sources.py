"""Sources of an answer, where vendors of the API tell them beside its own `annotations`.

    search_results    Perplexity, on every chunk: {title, url, snippet, date}
    citations         Perplexity and xAI, on the last chunk: addresses
    executed_tools    Groq, of message and delta: {search_results: {results: [{title, url}]},
                      browser_results: [{title, url}]}
    context           Azure's answers on one's own data: {citations: [{title, url}]}
    web_search        Zhipu's GLM: [{title, link}]
    search_info       Tencent's Hunyuan: {search_results: [{title, url}]}
    reference         Mistral, a part of the content: {reference_ids}, numbers of documents that the
                      client gave; tool_reference, of a tool of Mistral's: {title, url}

The first two and those of Zhipu and Tencent stand beside `choices`. Shapes are those of vendors'
SDKs and documentation. None of them says where in the text a source belongs.
"""

from __future__ import annotations

from engine.chat import Citation, Opaque

from .sealed import NAME

Fields = dict[str, object]
TOOLS = "executed_tools"
_REFERENCES = ("reference", "tool_reference")
FIELDS = frozenset({"search_results", "citations", TOOLS, "context", "web_search", "search_info"})


class Sources:
    """Those of one answer, each once: streams tell them again and again."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def read(self, told: Fields) -> list[Citation]:
        """What is new in a chunk, a message or a delta."""
        if FIELDS.isdisjoint(told):
            return []
        found = _objects(told.get("search_results"))
        for tool in _objects(told.get(TOOLS)):
            found += _objects(_object(tool.get("search_results")).get("results"))
            found += _objects(tool.get("browser_results"))
        found += _objects(_object(told.get("context")).get("citations"))
        found += _objects(_object(told.get("search_info")).get("search_results"))
        found += _objects(told.get("web_search")) + _objects(told.get("citations"))
        out = [self._new(each.get("url") or each.get("link"), each.get("title")) for each in found]
        bare = told.get("citations")
        out += [self._new(url, None) for url in (bare if isinstance(bare, list) else ())]
        return [source for source in out if source is not None]

    def _new(self, url: object, title: object) -> Citation | None:
        """A document of one's own may have no address."""
        link, name = (given if isinstance(given, str) and given else None for given in (url, title))
        key = link or name
        if key is None or key in self._known:
            return None
        self._known.add(key)
        return Citation("web", link, name)


def cited(note: Fields) -> Citation:
    """An annotation of the API itself."""
    kind = note.get("type")
    kind = kind if isinstance(kind, str) and kind else "url_citation"
    inner = _object(note.get(kind)) or note
    url, title, start, end = (inner.get(f) for f in ("url", "title", "start_index", "end_index"))
    return Citation(
        kind=kind,
        url=url if isinstance(url, str) and url else None,
        title=title if isinstance(title, str) and title else None,
        start=start if isinstance(start, int) else None,
        end=end if isinstance(end, int) else None,
        raw=note,
    )


def referred(part: Fields) -> Citation | None:
    """What a part of the content refers to; None if it is no reference."""
    if part.get("type") not in _REFERENCES:
        return None
    url, title = (given if isinstance(given, str) else None
                  for given in (part.get("url"), part.get("title")))  # fmt: skip
    return Citation("web" if url else "reference", url, title, raw=part)


def executed(told: Fields) -> list[Opaque]:
    """The tools that Groq ran on the way, which other APIs are told of by their sources alone."""
    return [Opaque(NAME, TOOLS, tool) for tool in _objects(told.get(TOOLS))]


def _objects(value: object) -> list[Fields]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _object(value: object) -> Fields:
    return value if isinstance(value, dict) else {}
