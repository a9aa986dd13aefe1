"""Writes with one of Python's loggers: a line at each level, with a field."""

import logging
import sys

LEVELS = ["debug", "info", "warning", "error", "critical"]


def message(level):
    return f'a {level} "line"'


def json_logger(**options):
    from pythonjsonlogger.json import JsonFormatter

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(**options))
    logger = logging.getLogger("orders")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    for level in LEVELS:
        getattr(logger, level)(message(level), extra={"order": 42})


def powertools():
    from aws_lambda_powertools import Logger

    logger = Logger(service="orders", level="DEBUG")
    for level in LEVELS:
        getattr(logger, level)(message(level), extra={"order": 42})


def basic():
    logging.basicConfig(stream=sys.stdout, level=logging.DEBUG)
    for level in LEVELS:
        getattr(logging.getLogger("orders"), level)(message(level))


{
    "json": lambda: json_logger(fmt="%(asctime)s %(levelname)s %(message)s"),
    "json-renamed": lambda: json_logger(
        fmt="%(levelname)s %(message)s", rename_fields={"levelname": "severity"}, timestamp=True
    ),
    "powertools": powertools,
    "basic": basic,
}[sys.argv[1]]()
