// Checks the gRPC runtime with @grpc/grpc-js: probe.js TARGET DESCRIPTOR_SET [CERTIFICATE]. Made for GrpcRuntime/ForeignClientTests.cs.
'use strict';
const grpc = require('@grpc/grpc-js');
const { Checks, credentials, drain, load, unary } = require('./stubs');

const [target, descriptors, certificate] = process.argv.slice(2);
const packages = load(descriptors);
const { Probe } = packages.inferenceserver.tests.probe;
const connect = options => new Probe(target, credentials(certificate), options);
const client = connect({ 'grpc.max_receive_message_length': 64 << 20 });
const gzip = connect({ 'grpc.default_compression_algorithm': 2 });
const checks = new Checks();
const ok = (name, good, found) => checks.ok(name, good, found);
const { status: code } = grpc;

async function main() {
  let r = await unary(client, 'Unary', { text: 'wörld', count: 3 });
  ok('unary', r.value?.text === 'hello wörld' && r.value.n === 3, r.error?.message);

  let metadata = new grpc.Metadata();
  metadata.set('x-in', 'v');
  metadata.set('x-in-bin', Buffer.from([0, 255, 7]));
  r = await unary(client, 'Unary', { headers: true }, metadata);
  ok('headers, trailers and binary metadata', r.headers?.get('x-header')[0] === 'h1'
    && Buffer.compare(r.headers.get('x-echo-bin')[0], Buffer.from([0, 255, 7])) === 0 && r.trailers.get('x-trailer')[0] === 'v', r.error?.message);

  r = await unary(client, 'Unary', { fail_code: 9, text: 'ünï 100%' });
  ok('failure with details', r.error?.code === code.FAILED_PRECONDITION && r.error.details === 'ünï 100%'
    && r.error.metadata.get('x-trailer')[0] === 't1' && r.error.metadata.get('x-detail-bin')[0].length === 4, r.error?.message);

  r = await unary(client, 'Unary', { fail_code: 99 });
  ok('exception is UNKNOWN', r.error?.code === code.UNKNOWN && !r.error.details.includes('secret'), r.error?.message);

  r = await unary(client, 'NotWritten', {});
  ok('method not overridden is UNIMPLEMENTED', r.error?.code === code.UNIMPLEMENTED, r.error?.message);
  for (const path of ['/inferenceserver.tests.probe.Probe/Absent', '/no.Service/Method']) {
    const error = await new Promise(done => client.makeUnaryRequest(path, x => x, x => x, Buffer.alloc(0), done));
    ok(`UNIMPLEMENTED ${path}`, error?.code === code.UNIMPLEMENTED, error?.message);
  }

  r = await unary(client, 'Wait', { text: 'node-deadline' }, null, { deadline: Date.now() + 200 });
  ok('deadline', r.error?.code === code.DEADLINE_EXCEEDED, r.error?.message);

  r = await unary(client, 'Unary', { blob: Buffer.alloc(3 << 20) });
  ok('request below the limit', r.value?.note.startsWith(`${3 << 20} bytes`), r.error?.message);
  r = await unary(client, 'Unary', { blob: Buffer.alloc(5 << 20) });
  ok('request over the limit', r.error?.code === code.RESOURCE_EXHAUSTED, r.error?.message);
  r = await unary(client, 'Unary', { reply_size: 20 << 20 });
  ok('large reply', r.value?.blob.length === 20 << 20, r.error?.message);
  r = await unary(connect({ 'grpc.max_receive_message_length': 1000 }), 'Unary', { reply_size: 2000 });
  ok('reply over the client\'s limit', r.error?.code === code.RESOURCE_EXHAUSTED, r.error?.message);

  r = await unary(gzip, 'Unary', { text: 'z'.repeat(10000) });
  ok('gzip request', r.value?.text.length === 10006, r.error?.message);
  r = await unary(gzip, 'Unary', { blob: Buffer.alloc(5 << 20) });
  ok('gzip request that grows over the limit', r.error?.code === code.RESOURCE_EXHAUSTED, r.error?.message);

  r = await drain(client.ServerStream({ text: 's', count: 1000 }));
  ok('server stream', r.got.length === 1000 && r.got[999].n === 999 && r.status.code === code.OK, r.status.details);
  r = await drain(client.ServerStream({ text: 's', count: 3, fail_code: 13 }));
  ok('server stream that fails', r.got.length === 3 && r.status.code === code.INTERNAL && r.status.details === 'mid-stream: ünï%', r.status.details);

  let call = client.ServerStream({ text: 'node-cancel', count: 1 << 30 });
  let seen = 0;
  call.on('data', () => { if (++seen === 5) call.cancel(); });
  r = await drain(call);
  ok('cancelled stream', r.status.code === code.CANCELLED, r.status.details);

  call = client.ServerStream({ text: 's', count: 200, reply_size: 100000 });
  call.pause();
  setTimeout(() => call.resume(), 300);
  r = await drain(call);
  ok('slow reader', r.got.length === 200 && r.status.code === code.OK, r.status.details);

  r = await new Promise(done => {
    const stream = client.ClientStream((error, value) => done({ error, value }));
    for (let i = 0; i < 100; i++) stream.write({ blob: Buffer.alloc(1000) });
    stream.end();
  });
  ok('client stream', r.value?.n === 100 && r.value.text === '100000', r.error?.message);
  r = await new Promise(done => client.ClientStream((error, value) => done({ error, value })).end());
  ok('empty client stream', r.value?.n === 0, r.error?.message);
  r = await new Promise(done => {
    const stream = client.ClientStream((error, value) => { clearInterval(writing); done({ error, value }); });
    stream.on('error', () => {});
    stream.write({ fail_code: 8 });
    const writing = setInterval(() => stream.write({}), 5);
  });
  ok('client stream that the server ends', r.error?.code === code.RESOURCE_EXHAUSTED && r.error.details === 'no more', r.error?.message);

  call = client.Duplex();
  const back = [];
  const ended = drain(call);
  call.on('data', message => {
    back.push(message.n);
    if (message.n < 50) call.write({ count: message.n + 1 });
    else call.end();
  });
  call.write({ count: 1 });
  r = await ended;
  ok('duplex stream', back.length === 50 && r.status.code === code.OK, r.status.details);

  r = await unary(client, 'Nothing', {});
  ok('empty messages', r.value !== undefined, r.error?.message);
  r = await unary(gzip, 'Nothing', {});
  ok('empty messages of a client that compresses', r.value !== undefined, r.error?.message);

  const all = await Promise.all(Array.from({ length: 200 }, (_, i) => unary(client, 'Unary', { text: String(i) })));
  ok('200 calls at once', all.every((one, i) => one.value?.text === `hello ${i}`));

  const health = new packages.grpc.health.v1.Health(target, credentials(certificate));
  r = await unary(health, 'Check', { service: '' });
  ok('health', r.value?.status === 'SERVING', r.error?.message);
  r = await unary(health, 'Check', { service: 'nope' });
  ok('health of an unknown service', r.error?.code === code.NOT_FOUND, r.error?.message);

  checks.end();
}

main();
