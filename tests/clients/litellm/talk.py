"""LiteLLM, with the agent as a model of an OpenAI-compatible provider."""

import litellm
from conversation import API_KEY, BASE_URL, MODEL, hold

CONNECTION = {"api_base": BASE_URL, "api_key": API_KEY, "num_retries": 0}


def chat(texts, stream=False):
    """Chat completions with the whole history."""
    messages, replies = [], []
    for text in texts:
        messages.append({"role": "user", "content": text})
        answer = litellm.completion(model=f"openai/{MODEL}", messages=messages, stream=stream, **CONNECTION)
        if stream:
            reply = "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
        else:
            reply = answer.choices[0].message.content
        messages.append({"role": "assistant", "content": reply})
        replies.append(reply)
    return replies


hold({"chat": chat, "chat, streamed": lambda texts: chat(texts, stream=True)})
