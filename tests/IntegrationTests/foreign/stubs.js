// Clients for the services of a descriptor set, made at run time.
'use strict';
const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const OPTIONS = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };

/** The packages of a file that holds a serialised google.protobuf.FileDescriptorSet. */
exports.load = path => grpc.loadPackageDefinition(loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(path), OPTIONS));

/** Credentials: TLS when the path of a PEM certificate to trust is given. */
exports.credentials = certificate =>
  certificate ? grpc.credentials.createSsl(fs.readFileSync(certificate)) : grpc.credentials.createInsecure();

/** Makes a call with one response; resolves to { error, value, headers, trailers }. */
exports.unary = (client, method, request, metadata, options) => new Promise(resolve => {
  let headers;
  let trailers;
  const call = client[method](request, metadata ?? new grpc.Metadata(), options ?? {},
    (error, value) => setImmediate(() => resolve({ error, value, headers, trailers })));
  call.on('metadata', found => { headers = found; });
  call.on('status', status => { trailers = status.metadata; });
});

/** Reads a call with a stream of responses to its end; resolves to { got, status }. */
exports.drain = call => new Promise(resolve => {
  const got = [];
  call.on('data', message => got.push(message));
  call.on('error', () => {});
  call.on('status', status => resolve({ got, status }));
});

/** Counts checks; each is printed, and the last line says how many there were. */
exports.Checks = class {
  passed = 0;
  failed = 0;

  ok(name, good, found) {
    good ? this.passed++ : this.failed++;
    console.log(good ? 'ok  ' : 'FAIL', name, found ?? '');
  }

  end() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    process.exit(this.failed ? 1 : 0);
  }
};
