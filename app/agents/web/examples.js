/** Example messages. A line with `!` instructs the scripted model; any other model reads it as text. */
const script = (...lines) => lines.join("\n");

export const EXAMPLES = [
  { name: "Question", message: "How many words are these?" },
  {
    name: "Thoughts and tools",
    message: script(
      "What time is it, and how long is a haiku?",
      "!think The clock first.",
      "!call current_time",
      "!stall 0.4",
      "!think Now the haiku.",
      '!call count_words {"text": "an old silent pond, a frog jumps into the pond, splash! silence again"}',
      "!stall 0.2",
    ),
  },
  {
    name: "Long stall",
    message: script(
      "Take your time.",
      "!think This will take a while.",
      "!stall 4",
      "!call current_time",
      "!stall 4",
      "!think Done.",
    ),
  },
  {
    name: "Tool fails",
    message: script(
      "Use tools that fail.",
      "!call no_such_tool {}",
      '!call count_words {"words": 3}',
      "!think It goes on without.",
    ),
  },
  { name: "Run fails", message: script("Give up halfway.", "!think This can't end well.", "!fail the model gave up") },
];
