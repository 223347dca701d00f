// Reads what loadfleet wrote with readers that others wrote, and compares every
// row with the source.
//
// usage: node compare.mjs plan.json
// plan: {"source": "rows.ndjson", "schema": [{"name","type"}],
//        "tables": [{"name", "format", "separator", "files": [path, ...]}]}
// Prints a JSON list of {table, reader, rows, missing, extra, example}: missing
// and extra count source rows that are not in the files and the other way
// round, as multisets over all columns.
import { DuckDBInstance } from '@duckdb/node-api';
import avsc from 'avsc';
import pl from 'nodejs-polars';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'loadfleet-foreign-'));
const db = await (await DuckDBInstance.create(':memory:')).connect();
const text = (s) => "'" + String(s).replaceAll("'", "''") + "'";
const name = (s) => '"' + String(s).replaceAll('"', '""') + '"';
const list = (files) => '[' + files.map(text).join(', ') + ']';
const query = async (sql) => (await db.runAndReadAll(sql)).getRowObjectsJson();

function duckType(type) {
  if (type.startsWith('decimal')) return type.toUpperCase();
  return { string: 'VARCHAR', int64: 'BIGINT', float64: 'DOUBLE', bool: 'BOOLEAN', date: 'DATE', timestamp: 'TIMESTAMP', json: 'VARCHAR' }[type];
}

// Every table is read as text where its format is text, and then cast, so that
// no reader's guess of a type comes between the file and the comparison.
const asText = '{' + plan.schema.map((c) => `${text(c.name)}: 'VARCHAR'`).join(', ') + '}';
const casts = (type) => plan.schema.map((c) => `CAST(${name(c.name)} AS ${type(c.type)}) AS ${name(c.name)}`).join(', ');
const cast = casts(duckType);
// DuckDB reads a number in JSON through a double: beyond 15 digits it loses
// some. Its own reading of JSON is compared with decimals as doubles; the exact
// digits are compared by a second reading, see exactJSON.
const castDouble = casts((type) => (type.startsWith('decimal') ? 'DOUBLE' : duckType(type)));
const jsonLines = (files) => `read_json(${list(files)}, format='newline_delimited', columns=${asText}, maximum_object_size=67108864)`;

async function load(table, from, columns = cast) {
  await db.run(`CREATE OR REPLACE TABLE ${name(table)} AS SELECT ${columns} FROM ${from}`);
}

async function compare(table, reader, columns = cast) {
  const [{ n }] = await query(`SELECT count(*) AS n FROM ${name(table)}`);
  const source = `SELECT ${columns} FROM source`;
  const missing = await query(`${source} EXCEPT ALL SELECT * FROM ${name(table)}`);
  const extra = await query(`SELECT * FROM ${name(table)} EXCEPT ALL ${source}`);
  const example = missing.length || extra.length ? { missing: missing[0], extra: extra[0] } : undefined;
  return { table, reader, rows: Number(n), missing: missing.length, extra: extra.length, example };
}

// exactJSON puts the decimals of NDJSON files between quotes, so that every
// digit reaches the cast. Inside a string the pattern cannot occur: its quotes
// would be escaped.
function exactJSON(t, files) {
  const decimals = plan.schema.filter((c) => c.type.startsWith('decimal')).map((c) => JSON.stringify(c.name));
  const pattern = new RegExp(`(${decimals.map((d) => d.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|') || '(?!)'}):(-?[0-9][-+.0-9eE]*)`, 'g');
  const out = path.join(scratch, t + '-exact.ndjson');
  const fd = fs.openSync(out, 'w');
  for (const file of files) {
    const raw = fs.readFileSync(file);
    const lines = (file.endsWith('.gz') ? zlib.gunzipSync(raw) : raw).toString('utf8');
    fs.writeSync(fd, lines.replace(pattern, '$1:"$2"'));
  }
  fs.closeSync(fd);
  return jsonLines([out]);
}

function duckdb(t) {
  const delim = { comma: ',', semicolon: ';', tab: '\t' }[t.separator || 'comma'];
  switch (t.format) {
    case 'csv':
    case 'csv+gzip':
      return `read_csv(${list(t.files)}, header=true, delim=${text(delim)}, quote='"', escape='"', nullstr='', allow_quoted_nulls=false, ` +
        `strict_mode=true, auto_detect=false, columns=${asText}, max_line_size=67108864)`;
    case 'json':
    case 'json+gzip':
      return jsonLines(t.files);
    case 'parquet':
      return `read_parquet(${list(t.files)})`;
  }
  return undefined;
}

// 64-bit integers as BigInt: avsc refuses those beyond 2^53 by itself.
const long = avsc.types.LongType.__with({
  fromBuffer: (b) => b.readBigInt64LE(),
  toBuffer: (n) => { const b = Buffer.alloc(8); b.writeBigInt64LE(n); return b; },
  fromJSON: BigInt, toJSON: Number, isValid: (n) => typeof n === 'bigint', compare: (a, b) => (a < b ? -1 : a > b ? 1 : 0),
});

function signed(bytes) {
  let n = 0n;
  for (const b of bytes) n = (n << 8n) | BigInt(b);
  return bytes.length && bytes[0] & 0x80 ? n - (1n << BigInt(8 * bytes.length)) : n;
}

function decimal(bytes, scale) {
  const n = signed(bytes), digits = (n < 0n ? -n : n).toString().padStart(scale + 1, '0');
  const whole = digits.slice(0, digits.length - scale), fraction = digits.slice(digits.length - scale);
  return (n < 0n ? '-' : '') + whole + (scale ? '.' + fraction : '');
}

function micros(n) {
  const second = n / 1000000n - (n % 1000000n < 0n ? 1n : 0n);
  const rest = n - second * 1000000n;
  return new Date(Number(second) * 1000).toISOString().slice(0, 19).replace('T', ' ') + '.' + rest.toString().padStart(6, '0');
}

// plain renders a decoded Avro value as the text that the casts above read.
function plain(v, type) {
  if (v === null || v === undefined) return null;
  if (type === 'date') return new Date(v * 86400000).toISOString().slice(0, 10);
  if (type === 'timestamp') return micros(v);
  if (type.startsWith('decimal')) return decimal(v, Number(type.split(',')[1].replace(')', '')));
  return String(v);
}

// avro decodes with avsc into NDJSON that DuckDB takes in.
async function avro(t) {
  const out = path.join(scratch, t.name + '.ndjson');
  const fd = fs.openSync(out, 'w');
  for (const file of t.files) {
    const lines = [];
    await new Promise((resolve, reject) => {
      let fields;
      const decoder = new avsc.streams.BlockDecoder({
        parseHook: (schema) => {
          fields = schema.fields.map((f) => f.name);
          return avsc.Type.forSchema(schema, { wrapUnions: false, registry: { long } });
        },
        codecs: avsc.streams.BlockDecoder.getDefaultCodecs(),
      });
      decoder.on('data', (row) => {
        lines.push(JSON.stringify(Object.fromEntries(plan.schema.map((c, i) => [c.name, plain(row[fields[i]], c.type)]))));
      });
      decoder.on('end', resolve).on('error', reject);
      fs.createReadStream(file).on('error', reject).pipe(decoder);
    });
    if (lines.length) fs.writeSync(fd, lines.join('\n') + '\n');
  }
  fs.closeSync(fd);
  return jsonLines([out]);
}

// polars reads with the Rust readers behind Polars and hands on as Parquet.
async function polars(t, read) {
  const dir = path.join(scratch, t.name + '-polars');
  fs.mkdirSync(dir);
  const files = [];
  for (const [i, file] of t.files.entries()) {
    const out = path.join(dir, i + '.parquet');
    read(file).writeParquet(out);
    files.push(out);
  }
  return `read_parquet(${list(files)})`;
}

const results = [];
await load('source', exactJSON('source', [plan.source]));
for (const t of plan.tables) {
  const isJSON = t.format.startsWith('json');
  const from = duckdb(t);
  if (from) {
    await load(t.name, from, isJSON ? castDouble : cast);
    results.push(await compare(t.name, 'duckdb', isJSON ? castDouble : cast));
  }
  if (isJSON) {
    await load(t.name, exactJSON(t.name, t.files));
    results.push(await compare(t.name, 'node'));
  }
  if (t.format === 'avro') {
    await load(t.name, await avro(t));
    results.push(await compare(t.name, 'avsc'));
    await load(t.name, await polars(t, (f) => pl.readAvro(f)));
    results.push(await compare(t.name, 'polars'));
  }
  if (t.format === 'parquet') {
    await load(t.name, await polars(t, (f) => pl.readParquet(f)));
    results.push(await compare(t.name, 'polars'));
  }
}
fs.rmSync(scratch, { recursive: true });
console.log(JSON.stringify(results, null, 1));
