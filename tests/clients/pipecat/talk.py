"""pipecat's pipeline without a microphone: its context and its model service, in text."""

import asyncio

from conversation import API_KEY, BASE_URL, MODEL, hold
from pipecat.frames.frames import (
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.llm import OpenAILLMService


class ReplyCollector(FrameProcessor):
    """Collects the words of the reply between the service and the context."""

    def __init__(self):
        super().__init__()
        self.words = asyncio.Queue()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame):
            self.words.put_nowait(frame.text)
        if isinstance(frame, LLMFullResponseEndFrame):
            self.words.put_nowait(None)
        await self.push_frame(frame, direction)

    async def rest(self):
        """The text up to the end of the reply."""
        text = ""
        while (word := await asyncio.wait_for(self.words.get(), 60)) is not None:
            text += word
        return text


async def until(condition):
    """Wait for a change that the pipeline makes on its own."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the pipeline has no event for it
            await asyncio.sleep(0.01)


async def in_pipeline(talk, texts):
    """A conversation in a running pipeline."""
    context = LLMContext()
    settings = OpenAILLMService.Settings(model=MODEL)
    service = OpenAILLMService(settings=settings, api_key=API_KEY, base_url=BASE_URL)
    collector, aggregators = ReplyCollector(), LLMContextAggregatorPair(context)
    pipeline = Pipeline([aggregators.user(), service, collector, aggregators.assistant()])
    task = PipelineTask(pipeline, params=PipelineParams(), cancel_on_idle_timeout=False)
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    try:
        return await talk(task, context, collector, texts)
    finally:
        await task.cancel()
        await running


async def ask(task, context, text):
    """Add a message of the user to the context, and send the context."""
    context.add_message({"role": "user", "content": text})
    await task.queue_frames([LLMContextFrame(context)])


async def plain(task, context, collector, texts):
    """Three turns."""
    replies = []
    for number, text in enumerate(texts):
        await ask(task, context, text)
        replies.append(await collector.rest())
        await until(lambda seen=2 * (number + 1): len(context.get_messages()) == seen)
    return replies


async def barge_in(task, context, collector, texts):
    """The second reply is interrupted after its first words, and the third message comes at once."""
    first, second, third = texts
    await ask(task, context, first)
    replies = [await collector.rest()]
    await until(lambda: len(context.get_messages()) == 2)
    await ask(task, context, second)
    replies.append(await asyncio.wait_for(collector.words.get(), 60))
    await task.queue_frames([InterruptionFrame()])
    await until(lambda: len(context.get_messages()) == 4)
    while not collector.words.empty():
        collector.words.get_nowait()
    await ask(task, context, third)
    replies.append(await collector.rest())
    return replies


async def edit(task, context, collector, texts):
    """The second message is an edit of an earlier one."""
    first, second, third = texts
    replies = [*(await plain(task, context, collector, [first, "A table for five, please."]))][:1]
    context.set_messages(context.get_messages()[:2])
    for text in (second, third):
        length = len(context.get_messages())
        await ask(task, context, text)
        replies.append(await collector.rest())
        await until(lambda seen=length + 2: len(context.get_messages()) == seen)
    return replies


async def regenerate(task, context, collector, texts):
    """The second reply is regenerated."""
    first, second, third = texts
    replies = [*(await plain(task, context, collector, [first, second]))][:1]
    context.set_messages(context.get_messages()[:2])
    for text in (second, third):
        length = len(context.get_messages())
        await ask(task, context, text)
        replies.append(await collector.rest())
        await until(lambda seen=length + 2: len(context.get_messages()) == seen)
    return replies


def way(talk):
    """A way to talk in a pipeline."""
    return lambda texts: asyncio.run(in_pipeline(talk, texts))


hold({"streamed": way(plain), "barge-in": way(barge_in), "edit": way(edit), "regenerate": way(regenerate)})
