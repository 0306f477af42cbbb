// Drives a running server with @grpc/grpc-js: generate, upload, admin.
// usage: node server_client.js HOST:PORT PROTO_FOLDER ADAPTER_FOLDER
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const [target, protoFolder, adapterFolder] = process.argv.slice(2);
const files = ['generation', 'adapters', 'server'].map(name => `inferenceserver/v1/${name}.proto`);
const definition = loader.loadSync([...files, 'grpc/health/v1/health.proto'], {
  includeDirs: [protoFolder], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true,
});
const root = grpc.loadPackageDefinition(definition);
const v1 = root.inferenceserver.v1;
const credentials = grpc.credentials.createInsecure();
const generation = new v1.GenerationService(target, credentials);
const adapters = new v1.AdapterService(target, credentials);
const server = new v1.ServerService(target, credentials);
const health = new root.grpc.health.v1.Health(target, credentials);

let passed = 0;
let failed = 0;
const check = (name, condition, extra) => {
  condition ? passed++ : failed++;
  console.log((condition ? 'ok   ' : 'FAIL ') + name, extra ?? '');
};
const soon = () => ({ deadline: Date.now() + 60000 });
const unary = (client, method, request) => new Promise(resolve =>
  client[method](request ?? {}, soon(), (error, reply) => resolve({ error, reply })));
const collect = call => new Promise(resolve => {
  const messages = [];
  let error;
  call.on('data', message => messages.push(message));
  call.on('error', e => { error = e; });
  call.on('status', status => resolve({ messages, error, status }));
});
const run = (fields, metadata) => collect(generation.Generate(
  { sampling: { temperature: 0 }, stopping: { max_tokens: 24, ignore_eos: true }, ...fields }, metadata ?? new grpc.Metadata(), soon()));
const ids = result => result.messages.flatMap(message => message.token_ids).join();

const parts = (name, header) => {
  const all = [{ header: { name, ...header } }];
  for (const file of ['adapter_config.json', 'adapter_model.safetensors']) {
    const data = fs.readFileSync(path.join(adapterFolder, file));
    all.push({ file: { name: file, size_bytes: data.length, sha256: crypto.createHash('sha256').update(data).digest('hex') } });
    for (let at = 0; at < data.length; at += 700) all.push({ data: data.subarray(at, at + 700) });
  }
  return all;
};
const upload = messages => new Promise(resolve => {
  const call = adapters.Upload(soon(), (error, reply) => resolve({ error, reply }));
  call.on('error', () => {});
  for (const message of messages) call.write(message);
  call.end();
});

(async () => {
  let r = await unary(health, 'Check', { service: '' });
  check('health says serving', r.reply?.status === 'SERVING', r.error?.message);
  r = await unary(server, 'GetInfo');
  check('info', r.reply?.model.vocabulary_size > 0 && r.reply.limits.max_adapter_rank > 0, r.error?.message ?? r.reply.model.name);

  r = await upload(parts('js-whisper', { load: true }));
  check('upload', r.reply?.adapter.name === 'js-whisper' && r.reply.adapter.digest.length === 64 && !r.reply.already_present, r.error?.message);
  const named = `js-whisper@${r.reply?.adapter.digest}`;
  r = await upload(parts('js-whisper'));
  check('upload again is the same version', r.reply?.already_present === true, r.error?.message);
  r = await upload(parts('js-whisper', { must_be_new: true }));
  check('must_be_new -> ALREADY_EXISTS', r.error?.code === grpc.status.ALREADY_EXISTS, r.error?.message);
  r = await upload(parts('js-cut').slice(0, -1));
  check('upload cut short -> INVALID_ARGUMENT', r.error?.code === grpc.status.INVALID_ARGUMENT, r.error?.message);
  r = await upload([]);
  check('empty upload -> INVALID_ARGUMENT', r.error?.code === grpc.status.INVALID_ARGUMENT, r.error?.message);

  const base = await run({ text: 'hello', request_id: 'js-1' });
  check('generate: first message', base.messages[0]?.started?.request_id === 'js-1', base.error?.message);
  const last = base.messages.at(-1);
  check('generate: last message', last?.finish_reason === 'FINISH_REASON_LENGTH' && last.usage.completion_tokens === 24);
  const adapted = await run({ text: 'hello', adapter: 'js-whisper' });
  check('generate with an adapter', adapted.messages[0]?.started.adapters[0] === named && ids(adapted) !== ids(base), adapted.error?.message);
  const metadata = new grpc.Metadata();
  metadata.set('x-lora-adapter', 'js-whisper');
  check('adapter by metadata', ids(await run({ text: 'hello' }, metadata)) === ids(adapted));
  check('chat', (await run({ chat: { messages: [{ role: 'user', content: 'hi' }] } })).messages.at(-1)?.usage?.completion_tokens === 24);
  r = await run({ text: 'hello', adapter: 'nobody' });
  check('unknown adapter -> NOT_FOUND', r.status.code === grpc.status.NOT_FOUND, r.status.details);
  r = await run({ text: 'hello', sampling: { temperature: -1 } });
  check('bad field -> INVALID_ARGUMENT, named', r.status.code === grpc.status.INVALID_ARGUMENT && r.status.details.includes('temperature'), r.status.details);
  const many = await Promise.all(Array.from({ length: 16 }, (_, i) => run({ text: 'hello', adapter: i % 2 ? 'js-whisper' : '' })));
  check('16 at once equal alone', many.every((one, i) => ids(one) === ids(i % 2 ? adapted : base)));
  const call = generation.Generate({ text: 'hello', stopping: { max_tokens: 1500, ignore_eos: true } });
  call.once('data', () => call.cancel());
  r = await collect(call);
  check('cancel', r.status.code === grpc.status.CANCELLED, r.status.details);

  const list = async () => (await unary(adapters, 'List', {})).reply.adapters.map(a => a.name);
  check('list', (await list()).includes('js-whisper'));
  r = await unary(adapters, 'Get', { adapter: 'js-whisper' });
  check('get', r.reply?.state === 'ADAPTER_STATE_RESIDENT' && r.reply.requests > 0, r.error?.message);
  r = await unary(adapters, 'Pin', { adapter: 'js-whisper', pinned: true });
  check('pin', r.reply?.pinned === true, r.error?.message);
  r = await unary(adapters, 'Pin', { adapter: 'js-whisper', pinned: false });
  check('unpin', r.reply?.pinned === false, r.error?.message);
  r = await unary(adapters, 'Merge', { adapter: 'js-whisper' });
  check('merge', r.reply?.adapter.merged === true, r.error?.message);
  check('merged one and base', ids(await run({ text: 'hello', adapter: 'js-whisper' })) === ids(adapted) && ids(await run({ text: 'hello' })) === ids(base));
  r = await unary(adapters, 'Unmerge');
  check('unmerge', r.reply?.adapter === named, r.error?.message);
  r = await unary(adapters, 'Unload', { adapter: 'js-whisper' });
  check('unload', r.reply?.freed_device_bytes > 0, r.error?.message);
  r = await unary(adapters, 'Delete', { adapter: 'js-whisper' });
  check('delete', r.reply?.deleted_versions === 1 && !(await list()).includes('js-whisper'), r.error?.message);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
})();
