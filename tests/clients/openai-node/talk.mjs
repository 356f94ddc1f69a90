// The `openai` package for Node: chat completions and responses.

import OpenAI from "openai";
import { apiKey, baseURL, hold, model } from "./conversation.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

async function chat(texts, stream) {
  const messages = [];
  const replies = [];
  for (const content of texts) {
    messages.push({ role: "user", content });
    let reply = "";
    if (stream) {
      for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
        reply += chunk.choices[0]?.delta?.content ?? "";
      }
    } else {
      reply = (await client.chat.completions.create({ model, messages })).choices[0].message.content;
    }
    messages.push({ role: "assistant", content: reply });
    replies.push(reply);
  }
  return replies;
}

async function chain(texts) {
  const replies = [];
  let previous;
  for (const input of texts) {
    const answer = await client.responses.create({ model, input, previous_response_id: previous });
    replies.push(answer.output_text);
    previous = answer.id;
  }
  return replies;
}

async function items(texts) {
  const replies = [];
  const input = [];
  for (const content of texts) {
    input.push({ role: "user", content });
    const answer = await client.responses.stream({ model, input }).finalResponse();
    input.push(...answer.output);
    replies.push(answer.output_text);
  }
  return replies;
}

await hold({
  chat: (texts) => chat(texts, false),
  "chat, streamed": (texts) => chat(texts, true),
  responses: chain,
  "responses, streamed": items,
});
