"""Names of the API's fields. Protobuf's JSON takes each in camelCase and in snake_case."""

from __future__ import annotations

import re

from engine.chat import Extras
from engine.dialects.reading import fields

NAME = "gemini"

_FIELDS = """
    additionalProperties allowedFunctionNames anyOf audioTranscriptionConfig blockReason
    cachedContent candidateCount codeExecution codeExecutionResult continuationToken
    displayName dynamicRetrievalConfig enableEnhancedCivicAnswers endOffset executableCode
    fileData fileSearch fileUri frequencyPenalty functionCall functionCallingConfig
    functionDeclarations functionResponse generateContentRequest generationConfig googleMaps
    googleSearch googleSearchRetrieval imageConfig includeServerSideToolInvocations
    includeThoughts inlineData maxItems maxLength maxOutputTokens maxProperties mcpServers
    mediaResolution mimeType minItems minLength minProperties parametersJsonSchema
    partMetadata prefixItems presencePenalty propertyOrdering responseJsonSchema
    responseLogprobs responseMimeType responseModalities responseSchema retrievalConfig
    safetySettings serviceTier speechConfig startOffset stopSequences systemInstruction
    thinkingBudget thinkingConfig thinkingLevel thoughtSignature toolCall toolConfig
    toolResponse topK topP urlContext videoMetadata willContinue
"""
CAMEL = {re.sub("([A-Z])", r"_\1", name).lower(): name for name in _FIELDS.split()}


def spelled(value: object, where: str) -> Extras:
    """A copy of an object, its known fields under their names in camelCase.

    One thing is a list of one to the API, as Google's own examples for curl have it
    (google-gemini/cookbook, System_instructions_REST). Raises RequestError if it is no object.
    """
    named = ((CAMEL.get(name, name), item) for name, item in fields(value, where).items())
    return {
        name: [item] if name in _LISTS and isinstance(item, dict) else item for name, item in named
    }


_LISTS = frozenset({"contents", "functionDeclarations", "parts", "tools"})
