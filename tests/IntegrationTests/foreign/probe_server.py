"""Serves the probe service with grpcio until standard input ends: probe_server.py DESCRIPTOR_SET [gzip]. Prints its port first."""
import sys
import threading
from concurrent import futures

import grpc

from stubs import Services

services = Services(sys.argv[1])
package = 'inferenceserver.tests.probe.'
Request, Reply = services.message(package + 'ProbeRequest'), services.message(package + 'ProbeReply')
CODES = {code.value[0]: code for code in grpc.StatusCode}


def unary(request, context):
    if request.HasField('fail_code'):
        context.set_trailing_metadata((('x-trailer', 't1'), ('x-detail-bin', b'\0\1\2\xff')))
        context.abort(CODES[request.fail_code], request.text)
    if request.headers:
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata((('x-header', 'h1'), ('x-echo-bin', sent.get('x-in-bin', b''))))
        context.set_trailing_metadata((('x-trailer', sent['x-in']),))
    return Reply(text='hello ' + request.text, n=request.count, blob=bytes(request.reply_size))


def server_stream(request, context):
    for i in range(request.count):
        if not context.is_active():
            return
        yield Reply(text=request.text, n=i)
    if request.HasField('fail_code'):
        context.abort(CODES[request.fail_code], 'mid-stream: ünï%')


def client_stream(requests, context):
    count = size = 0
    for request in requests:
        count += 1
        size += len(request.blob)
        if request.HasField('fail_code'):
            context.abort(CODES[request.fail_code], 'no more')
    return Reply(n=count, text=str(size))


def duplex(requests, context):
    for request in requests:
        yield Reply(text=request.text, n=request.count)


def wait(request, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait(60)
    return Reply()


def handler(kind, method):
    make = getattr(grpc, kind + '_rpc_method_handler')
    return make(method, request_deserializer=Request.FromString, response_serializer=lambda reply: reply.SerializeToString())


server = grpc.server(
    futures.ThreadPoolExecutor(32),
    compression=grpc.Compression.Gzip if 'gzip' in sys.argv else None,
    options=[('grpc.max_receive_message_length', 4 << 20)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(package + 'Probe', {
    'Unary': handler('unary_unary', unary),
    'ServerStream': handler('unary_stream', server_stream),
    'ClientStream': handler('stream_unary', client_stream),
    'Duplex': handler('stream_stream', duplex),
    'Wait': handler('unary_unary', wait),
}),))
port = server.add_insecure_port('127.0.0.1:0')
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None).wait()
