"""Clients for the services of a descriptor set, made at run time: no generated code, so no protoc is needed."""
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
import grpc


class Services:
    """The messages and services of a file that holds a serialised google.protobuf.FileDescriptorSet, imports first."""

    def __init__(self, path):
        self.pool = descriptor_pool.DescriptorPool()
        with open(path, 'rb') as file:
            for one in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
                self.pool.AddSerializedFile(one.SerializeToString())

    def message(self, full_name):
        """The class of a message."""
        return self._class(self.pool.FindMessageTypeByName(full_name))

    def stub(self, channel, full_name):
        """An object with one callable for each method of a service."""
        service = self.pool.FindServiceByName(full_name)
        stub = type(full_name, (), {})()
        proto = descriptor_pb2.ServiceDescriptorProto()
        service.CopyToProto(proto)
        for method, declared in zip(service.methods, proto.method):
            kind = ('stream' if declared.client_streaming else 'unary') + '_' + ('stream' if declared.server_streaming else 'unary')
            make = getattr(channel, kind)
            setattr(stub, method.name, make(
                f'/{full_name}/{method.name}',
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=self._class(method.output_type).FromString))
        return stub

    def _class(self, descriptor):
        if hasattr(message_factory, 'GetMessageClass'):
            return message_factory.GetMessageClass(descriptor)
        return message_factory.MessageFactory(self.pool).GetPrototype(descriptor)


def connect(target, certificate=None, **options):
    """A channel to host:port; with TLS when the path of a PEM certificate to trust is given."""
    pairs = [('grpc.enable_http_proxy', 0)] + [(name.replace('__', '.'), value) for name, value in options.items()]
    if certificate:
        with open(certificate, 'rb') as file:
            return grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()), options=pairs)
    return grpc.insecure_channel(target, options=pairs)


class Checks:
    """Counts checks; each is printed, and the last line says how many there were."""

    def __init__(self):
        self.passed = self.failed = 0

    def ok(self, name, good, found=''):
        if good:
            self.passed += 1
        else:
            self.failed += 1
        print('ok  ' if good else 'FAIL', name, found, flush=True)

    @staticmethod
    def error(call):
        """The failure of a call, or None."""
        try:
            call()
        except grpc.RpcError as error:
            return error
        return None

    def end(self):
        print(f'{self.passed} passed, {self.failed} failed')
        raise SystemExit(1 if self.failed else 0)
