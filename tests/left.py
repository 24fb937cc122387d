"""What becomes of each part of an answer, by the dialect of its client: a section of
docs/translated.md.

Found out by reading an answer with the field, whose value holds `MARK`, and writing it for each
client. The fields are those of the published schemas and of the official SDKs' types.
"""

from __future__ import annotations

from typing import Any

from engine.dialects import DIALECTS
from engine.dialects.unsaid import beside, unsaid
from engine.events import UsageEvent, fold
from engine.wire import dumps
from tests.dialects.crossing import ASKING, parsed, read

MARK = "zebraAAA"  # letters of base64
TARGETS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini", "ollama")
NAMES = {"openai_chat": "Chat Completions", "anthropic_messages": "Messages",
         "openai_responses": "Responses", "gemini": "Gemini", "ollama": "Ollama"}  # fmt: skip
Fields = dict[str, Any]


def _chat(message: Fields | None = None, choice: Fields | None = None, **top: Any) -> Fields:
    said = {"role": "assistant", "content": "so", **(message or {})}
    whole = {"index": 0, "message": said, "finish_reason": "stop", **(choice or {})}
    return {"id": "c", "object": "chat.completion", "choices": [whole], **top}


def _tokens(text: str) -> Fields:
    return {"content": [{"token": text, "logprob": -1.0, "bytes": [], "top_logprobs": []}]}


_CALL = {"id": "c", "type": "function", "function": {"name": MARK, "arguments": "{}"}}
_URL = {"url": f"https://{MARK}", "title": "t", "start_index": 0, "end_index": 2}
CHAT: dict[str, Fields] = {
    "content": _chat({"content": MARK}),
    "refusal": _chat({"content": None, "refusal": MARK}),
    "reasoning_content": _chat({"reasoning_content": MARK}),
    "tool_calls": _chat({"tool_calls": [_CALL]}),
    "audio.data": _chat({"content": None, "audio": {"id": "a", "data": MARK, "transcript": "x"}}),
    "audio.transcript": _chat({"content": None, "audio": {"id": "a", "transcript": MARK}}),
    "images": _chat({"images": [{"type": "image_url",
                                 "image_url": {"url": f"data:image/png;base64,{MARK}"}}]}),
    "annotations, url_citation": _chat({"annotations": [
        {"type": "url_citation", "url_citation": _URL}]}),
    "search_results": _chat(search_results=[{"title": "t", "url": f"https://{MARK}"}]),
    "citations": _chat(citations=[f"https://{MARK}"]),
    "context.citations": _chat({"context": {"citations": [{"url": f"https://{MARK}"}]}}),
    "content, reference": _chat({"content": [
        {"type": "text", "text": "so"}, {"type": "reference", "reference_ids": [MARK]}]}),
    "content, tool_reference": _chat({"content": [
        {"type": "text", "text": "so"},
        {"type": "tool_reference", "title": "t", "url": f"https://{MARK}"}]}),
    "content, any other part": _chat({"content": [
        {"type": "text", "text": "so"}, {"type": "document_url", "document_url": MARK}]}),
    "web_search": _chat(web_search=[{"title": "t", "link": f"https://{MARK}"}]),
    "search_info": _chat(search_info={"search_results": [{"url": f"https://{MARK}"}]}),
    "executed_tools": _chat({"executed_tools": [{"type": "python", "output": MARK}]}),
    "executed_tools.search_results": _chat({"executed_tools": [
        {"type": "search", "search_results": {"results": [{"url": f"https://{MARK}"}]}}]}),
    "logprobs": _chat(None, {"logprobs": _tokens(MARK)}),
    "system_fingerprint": _chat(system_fingerprint=MARK),
    "service_tier": _chat(service_tier=MARK),
}  # fmt: skip


def _responses(*items: Fields, **top: Any) -> Fields:
    output = [*items, _message({"type": "output_text", "text": "so", "annotations": []})]
    return {"id": "r", "object": "response", "status": "completed", "output": output, **top}


def _message(*parts: Fields) -> Fields:
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed",
            "content": [*parts]}  # fmt: skip


def _text(**fields: Any) -> Fields:
    return _message({"type": "output_text", "text": "a", "annotations": [], **fields})


def _item(kind: str, **fields: Any) -> Fields:
    return _responses({"id": "i", "type": kind, "status": "completed", **fields})


RESPONSES: dict[str, Fields] = {
    "output_text": _responses(_text(text=MARK)),
    "output_text.logprobs": _responses(_text(logprobs=_tokens(MARK)["content"])),
    "output_text.annotations, url_citation": _responses(
        _text(annotations=[{"type": "url_citation", **_URL}])),
    "output_text.annotations, file_citation": _responses(_text(annotations=[
        {"type": "file_citation", "file_id": MARK, "filename": "f", "index": 0}])),
    "refusal": _responses(_message({"type": "refusal", "refusal": MARK})),
    "reasoning": _item("reasoning", summary=[{"type": "summary_text", "text": MARK}]),
    "function_call": _item("function_call", call_id="c", name=MARK, arguments="{}"),
    "custom_tool_call": _item("custom_tool_call", call_id="c", name=MARK, input="x"),
    "image_generation_call": _item("image_generation_call", result=MARK),
    "code_interpreter_call": _item("code_interpreter_call", code=MARK, container_id="c"),
    "mcp_call": _item("mcp_call", name="f", server_label="s", arguments="{}", output=MARK),
    "mcp_list_tools": _item("mcp_list_tools", server_label=MARK, tools=[]),
    "mcp_approval_request": _item("mcp_approval_request", name=MARK, server_label="s",
                                  arguments="{}"),
    "web_search_call": _item("web_search_call", action={"type": "search", "query": MARK}),
    "file_search_call": _item("file_search_call", queries=[MARK]),
    "computer_call": _item("computer_call", call_id=MARK, action={}),
    "local_shell_call": _item("local_shell_call", call_id=MARK, action={}),
    "shell_call": _item("shell_call", call_id="c", action={"commands": [MARK]}),
    "shell_call_output": _item("shell_call_output", call_id="c", output=[{"stdout": MARK}]),
    "apply_patch_call": _item("apply_patch_call", call_id=MARK, operation={}),
    "program": _item("program", call_id="c", code=MARK),
    "program_output": _item("program_output", call_id="c", result=MARK),
    "compaction": _item("compaction", encrypted_content=MARK),
    "service_tier": _responses(service_tier=MARK),
}  # fmt: skip


def _messages(*blocks: Fields, **top: Any) -> Fields:
    return {"id": "m", "type": "message", "role": "assistant", "stop_reason": "end_turn",
            "content": [*blocks, {"type": "text", "text": "so"}], **top}  # fmt: skip


def _block(kind: str, **fields: Any) -> Fields:
    return _messages({"type": kind, **fields})


def _result(kind: str, **content: Any) -> Fields:
    return _block(kind, tool_use_id="s", content=content)


def _cited(kind: str, **fields: Any) -> Fields:
    return _block("text", text="a", citations=[{"type": kind, "cited_text": "a", **fields}])


def _used(kind: str, name: str, **given: Any) -> Fields:
    return _block(kind, id="s", name=name, input=given)


MESSAGES: dict[str, Fields] = {
    "text": _block("text", text=MARK),
    "citations, web_search_result_location": _cited(
        "web_search_result_location", url=f"https://{MARK}", title="t", encrypted_index=""),
    "citations, char_location": _cited("char_location", document_title=MARK),
    "thinking": _block("thinking", thinking=MARK, signature="s"),
    "tool_use": _used("tool_use", MARK),
    "server_tool_use, code": _used("server_tool_use", "code_execution", code=MARK),
    "server_tool_use, search": _used("server_tool_use", "web_search", query=MARK),
    "web_search_tool_result": _block("web_search_tool_result", tool_use_id=MARK, content=[]),
    "web_fetch_tool_result": _result("web_fetch_tool_result", url=MARK),
    "code_execution_tool_result": _result("code_execution_tool_result", stdout=MARK),
    "bash_code_execution_tool_result": _result("bash_code_execution_tool_result", stdout=MARK),
    "text_editor_code_execution_tool_result": _result(
        "text_editor_code_execution_tool_result", content=MARK),
    "tool_search_tool_result": _result("tool_search_tool_result", x=MARK),
    "advisor_tool_result": _result("advisor_tool_result", text=MARK),
    "mcp_tool_use": _used("mcp_tool_use", MARK),
    "mcp_tool_result": _block("mcp_tool_result", tool_use_id="s",
                              content=[{"type": "text", "text": MARK}]),
    "container_upload": _block("container_upload", file_id=MARK),
    "compaction": _block("compaction", content=MARK),
    "stop_sequence": _messages(stop_reason="stop_sequence", stop_sequence=MARK),
    "stop_details": _messages(stop_reason="refusal", stop_details={
        "type": "refusal", "category": None, "explanation": MARK}),
    "container": _messages(container={"id": MARK}),
    "usage.service_tier": _messages(usage={"input_tokens": 1, "service_tier": MARK}),
    "usage.server_tool_use": _messages(usage={"input_tokens": 1, "server_tool_use": {"x": MARK}}),
}  # fmt: skip


def _gemini(*parts: Fields, **candidate: Any) -> Fields:
    content = {"role": "model", "parts": [*parts, {"text": "so"}]}
    return {"candidates": [{"index": 0, "finishReason": "STOP", "content": content, **candidate}]}


GEMINI: dict[str, Fields] = {
    "text": _gemini({"text": MARK}),
    "text, thought": _gemini({"text": MARK, "thought": True}),
    "functionCall": _gemini({"functionCall": {"name": MARK, "args": {}}}),
    "inlineData, picture": _gemini({"inlineData": {"mimeType": "image/png", "data": MARK}}),
    "inlineData, sound": _gemini({"inlineData": {"mimeType": "audio/wav", "data": MARK}}),
    "fileData": _gemini({"fileData": {"mimeType": "image/png", "fileUri": f"https://{MARK}"}}),
    "executableCode": _gemini({"executableCode": {"language": "PYTHON", "code": MARK}}),
    "codeExecutionResult": _gemini(
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": MARK}}),
    "toolCall": _gemini({"toolCall": {"id": MARK}}),
    "toolResponse": _gemini({"toolResponse": {"id": MARK}}),
    "groundingMetadata.groundingChunks": _gemini(groundingMetadata={
        "groundingChunks": [{"web": {"uri": f"https://{MARK}"}}]}),
    "groundingMetadata.groundingChunks, without address": _gemini(groundingMetadata={
        "groundingChunks": [{"retrievedContext": {"title": MARK}}]}),
    "groundingMetadata.searchEntryPoint": _gemini(groundingMetadata={
        "searchEntryPoint": {"renderedContent": MARK}}),
    "citationMetadata": _gemini(citationMetadata={
        "citationSources": [{"uri": f"https://{MARK}"}]}),
    "finishMessage": _gemini(finishReason="SAFETY", finishMessage=MARK),
    "safetyRatings": _gemini(safetyRatings=[{"category": MARK, "probability": "LOW"}]),
    "urlContextMetadata": _gemini(urlContextMetadata={"urlMetadata": [{"retrievedUrl": MARK}]}),
    "logprobsResult": _gemini(logprobsResult={
        "chosenCandidates": [{"token": MARK, "logProbability": -1.0}]}),
}  # fmt: skip


def _ollama(message: Fields, **top: Any) -> Fields:
    said = {"role": "assistant", "content": "so", **message}
    return {"model": "m", "message": said, "done": True, "done_reason": "stop", **top}


OLLAMA: dict[str, Fields] = {
    "message.content": _ollama({"content": MARK}),
    "message.thinking": _ollama({"thinking": MARK}),
    "message.tool_calls": _ollama({"tool_calls": [{"function": {"name": MARK, "arguments": {}}}]}),
    "message.images": _ollama({"images": [MARK]}),
    "logprobs": _ollama({}, logprobs=_tokens(MARK)["content"]),
}
UPSTREAMS = {"openai_chat": CHAT, "openai_responses": RESPONSES, "anthropic_messages": MESSAGES,
             "gemini": GEMINI, "ollama": OLLAMA}  # fmt: skip

# The only ones that may be left out without a word.
UNTOLD = {
    "system_fingerprint", "service_tier", "usage.service_tier", "usage.server_tool_use",
    "container", "stop_sequence", "logprobs", "output_text.logprobs", "logprobsResult",
    "safetyRatings",
    "urlContextMetadata", "groundingMetadata.searchEntryPoint",
}  # fmt: skip

HEAD = """
## Answers

What becomes of each part of an answer, where it is written anew: for a client of another API, and
for one of the same where its bytes do not pass through (the column of the upstream itself).

- **told**: in the client's own words, or in its text where it has none: code that the provider ran
  and what came of it as blocks of code
- **words**: that something was left out, and what
- **named**: left out, and named: in the header `x-penstock-answer-dropped` of a whole answer; of
  streams too in the log line `attempt` and in `penstock_answers_unsaid_total`
- **not**: left out without a word, as it is no part of what the model says

Ids and times are the gateway's own. Previews of pictures (`partial_image`) are left out: the
picture itself follows. Sources belong to the text before them until something else begins, then to
the next text, and behind all to the last one. Streams of Messages and Responses have no place for
the latter, and no API for sources of an answer without text but Chat Completions: they are named.
So are calls after the first (`tool_calls`) where a client of Chat speaks `functions`.
"""


def fate(upstream: str, body: Fields, client: str) -> str:
    """One of told, words, named, not."""
    events, verdict, usage = read(upstream, dumps(body), stream=False)
    reply = fold([*events, *([UsageEvent(usage)] if usage else []), verdict])
    asked, kind = parsed(client, ASKING.get(client, {})), DIALECTS[client]
    out = kind.reply(reply, "id", "m", 1, asked)
    if MARK.encode() in out:
        return "told"
    if b"left out: " in out:
        return "words"
    return "named" if unsaid(beside(reply), kind, asked) else "not"


def answers() -> str:
    columns = " | ".join(NAMES[name] for name in TARGETS)
    out = [HEAD]
    for upstream, fields in UPSTREAMS.items():
        out.append(f"\n| of {NAMES[upstream]} | {columns} |\n|---|" + "---|" * len(TARGETS) + "\n")
        for name, body in fields.items():
            cells = " | ".join(fate(upstream, body, client) for client in TARGETS)
            out.append(f"| {name} | {cells} |\n")
    return "".join(out)
