// The relay as an AWS Lambda Web Function: it takes a large push, and hands its body to the hub through S3.
//
//     POST …/staging   the hub checks the rights of the caller, and returns an upload URL and a reference
//     PUT  URL         the body, as it arrives
//     POST …/push      the request itself, with the reference instead of the body
//
// It has no credentials and no secret: it passes on the headers of the caller and of the distribution. A request with a
// small body, and any other request, passes as it is. Entry file and listening address: see "Building Lambda Web
// Functions with Node.js" in the AWS Lambda Developer Guide.
'use strict';
const http = require('node:http');
const https = require('node:https');
const { finished, pipeline } = require('node:stream/promises');

const HUB_URL = process.env.HUB_URL;
const [HOST, PORT] = (process.env.AWS_LAMBDA_HTTP_ENDPOINT || '127.0.0.1:3000').split(':');
const DIRECT_BYTES = 4_000_000; // Lambda takes about 4.69 MB
const SILENCE_MS = 60_000; // the API answers within 30 s
const PUSH = /^(\/[^/?]+\/[^/?]+)\/(push|push\/objects)$/;
const PROOFS = ['authorization', 'x-pieria-origin', 'x-pieria-viewer'];
const HOPS = 'connection expect host keep-alive te trailer transfer-encoding upgrade'.split(' ');

const chosen = (headers, takes) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => takes(name)));
const forwarded = (headers) => chosen(headers, (name) => !HOPS.includes(name));

function ask(url, method, headers, body) {
  return new Promise((resolve, reject) => {
    // A connection of its own: the other side may close a kept one at the moment of the request.
    const sent = (url.startsWith('https:') ? https : http).request(url, { method, headers, agent: false });
    sent.on('response', resolve).on('error', reject);
    sent.setTimeout(SILENCE_MS, () => sent.destroy(new Error(`no byte within ${SILENCE_MS} ms`)));
    if (!body?.pipe) return sent.end(body);
    body.once('close', () => body.complete || sent.destroy(new Error('the caller has gone')));
    body.pipe(sent);
  });
}

async function stage(request, repository, route) {
  const size = Number(request.headers['content-length']);
  const proofs = chosen(request.headers, (name) => PROOFS.includes(name));
  const json = { 'content-type': 'application/json', accept: 'application/json' };
  const wanted = JSON.stringify({ route, size });
  const place = await ask(`${HUB_URL}${repository}/staging`, 'POST', { ...proofs, ...json }, wanted);
  if (place.statusCode !== 200) return place;
  const { url, reference } = JSON.parse(Buffer.concat(await place.toArray()));
  const upload = await ask(url, 'PUT', { 'content-length': size }, request);
  const refusal = Buffer.concat(await upload.toArray());
  if (upload.statusCode >= 300) throw new Error(`upload: ${upload.statusCode} ${refusal}`);
  const headers = { ...forwarded(request.headers), 'content-length': 0, 'pieria-staged-body': reference };
  return ask(HUB_URL + request.url, 'POST', headers);
}

// The rest of the body is read before a reply is sent: a Web Function is half-duplex.
async function drain(request) {
  request.unpipe();
  request.resume();
  await finished(request, { writable: false });
}

async function serve(request, response) {
  const push = request.method === 'POST' && PUSH.exec(request.url);
  const isLarge = push && Number(request.headers['content-length']) > DIRECT_BYTES;
  try {
    const reply = isLarge
      ? await stage(request, push[1], push[2])
      : await ask(HUB_URL + request.url, request.method, forwarded(request.headers), request);
    await drain(request);
    response.writeHead(reply.statusCode, forwarded(reply.headers));
    await pipeline(reply, response);
  } catch (error) {
    console.error(`${request.method}: ${error.message}`);
    if (response.headersSent || response.destroyed) return response.destroy();
    await drain(request).catch(() => {});
    const message = 'the hub or its storage did not answer; nothing is lost, push again';
    response.writeHead(503, { 'content-type': 'application/json', 'retry-after': 2 });
    response.end(JSON.stringify({ message, detail: message, code: 'unavailable' }));
  }
}

http.createServer({ requestTimeout: 0 }, serve).listen(Number(PORT), HOST);
