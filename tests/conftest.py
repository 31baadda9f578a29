"""Common ground of all tests: offline, no screen, the same examples on every run."""

from __future__ import annotations

import os

# Before anything imports the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["QUERYSHIFT_CACHE"] = "off"  # tests of the disk cache name a folder of their own

from hypothesis import settings

# Other work may share the machine, so a slow example is no failure; and a test that fails today
# must not pass tomorrow for want of the right example.
settings.register_profile("queryshift", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("queryshift")
