// Vercel's AI SDK: the OpenAI-compatible provider (chat completions) and the OpenAI provider (responses).

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { apiKey, baseURL, hold, model } from "./conversation.mjs";

const chat = createOpenAICompatible({ name: "playhead", baseURL, apiKey })(model);
const responses = createOpenAI({ baseURL, apiKey })(model);

async function talk(texts, languageModel, stream) {
  const messages = [];
  const replies = [];
  for (const content of texts) {
    messages.push({ role: "user", content });
    const options = { model: languageModel, messages, maxRetries: 0 };
    const result = stream ? streamText({ ...options, onError: ({ error }) => { throw error; } }) : await generateText(options);
    replies.push(await result.text);
    messages.push(...(await result.response).messages);
  }
  return replies;
}

await hold({
  chat: (texts) => talk(texts, chat, false),
  "chat, streamed": (texts) => talk(texts, chat, true),
  responses: (texts) => talk(texts, responses, false),
  "responses, streamed": (texts) => talk(texts, responses, true),
});
