"""One thread for every engine: the molecules are small, and threads would wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
