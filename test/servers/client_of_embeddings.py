"""What a program that searches does with OpenAI's SDK: vectors in both of its forms; run by an environment that has `openai` alone.

python client_of_embeddings.py URL KEY MODEL
"""

import json
import math
import sys

import openai

url, key, model = sys.argv[1:4]
client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
texts = ["A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby."]

packed = client.embeddings.create(model=model, input=texts)  # the SDK asks for base64 where nobody says otherwise, and unpacks it
plain = client.embeddings.create(model=model, input=texts, encoding_format="float")
one = client.embeddings.create(model=model, input=texts[0], encoding_format="float")


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


vectors = [each.embedding for each in packed.data]
pairs = [(x, y) for a, b in zip(vectors, plain.data, strict=True) for x, y in zip(a, b.embedding, strict=True)]
found = {
    "version": openai.__version__,
    "order": [each.index for each in packed.data],
    "size": {len(each) for each in vectors} == {len(one.data[0].embedding)} and len(vectors[0]),
    "apart": max(abs(x - y) for x, y in pairs),
    "alone": cosine(vectors[0], one.data[0].embedding),
    "cosines": [cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2])],
    "tokens": [packed.usage.prompt_tokens, one.usage.prompt_tokens],
}
for name, call in {
    "empty": lambda: client.embeddings.create(model=model, input=[]),
    "chat": lambda: client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}]),
    "wrong_key": lambda: openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).embeddings.create(model=model, input="x"),
}.items():
    try:
        call()
        found[name] = None
    except openai.APIStatusError as error:
        found[name] = [type(error).__name__, error.status_code]
sys.stdout.write(json.dumps(found))
