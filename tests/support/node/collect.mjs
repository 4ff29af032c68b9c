// Collect and remove all mail with node-pop3. Standard input: its options as JSON, "ca" the name
// of a file. Standard output: what was found, as JSON; messages in base64, with their dots still
// stuffed and without their last line end, as node-pop3 gives them.
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import Pop3Command from 'node-pop3';

const { ca, ...options } = JSON.parse(readFileSync(0, 'utf8'));
const tlsOptions = ca ? { ca: readFileSync(ca) } : {};
const client = new Pop3Command({ ...options, tlsOptions });

const stat = await client.STAT();
const sizes = await client.LIST();
const names = await client.UIDL();
const messages = [];
for (const [number] of sizes) {
  const [, stream] = await client.command('RETR', number);
  messages.push((await buffer(stream)).toString('base64'));
  await client.command('DELE', number);
}
await client.QUIT();
console.log(JSON.stringify({ stat, sizes, names, messages }));
