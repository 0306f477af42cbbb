"""Drives a running server with Python's grpcio: generate, upload, admin.

usage: server_client.py HOST:PORT ADAPTER_FOLDER
The messages are built from what the server's own reflection service answers; nothing is generated beforehand.
"""
import hashlib
import os
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

target, adapter_folder = sys.argv[1:3]
passed = failed = 0


def check(name, condition, extra=""):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
    print(("ok   " if condition else "FAIL ") + name, extra)


def error_of(function):
    try:
        function()
        return None
    except grpc.RpcError as error:
        return error


# The reflection service's own messages, written out here: the first thing a client without generated code needs.
bootstrap = descriptor_pb2.FileDescriptorProto(name="bootstrap_reflection.proto", package="bootstrap", syntax="proto3")
S, B, M = 9, 12, 11
ONE, MANY = 1, 3


def message(name, *fields):
    entry = bootstrap.message_type.add(name=name)
    for number, field, kind, label, type_name in fields:
        added = entry.field.add(name=field, number=number, type=kind, label=label)
        if type_name:
            added.type_name = type_name


message("Request", (4, "file_containing_symbol", S, ONE, ""), (7, "list_services", S, ONE, ""))
message("Service", (1, "name", S, ONE, ""))
message("Services", (1, "service", M, MANY, ".bootstrap.Service"))
message("Files", (1, "file_descriptor_proto", B, MANY, ""))
message("Response", (4, "files", M, ONE, ".bootstrap.Files"), (6, "services", M, ONE, ".bootstrap.Services"))
boot_pool = descriptor_pool.DescriptorPool()
boot_pool.Add(bootstrap)
factory = message_factory.MessageFactory(boot_pool)
Request = factory.GetPrototype(boot_pool.FindMessageTypeByName("bootstrap.Request"))
Response = factory.GetPrototype(boot_pool.FindMessageTypeByName("bootstrap.Response"))

channel = grpc.insecure_channel(target)
reflect = channel.stream_stream(
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    request_serializer=Request.SerializeToString,
    response_deserializer=Response.FromString)


def ask(**fields):
    return next(reflect(iter([Request(**fields)])))


services = [service.name for service in ask(list_services="*").services.service]
wanted = ["inferenceserver.v1.GenerationService", "inferenceserver.v1.AdapterService", "inferenceserver.v1.ServerService", "grpc.health.v1.Health"]
check("reflection lists the services", all(name in services for name in wanted), services)

files = {}
for service in wanted:
    for raw in ask(file_containing_symbol=service).files.file_descriptor_proto:
        proto = descriptor_pb2.FileDescriptorProto.FromString(raw)
        files[proto.name] = proto
pool = descriptor_pool.DescriptorPool()
added = set()


def add(name):
    if name in added:
        return
    added.add(name)
    for dependency in files[name].dependency:
        add(dependency)
    pool.Add(files[name])


for name in files:
    add(name)
factory = message_factory.MessageFactory(pool)


def type_of(name):
    return factory.GetPrototype(pool.FindMessageTypeByName(name))


def stub(service, method):
    descriptor = pool.FindServiceByName(service).FindMethodByName(method)
    proto = descriptor_pb2.MethodDescriptorProto()
    descriptor.CopyToProto(proto)
    kind = ("stream" if proto.client_streaming else "unary") + "_" + ("stream" if proto.server_streaming else "unary")
    return getattr(channel, kind)(
        f"/{service}/{method}",
        request_serializer=lambda m: m.SerializeToString(),
        response_deserializer=type_of(descriptor.output_type.full_name).FromString)


V = "inferenceserver.v1."
Generate = type_of(V + "GenerateRequest")
generate = stub(V + "GenerationService", "Generate")


def admin(method, **fields):
    call = stub(V + "AdapterService", method)
    descriptor = pool.FindServiceByName(V + "AdapterService").FindMethodByName(method)
    return call(type_of(descriptor.input_type.full_name)(**fields), timeout=60)


def run(metadata=None, **fields):
    fields.setdefault("sampling", {"temperature": 0})
    fields.setdefault("stopping", {"max_tokens": 24, "ignore_eos": True})
    return list(generate(Generate(**fields), metadata=metadata, timeout=60))


def text(messages):
    return "".join(m.text for m in messages)


def ids(messages):
    return [i for m in messages for i in m.token_ids]


Upload = type_of(V + "UploadRequest")
FILES = ("adapter_config.json", "adapter_model.safetensors")


def upload_parts(name, chunk=1000, **header):
    yield Upload(header=dict(name=name, **header))
    for file in FILES:
        data = open(os.path.join(adapter_folder, file), "rb").read()
        yield Upload(file=dict(name=file, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
        for at in range(0, len(data), chunk):
            yield Upload(data=data[at:at + chunk])


upload = stub(V + "AdapterService", "Upload")

health = stub("grpc.health.v1.Health", "Check")(type_of("grpc.health.v1.HealthCheckRequest")(service=""))
check("health says serving", health.status == 1)
info = stub(V + "ServerService", "GetInfo")(type_of(V + "GetInfoRequest")())
check("info", info.model.vocabulary_size > 0 and info.limits.max_adapter_rank > 0, info.model.name)

reply = upload(upload_parts("py-shout", load=True), timeout=60)
check("upload", reply.adapter.name == "py-shout" and len(reply.adapter.digest) == 64 and reply.adapter.current and not reply.already_present)
check("upload again is the same version", upload(upload_parts("py-shout", chunk=100_000), timeout=60).already_present)
error = error_of(lambda: upload(upload_parts("py-shout", must_be_new=True), timeout=60))
check("must_be_new -> ALREADY_EXISTS", error and error.code() == grpc.StatusCode.ALREADY_EXISTS, error and error.details())
error = error_of(lambda: upload(iter([Upload(data=b"x")]), timeout=60))
check("data first -> INVALID_ARGUMENT", error and error.code() == grpc.StatusCode.INVALID_ARGUMENT, error and error.details())
error = error_of(lambda: upload(list(upload_parts("py-cut"))[:-1].__iter__(), timeout=60))
check("upload cut short -> INVALID_ARGUMENT", error and error.code() == grpc.StatusCode.INVALID_ARGUMENT, error and error.details())

base = run(text="hello", request_id="py-1")
check("generate: first message", base[0].HasField("started") and base[0].started.request_id == "py-1" and base[0].started.prompt_tokens > 0)
check("generate: last message", base[-1].finish_reason == 2 and base[-1].usage.completion_tokens == 24 and len(ids(base)) == 24)
check("generate: the same again", ids(run(text="hello")) == ids(base))
adapted = run(text="hello", adapter="py-shout")
named = f"py-shout@{reply.adapter.digest}"
check("generate with an adapter", adapted[0].started.adapters == [named] and ids(adapted) != ids(base), text(adapted))
check("adapter by metadata", ids(run(text="hello", metadata=(("x-lora-adapter", "py-shout"),))) == ids(adapted))
check("adapter by digest", ids(run(text="hello", adapter=named)) == ids(adapted))
seeded = dict(text="hello", adapter="py-shout", sampling={"temperature": 1.0, "seed": 7})
check("the same seed, the same tokens", ids(run(**seeded)) == ids(run(**seeded)))
chat = run(chat=dict(messages=[dict(role="user", content="hi")]))
check("chat", len(ids(chat)) == 24)
scored = run(text="hello", output={"logprobs": 3})
check("logprobs", all(len(m.logprobs) == len(m.token_ids) and all(len(p.top) == 3 for p in m.logprobs) for m in scored))
error = error_of(lambda: run(text="hello", adapter="nobody"))
check("unknown adapter -> NOT_FOUND", error and error.code() == grpc.StatusCode.NOT_FOUND, error and error.details())
error = error_of(lambda: run(text="hello", sampling={"top_p": 7}))
check("bad field -> INVALID_ARGUMENT, named", error and error.code() == grpc.StatusCode.INVALID_ARGUMENT and "top_p" in error.details(), error and error.details())
error = error_of(lambda: run())
check("no prompt -> INVALID_ARGUMENT", error and error.code() == grpc.StatusCode.INVALID_ARGUMENT, error and error.details())
calls = [generate(Generate(text="hello", adapter=a, sampling={"temperature": 0}, stopping={"max_tokens": 24, "ignore_eos": True}), timeout=60)
         for a in ("", "py-shout") * 8]
both = [ids(list(call)) for call in calls]
check("16 at once equal alone", all(both[i] == (ids(base), ids(adapted))[i % 2] for i in range(16)))
call = generate(Generate(text="hello", stopping={"max_tokens": 1500, "ignore_eos": True}))
next(call)
call.cancel()
check("cancel", call.code() == grpc.StatusCode.CANCELLED)
error = error_of(lambda: list(generate(Generate(text="hello", stopping={"max_tokens": 2000, "ignore_eos": True}), timeout=0.02)))
check("deadline", error and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error and error.details())

check("list", "py-shout" in [a.name for a in admin("List").adapters])
check("get", admin("Get", adapter="py-shout").digest == reply.adapter.digest)
check("load", admin("Load", adapter="py-shout").state == 5)
check("pin", admin("Pin", adapter="py-shout", pinned=True).pinned)
check("unpin", not admin("Pin", adapter="py-shout", pinned=False).pinned)
merged = admin("Merge", adapter="py-shout")
check("merge", merged.adapter.merged and merged.merged_modules > 0)
check("base beside the merged one", ids(run(text="hello")) == ids(base))
check("merged one", ids(run(text="hello", adapter="py-shout")) == ids(adapted))
check("unmerge", admin("Unmerge").adapter == named)
check("base after unmerge", ids(run(text="hello")) == ids(base))
check("unload", admin("Unload", adapter="py-shout").freed_device_bytes > 0)
check("delete", admin("Delete", adapter="py-shout").deleted_versions == 1)
error = error_of(lambda: admin("Get", adapter="py-shout"))
check("gone", error and error.code() == grpc.StatusCode.NOT_FOUND)
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
