"""An MCP server that searches the text files of a folder, over standard input and output.

It imports the SDK only: it is started as a program of its own.
"""

import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("search")
folder = Path(sys.argv[1])


@server.tool()
def web_search(query: str) -> list[str]:
    """Lines of the pages that hold the words, with the page's name."""
    return [
        f"{page.stem}: {line}"
        for page in sorted(folder.glob("*.txt"))
        for line in page.read_text("utf-8").splitlines()
        if query.lower() in line.lower()
    ]


server.run("stdio")
