"""Events of web requests, as Lambda hands them to a function."""

from __future__ import annotations

from typing import Any


def http_event(path: str) -> dict[str, Any]:
    """A GET, in version 2.0 of the format (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html)."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "box.example", "accept": "*/*"},
        "requestContext": {
            "stage": "$default",
            "domainName": "box.example",
            "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"},
        },
        "isBase64Encoded": False,
    }
