"""LangChain's `ChatOpenAI`, over chat completions and over responses."""

from conversation import API_KEY, BASE_URL, MODEL, hold
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI


def talk(texts, stream=False, **options):
    """A conversation with the whole history."""
    model = ChatOpenAI(model=MODEL, base_url=BASE_URL, api_key=API_KEY, max_retries=0, **options)
    messages, replies = [], []
    for text in texts:
        messages.append(HumanMessage(text))
        if stream:
            answer = None
            for chunk in model.stream(messages):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = model.invoke(messages)
        messages.append(answer)
        replies.append(answer.text if isinstance(answer.text, str) else answer.text())
    return replies


hold(
    {
        "chat": talk,
        "chat, streamed": lambda texts: talk(texts, stream=True),
        "responses": lambda texts: talk(texts, use_responses_api=True),
        "responses, streamed": lambda texts: talk(texts, stream=True, use_responses_api=True),
    }
)
