"""What `kubectl kustomize` makes of a folder, for the features that k8s/ uses.

Knows resources, components, strategic patches of maps, JSON patches, images and configMapGenerator; refuses the rest. The
generated ConfigMap keeps its plain name: the hash that kustomize appends is left out. Where kubectl is at hand the tests
compare.
"""

import copy

import yaml

KNOWN = {"apiVersion", "kind", "resources", "components", "patches", "images", "configMapGenerator", "configurations"}


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kustomization(folder):
    [settings] = documents(folder / "kustomization.yaml")
    unknown = set(settings) - KNOWN
    if unknown:
        raise ValueError(f"{folder}: {sorted(unknown)} is not known to {__name__}.py")
    return settings


def render(folder):
    """The objects of the folder, every patch applied."""
    return apply(folder, [])


def apply(folder, objects):
    settings = kustomization(folder)
    for name in settings.get("resources", []):
        path = folder / name
        objects += render(path) if path.is_dir() else documents(path)
    for generator in settings.get("configMapGenerator", []):
        data = {name: (folder / name).read_text() for name in generator["files"]}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data})
    for name in settings.get("components", []):
        apply(folder / name, objects)
    for entry in settings.get("patches", []):
        patch(objects, entry)
    for image in settings.get("images", []):
        set_image(objects, image)
    return objects


def patch(objects, entry):
    change = yaml.safe_load(entry["patch"])
    target = entry.get("target") or {"kind": change["kind"], "name": change["metadata"]["name"]}
    found = [thing for thing in objects if (thing["kind"], thing["metadata"]["name"]) == (target["kind"], target["name"])]
    if not found:
        raise LookupError(f"a patch is meant for {target}, which is not there")
    for thing in found:
        if isinstance(change, list):
            for operation in change:
                replace(thing, operation)
        else:
            merge(thing, change)


def merge(thing, change):
    for key, value in change.items():
        if isinstance(value, dict):
            merge(thing.setdefault(key, {}), value)
        else:
            thing[key] = copy.deepcopy(value)


def replace(thing, operation):
    if operation["op"] != "replace":
        raise ValueError(f"operation {operation['op']!r} is not known to {__name__}.py")
    *steps, last = operation["path"].strip("/").split("/")
    for step in steps:
        thing = thing[int(step)] if isinstance(thing, list) else thing[step]
    thing[last]  # raises: only what is there can be replaced
    thing[last] = copy.deepcopy(operation["value"])


def set_image(value, image):
    if isinstance(value, list):
        for item in value:
            set_image(item, image)
    elif isinstance(value, dict):
        if value.get("image") == image["name"]:
            value["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"
        for item in value.values():
            set_image(item, image)
