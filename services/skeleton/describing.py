"""Puts the operations' models into the app's OpenAPI document, which the edge keeps out of FastAPI's sight for speed."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.skeleton.service import Operation, Service

REF = "#/components/schemas/{model}"


def describe(app: FastAPI, service: Service, undo_request: type[BaseModel], key_header: str) -> None:
    """Make `/openapi.json` name each operation's header, body, answer and rejections."""
    without_models = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = without_models()
            _add_models(document, service, undo_request, key_header)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def _add_models(document: dict[str, Any], service: Service, undo_request: type[BaseModel], key_header: str) -> None:
    bodies = {operation.request for operation in service.operations} | {undo_request}
    results = {operation.response for operation in service.operations}
    models = sorted([*((m, "validation") for m in bodies), *((m, "serialization") for m in results)], key=str)
    refs, definitions = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]  # a literal per pair
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(definitions.get("$defs", {}))
    for operation in service.operations:
        post = document["paths"][operation.path]["post"]
        answer = refs[operation.response, "serialization"]
        _complete(post, refs[operation.request, "validation"], operation, key_header)
        post["responses"] = {str(operation.status): _content("done", answer), **_rejections(operation)}
        if operation.undo is not None:
            undo = document["paths"][operation.path + "/undo"]["post"]
            _complete(undo, refs[undo_request, "validation"], operation, key_header)


def _complete(post: dict[str, Any], body: dict[str, Any], operation: Operation, key_header: str) -> None:
    post["requestBody"] = {**_content("", body), "required": True}
    post["requestBody"].pop("description")
    if not operation.is_readonly:
        post["parameters"] = [{"name": key_header, "in": "header", "required": True, "schema": {"type": "string"}}]


def _rejections(operation: Operation) -> dict[str, Any]:
    codes: dict[int, list[str]] = {}
    for code, status in operation.rejections.items():
        codes.setdefault(status, []).append(code)
    return {str(status): {"description": ", ".join(found)} for status, found in sorted(codes.items())}


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
