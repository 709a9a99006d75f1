"""What a LangChain program does: run by an environment with `langchain-openai`.

python client_of_langchain.py URL KEY MODEL TOOL_TEXT
"""

import json
import sys

from langchain_openai import ChatOpenAI

url, key, model, tool_text = sys.argv[1:5]
chat = ChatOpenAI(base_url=url, api_key=key, model=model, temperature=0, max_retries=0)


def set_lamp(state: str) -> str:
    """Light it."""
    return state


called = chat.bind_tools([set_lamp]).invoke(tool_text)
found = {
    "whole": chat.invoke("Hello").content,
    "stream": "".join(each.content for each in chat.stream("Hello")),
    "tool": [each["args"] for each in called.tool_calls],
}
sys.stdout.write(json.dumps(found))
