"""A client that nobody here wrote: the Python package `varlink` against the socket. usage: foreign_client.py SOCKET MODEL FILE"""
import sys

import varlink

SOCKET, MODEL, FILE = sys.argv[1:]
client = varlink.Client.new_with_address("unix:" + SOCKET)

with client.open("org.varlink.service") as service:
    info = service.GetInfo()
    assert info["product"] == "modeld" and "org.modelctl.Manager" in info["interfaces"], info

with client.open("org.modelctl.Manager") as manager:
    models = manager.List()["models"]
    assert [model["name"] for model in models] == [MODEL], models
    assert manager.List(["format=safetensors"])["models"] == []
    shown = manager.Show(MODEL)
    assert shown["id"] == models[0]["id"] and shown["facts"]["architecture"] == "llama", shown
    inspected = manager.Inspect(FILE)
    assert (inspected["format"], inspected["state"]) == ("gguf", "ok"), inspected
    tagged = manager.Tag(MODEL, ["foreign"])
    assert tagged["tags"] == ["foreign"], tagged
    try:
        manager.Show("zzzzzz")
        raise SystemExit("an unknown model was shown")
    except varlink.VarlinkError as error:
        assert error.error() == "org.modelctl.Manager.NoSuchModel", error.error()
        assert error.parameters()["name"] == "zzzzzz", error.parameters()

with client.open("org.modelctl.Manager") as events, client.open("org.modelctl.Manager") as manager:
    stream = events.Events(_more=True)
    assert next(stream)["event"] == "Listening"
    manager.Tag(MODEL, [], ["foreign"])
    event = next(stream)
    assert event["event"] == "ModelChanged" and event["model"]["tags"] == [], event
print("ok")
