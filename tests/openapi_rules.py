"""What an OpenAPI 3.1 document must be, as far as ours goes: Debian 12 has no validator of 3.1.

The shape of each object is a JSON Schema, in which a key that is not known is a mistake; schemas of the document
themselves are checked by python3-jsonschema against JSON Schema 2020-12, which 3.1 adopts. What a shape cannot say
follows as functions.
"""
import re

import jsonschema

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def one(**properties):
    """An object with these keys; those whose name ends in `_` must be there. x-... may."""
    required = [key[:-1] for key in properties if key.endswith("_")]
    return {"type": "object", "properties": {key.rstrip("_"): value for key, value in properties.items()},
            "required": required, "patternProperties": {"^x-": True}, "additionalProperties": False}


def many(item, keys=".", least=0):
    """An object whose keys match and whose values are items."""
    return {"type": "object", "patternProperties": {keys: item}, "additionalProperties": False, "minProperties": least}


def of(name):
    return {"$ref": f"#/$defs/{name}"}


def or_ref(kind, shape):
    """A reference to a component of that kind, or the thing itself."""
    link = {"type": "object", "required": ["$ref"], "additionalProperties": False,
            "properties": {"$ref": {"type": "string", "pattern": f"^#/components/{kind}/[A-Za-z0-9_.-]+$"},
                           "description": TEXT}}
    return {"if": {"type": "object", "required": ["$ref"]}, "then": link, "else": shape}


TEXT = {"type": "string", "minLength": 1}
FLAG = {"type": "boolean"}
SCHEMA = {"type": ["object", "boolean"]}
NAME = "^[A-Za-z0-9_.-]+$"
SHAPES = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$ref": "#/$defs/document",
    "$defs": {
        "document": one(openapi_={"pattern": r"^3\.1\.[0-9]+$"}, info_=of("info"), paths_=many(of("path"), "^/", 1),
                        servers={"type": "array", "items": one(url_=TEXT, description=TEXT)},
                        security=of("security"), components=of("components"),
                        tags={"type": "array", "items": one(name_=TEXT, description=TEXT)}),
        "info": one(title_=TEXT, version_=TEXT, summary=TEXT, description=TEXT,
                    license=one(name_=TEXT, identifier=TEXT)),
        "security": {"type": "array", "items": many({"type": "array", "items": TEXT})},
        "path": one(summary=TEXT, description=TEXT, parameters=of("parameters"),
                    **{method: of("operation") for method in METHODS}),
        "operation": one(operationId_={"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}, summary_=TEXT,
                         description=TEXT, tags_={"type": "array", "items": TEXT, "minItems": 1},
                         parameters=of("parameters"), requestBody=or_ref("requestBodies", of("body")),
                         responses_=many(or_ref("responses", of("response")), "^[1-5][0-9][0-9]$", 1),
                         security=of("security"), deprecated=FLAG),
        "parameters": {"type": "array", "items": or_ref("parameters", of("parameter"))},
        "parameter": {**one(name_=TEXT, in_={"enum": ["path", "query", "header", "cookie"]}, description_=TEXT,
                            required=FLAG, schema_=SCHEMA, example=True),
                      "if": {"properties": {"in": {"const": "path"}}},
                      "then": {"required": ["required"], "properties": {"required": {"const": True}}}},
        "body": one(description=TEXT, required=FLAG, content_=of("content")),
        "content": many(one(schema=SCHEMA, example=True,
                            examples=many(one(summary=TEXT, description=TEXT, value_=True), NAME)), "^[a-z]+/[a-z0-9.+-]+$", 1),
        "response": one(description_=TEXT, content=of("content"),
                        headers=many(or_ref("headers", of("header")), "^[A-Z][A-Za-z-]+$")),
        "header": one(description=TEXT, required=FLAG, schema_=SCHEMA),
        "components": one(schemas=many(SCHEMA, NAME), responses=many(of("response"), NAME),
                          parameters=many(of("parameter"), NAME), requestBodies=many(of("body"), NAME),
                          headers=many(of("header"), NAME),
                          securitySchemes=many(one(type_={"const": "http"}, scheme_={"enum": ["basic", "bearer"]},
                                                   description=TEXT), NAME)),
    },
}


def walk(value, path=()):
    """Each object of the document, with the keys that lead to it."""
    if isinstance(value, dict):
        yield path, value
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from walk(part, path + (key,))


def resolve(document, value):
    """What a reference stands for."""
    while isinstance(value, dict) and "$ref" in value:
        place = document
        for key in value["$ref"].removeprefix("#/").split("/"):
            place = place[key.replace("~1", "/").replace("~0", "~")]
        value = place
    return value


def operations(document):
    """(path, method, operation, parameters), the path's own parameters among them."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                own = item.get("parameters", []) + item[method].get("parameters", [])
                yield path, method, item[method], [resolve(document, one) for one in own]


def validator(document, schema):
    """Of a schema that may refer to the document's components."""
    resolver = jsonschema.RefResolver.from_schema({**document, "$id": ""})
    return jsonschema.Draft202012Validator(schema, resolver=resolver)


def schema_faults(document):
    places = [(f"components.{name}", schema) for name, schema in document["components"].get("schemas", {}).items()]
    places += [(".".join(map(str, path)), value["schema"]) for path, value in walk(document)
               if "schema" in value and "schemas" not in path]
    for place, schema in places:
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            yield f"{place}: {error.message}"
    for path, value in walk(document):
        if "example" in value and "schema" in value:
            for error in validator(document, value["schema"]).iter_errors(value["example"]):
                yield f"{'.'.join(map(str, path))}: the example does not fit: {error.message}"


def reference_faults(document):
    used = set()
    for path, value in walk(document):
        if "$ref" in value:
            try:
                resolve(document, value)
                used.add(tuple(value["$ref"].removeprefix("#/components/").split("/")))
            except KeyError:
                yield f"{value['$ref']} leads nowhere"
    for kind, parts in document["components"].items():
        for name in parts:
            if kind != "securitySchemes" and (kind, name) not in used:
                yield f"nothing uses {kind}/{name}"


def operation_faults(document):
    seen = set()
    tags = {tag["name"] for tag in document.get("tags", [])}
    schemes = document["components"].get("securitySchemes", {})
    for path, method, operation, parameters in operations(document):
        where = f"{method} {path}"
        if operation["operationId"] in seen:
            yield f"{where}: another operation has this operationId"
        seen.add(operation["operationId"])
        names = [(one["in"], one["name"]) for one in parameters]
        if len(set(names)) != len(names):
            yield f"{where}: a parameter is there twice"
        if {name for place, name in names if place == "path"} != set(re.findall(r"{([^}]*)}", path)):
            yield f"{where}: its path's parameters are not those that it names"
        if not set(operation["tags"]) <= tags:
            yield f"{where}: a tag is not described"
        if method in ("get", "head", "delete", "options") and "requestBody" in operation:
            yield f"{where}: takes no body"
        for wanted in operation.get("security", document.get("security", [])):
            if not set(wanted) <= set(schemes):
                yield f"{where}: its security scheme is not described"


def faults(document):
    """Sentences, one for each rule that is broken; what follows a broken shape is not looked at."""
    found = [f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
             for error in jsonschema.Draft202012Validator(SHAPES).iter_errors(document)]
    return found or [*schema_faults(document), *reference_faults(document), *operation_faults(document)]
