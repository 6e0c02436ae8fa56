"""Logs again what proxies have logged, where people look first: in the controller's log."""

import logging

from model_deployment.log.lines import FIELDS
from model_deployment.proxy.protocol import Message


def log_again(proxy: str, message: Message) -> None:
    """Log the record of a ``log`` message under the logger and with the fields that it had.

    A proxy of another release may send anything: what is no record is not logged.
    """
    name, level, text, fields = (message.get(one) for one in ("logger", "level", "text", "fields"))
    if not (isinstance(name, str) and isinstance(level, int) and isinstance(fields, dict)):
        return
    known = {field: fields[field] for field in FIELDS if field in fields}
    logging.getLogger(name).log(level, "proxy %s: %s", proxy, text, extra=known)
