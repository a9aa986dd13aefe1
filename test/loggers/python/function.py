"""A function for Lambda's own runtime client: a line at each level, then an exception."""

import logging

logger = logging.getLogger()
logger.setLevel(logging.DEBUG)


def handler(event, context):
    for level in ["debug", "info", "warning", "error", "critical"]:
        getattr(logger, level)(f'a {level} "line"', extra={"order": 42})
    raise ValueError("no stock")
