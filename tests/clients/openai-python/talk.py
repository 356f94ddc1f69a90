"""The `openai` package for Python: chat completions and responses."""

from conversation import API_KEY, BASE_URL, MODEL, hold
from openai import OpenAI

client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)


def chat(texts, stream=False):
    """Chat completions with the whole history."""
    messages, replies = [], []
    for text in texts:
        messages.append({"role": "user", "content": text})
        answer = client.chat.completions.create(model=MODEL, messages=messages, stream=stream)
        if stream:
            reply = "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
        else:
            reply = answer.choices[0].message.content
        messages.append({"role": "assistant", "content": reply})
        replies.append(reply)
    return replies


def chain(texts):
    """Responses, each after the one before."""
    replies, previous = [], None
    for text in texts:
        answer = client.responses.create(model=MODEL, input=text, previous_response_id=previous)
        replies.append(answer.output_text)
        previous = answer.id
    return replies


def items(texts):
    """Streamed responses with all items of the conversation."""
    replies, conversation = [], []
    for text in texts:
        conversation.append({"role": "user", "content": text})
        with client.responses.stream(model=MODEL, input=conversation) as stream:
            answer = stream.get_final_response()
        conversation += [item.to_dict() for item in answer.output]
        replies.append(answer.output_text)
    return replies


hold(
    {
        "chat": chat,
        "chat, streamed": lambda texts: chat(texts, stream=True),
        "responses": chain,
        "responses, streamed": items,
    }
)
