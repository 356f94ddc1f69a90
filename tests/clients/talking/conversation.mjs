// Conversations of the clients' scripts: three messages each, in every way in which a client is used.

export const baseURL = process.env.CLIENT_BASE_URL;
export const apiKey = process.env.CLIENT_API_KEY;
export const model = process.env.CLIENT_MODEL;

const messagesOf = (way) => [
  `Hello, this is ${process.env.CLIENT_NAME}: ${way}.`,
  "A table for four on Friday, please.",
  "At seven.",
];

// Holds a conversation in each way, and writes the replies, or the error, by way as the last line of the output.
export async function hold(ways) {
  const outcomes = {};
  for (const [name, way] of Object.entries(ways)) {
    try {
      outcomes[name] = await way(messagesOf(name));
    } catch (error) {
      console.error(error);
      outcomes[name] = `${error.name}: ${error.message}`;
    }
  }
  console.log(`\n${JSON.stringify(outcomes)}`);
}
