"""What a program does that was written for OpenAI: run by an environment that has the `openai` package alone, of any major.

python client_of_openai.py URL KEY MODEL TOOL_TEXT
"""

import json
import sys

import openai

url, key, model, tool_text = sys.argv[1:5]
client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
found = {"version": openai.__version__, "models": [each.id for each in client.models.list()]}
hello = [{"role": "user", "content": "Hello"}]

whole = client.chat.completions.create(model=model, messages=hello, temperature=0)
found["whole"], found["usage"] = whole.choices[0].message.content, whole.usage.total_tokens

options = {"stream": True, "stream_options": {"include_usage": True}}
pieces = list(client.chat.completions.create(model=model, messages=hello, temperature=0, **options))
found["stream"] = "".join(each.choices[0].delta.content or "" for each in pieces if each.choices)
found["stream_usage"] = pieces[-1].usage.total_tokens

parameters = {"type": "object", "properties": {"state": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "set_lamp", "description": "Light it.", "parameters": parameters}}]
called = client.chat.completions.create(model=model, messages=[{"role": "user", "content": tool_text}], tools=tools, temperature=0)
found["tool"] = [json.loads(each.function.arguments) for each in called.choices[0].message.tool_calls or []]

schema = {"type": "object", "properties": {"lit": {"type": "boolean"}}, "required": ["lit"], "additionalProperties": False}
form = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": schema, "strict": True}}
formed = client.chat.completions.create(model=model, messages=hello, temperature=0, response_format=form, max_tokens=60)
found["structured"] = formed.choices[0].message.content

found["completion"] = client.completions.create(model=model, prompt="Hello", max_tokens=5, temperature=0).choices[0].text
try:
    found["embedding"] = len(client.embeddings.create(model=model, input="Hello", encoding_format="float").data[0].embedding)
except openai.APIStatusError as error:
    found["embedding"] = error.status_code
for name, call in {
    "unknown_model": lambda: client.chat.completions.create(model="nobody", messages=hello),
    "wrong_key": lambda: openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list(),
    "bad_request": lambda: client.chat.completions.create(model=model, messages=[]),
}.items():
    try:
        call()
        found[name] = None
    except openai.APIStatusError as error:
        found[name] = [type(error).__name__, error.status_code, error.code]
sys.stdout.write(json.dumps(found))
