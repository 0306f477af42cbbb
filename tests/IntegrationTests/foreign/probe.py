"""Checks the gRPC runtime with grpcio: probe.py TARGET DESCRIPTOR_SET [CERTIFICATE]. Made for GrpcRuntime/ForeignClientTests.cs."""
import sys

import grpc

from stubs import Checks, Services, connect

target, descriptors, *rest = sys.argv[1:]
certificate = rest[0] if rest else None
services = Services(descriptors)
package = 'inferenceserver.tests.probe.'
Request, Reply = services.message(package + 'ProbeRequest'), services.message(package + 'ProbeReply')
channel = connect(target, certificate, grpc__max_receive_message_length=64 << 20)
probe = services.stub(channel, package + 'Probe')
checks = Checks()
ok, error = checks.ok, checks.error
code = grpc.StatusCode

reply = probe.Unary(Request(text='wörld', count=3))
ok('unary', reply.text == 'hello wörld' and reply.n == 3 and reply.HasField('note'), reply.note)

reply, call = probe.Unary.with_call(Request(headers=True), metadata=(('x-in', 'v'), ('x-in-bin', b'\0\xff\x07')))
initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
ok('headers, trailers and binary metadata', initial['x-header'] == 'h1' and initial['x-echo-bin'] == b'\0\xff\x07' and trailing['x-trailer'] == 'v')

failure = error(lambda: probe.Unary(Request(fail_code=9, text='ünï 100%')))
trailing = dict(failure.trailing_metadata())
ok('failure with details', failure.code() == code.FAILED_PRECONDITION and failure.details() == 'ünï 100%'
   and trailing['x-detail-bin'] == b'\0\1\2\xff' and trailing['grpc-status-details-bin'] == b'\x08\x09', failure.details())

failure = error(lambda: probe.Unary(Request(fail_code=99)))
ok('exception is UNKNOWN', failure.code() == code.UNKNOWN and 'secret' not in failure.details(), failure.details())

for method in (package + 'Probe/NotWritten', package + 'Probe/Absent', 'no.Service/Method'):
    failure = error(lambda: channel.unary_unary('/' + method)(b''))
    ok('UNIMPLEMENTED ' + method, failure.code() == code.UNIMPLEMENTED, failure.details())

failure = error(lambda: probe.Wait(Request(text='python-deadline'), timeout=0.2))
ok('deadline', failure.code() == code.DEADLINE_EXCEEDED)

failure = error(lambda: probe.Unary(Request(blob=bytes(5 << 20))))
ok('request over the limit', failure.code() == code.RESOURCE_EXHAUSTED, failure.details())

ok('large reply', len(probe.Unary(Request(reply_size=20 << 20)).blob) == 20 << 20)

reply = probe.Unary(Request(text='z' * 10000), compression=grpc.Compression.Gzip)
ok('gzip request', len(reply.text) == 10006)

failure = error(lambda: probe.Unary(Request(blob=bytes(5 << 20)), compression=grpc.Compression.Gzip))
ok('gzip request that grows over the limit', failure.code() == code.RESOURCE_EXHAUSTED, failure.details())

failure = error(lambda: probe.Unary(Request(text='z' * 10000), compression=grpc.Compression.Deflate))
ok('deflate request is UNIMPLEMENTED', failure is not None and failure.code() == code.UNIMPLEMENTED, failure and failure.details())

ok('server stream', [r.n for r in probe.ServerStream(Request(text='s', count=1000))] == list(range(1000)))

got, stream = [], probe.ServerStream(Request(text='s', count=3, fail_code=13))


def read():
    for r in stream:
        got.append(r.n)


failure = error(read)
ok('server stream that fails', got == [0, 1, 2] and failure.code() == code.INTERNAL and failure.details() == 'mid-stream: ünï%', failure.details())

stream = probe.ServerStream(Request(text='python-cancel', count=1 << 30))
for _ in range(5):
    next(stream)
stream.cancel()
ok('cancelled stream', stream.code() == code.CANCELLED)

reply = probe.ClientStream(Request(blob=bytes(1000)) for _ in range(100))
ok('client stream', reply.n == 100 and reply.text == '100000')
ok('empty client stream', probe.ClientStream(iter(())).n == 0)

failure = error(lambda: probe.ClientStream(Request(fail_code=8) if i == 0 else Request() for i in range(1 << 30)))
ok('client stream that the server ends', failure.code() == code.RESOURCE_EXHAUSTED and failure.details() == 'no more', failure.details())

ok('duplex stream', [r.n for r in probe.Duplex(Request(count=i) for i in range(50))] == list(range(50)))

unary = channel.stream_unary(f'/{package}Probe/Unary')
for name, requests in (('two requests', [b'', b'']), ('no request', [])):
    failure = error(lambda: unary(iter(requests)))
    ok(name + ' to a unary method', failure is not None and failure.code() == code.UNIMPLEMENTED, failure and failure.details())

failure = error(lambda: channel.unary_unary(f'/{package}Probe/Unary')(b'\xff\xff\xff'))
ok('no protobuf', failure.code() == code.INTERNAL, failure.details())

calls = [probe.Unary.future(Request(text=str(i))) for i in range(200)]
ok('200 calls at once', [c.result().text for c in calls] == [f'hello {i}' for i in range(200)])

Check = services.message('grpc.health.v1.HealthCheckRequest')
health = services.stub(channel, 'grpc.health.v1.Health')
ok('health', health.Check(Check()).status == 1)
failure = error(lambda: health.Check(Check(service='nope')))
ok('health of an unknown service', failure.code() == code.NOT_FOUND)

from google.protobuf import descriptor_pb2, descriptor_pool
for version in ('v1', 'v1alpha'):
    Ask = services.message(f'grpc.reflection.{version}.ServerReflectionRequest')
    reflection = services.stub(channel, f'grpc.reflection.{version}.ServerReflection')
    names, found, absent = reflection.ServerReflectionInfo(iter((
        Ask(list_services=''), Ask(file_containing_symbol=package + 'Probe'), Ask(file_containing_symbol='no.Such'))))
    ok(f'reflection {version} lists', package + 'Probe' in [s.name for s in names.list_services_response.service])
    files = [descriptor_pb2.FileDescriptorProto.FromString(f) for f in found.file_descriptor_response.file_descriptor_proto]
    pool, by_name = descriptor_pool.DescriptorPool(), {f.name: f for f in files}

    def add(file):
        for name in file.dependency:
            add(by_name[name])
        pool.Add(file)

    add(files[0])
    ok(f'reflection {version} describes', len(pool.FindServiceByName(package + 'Probe').methods) == 7)
    ok(f'reflection {version} does not know', absent.error_response.error_code == 5)

checks.end()
