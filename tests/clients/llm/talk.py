"""The command `llm`, with the agent in its `extra-openai-models.yaml`; `llm -c` continues the conversation."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from conversation import API_KEY, BASE_URL, MODEL, hold

MODELS = f"""
- model_id: {MODEL}
  model_name: {MODEL}
  api_base: {BASE_URL}
  api_key_name: playhead
"""


def talk(texts, *options):
    """A conversation, each message by a command of its own."""
    replies = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "extra-openai-models.yaml").write_text(MODELS)
        environment = {**os.environ, "LLM_USER_PATH": folder}
        for number, text in enumerate(texts):
            goes_on = ["-c"] if number else []
            command = [sys.executable, "-m", "llm", "prompt", "-m", MODEL, "--key", API_KEY, *options, *goes_on, text]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
            if done.returncode:
                raise RuntimeError(done.stderr)
            replies.append(done.stdout.strip())
    return replies


hold({"chat": lambda texts: talk(texts, "--no-stream"), "chat, streamed": talk})
