"""First drafts of routes, out of what a browser's developer tools copied. Text in, text out.

curl       a curl command as a request
har        a HAR file as exchanges, and which of them was the chat
opaque     where in earlier answers a value stands that a later request sends
hiding     what must not be written: secrets, and the variables that stand for them
asking     a request as the `request` of a route, with templates in it
framing    an answer as records
infer      which of their fields are the text, the thinking, the end
known      upstreams whose API is one of the dialects
sketch     all of that put together
layout     YAML with comments at the ends of lines
starters   a route that extends a preset, a transform with its test
"""
