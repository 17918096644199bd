"""`SHOP_SERVICE=orders python -m examples.shop.manage migrate`: Django's commands, for the service that is named."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.shop.settings")
    execute_from_command_line(sys.argv)
