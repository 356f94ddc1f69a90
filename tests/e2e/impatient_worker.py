"""`playhead worker`, but what it leaves undone when it is killed is taken up within seconds, not half a minute."""

from datetime import timedelta

from playhead import worker
from playhead.cli import app
from workflows import policies

if __name__ == "__main__":
    policies.SETTLE_ATTEMPT = timedelta(seconds=4)
    worker.STICKY_TIMEOUT = timedelta(seconds=1)
    app(["worker"])
