// Reads what loadfleet wrote with readers that others wrote, and compares every
// row with the source.
//
// usage: node compare.mjs plan.json
// plan: {"source": "rows.ndjson", "schema": [{"name","type"}],
//        "partition": [column, ...], "sums": [column, ...],
//        "tables": [{"name", "format", "separator", "files": [path, ...]}]}
// Prints a JSON list of {table, reader, rows, missing, extra, example, nulls,
// partitions}: missing and extra count source rows that are not in the files and
// the other way round, as multisets over all columns; nulls counts them per
// column; partitions has one entry {file, by, rows, sums} per file and values of
// the partition's columns, sums as exact digits (null where the reader has none).
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
// no reader's guess of a type comes between the file and the comparison. The
// column FILE says which file a row came from; no schema has one of that name.
const FILE = '\u0001file';
const asText = (file) => '{' + [...plan.schema.map((c) => c.name), ...(file ? [FILE] : [])].map((c) => `${text(c)}: 'VARCHAR'`).join(', ') + '}';
const casts = (type) => plan.schema.map((c) => `CAST(${name(c.name)} AS ${type(c.type)}) AS ${name(c.name)}`).join(', ');
const cast = casts(duckType);
const isDecimal = (c) => c.type.startsWith('decimal');
// DuckDB reads a number in JSON through a double, beyond 15 digits losing some,
// and writes a json value its own way (2.50 as 2.5, "all" as all). So its own
// reading of JSON is compared with its own reading of the source, decimals as
// doubles; the exact digits are compared by a second reading, see exactJSON.
const castDouble = casts((type) => (type.startsWith('decimal') ? 'DOUBLE' : duckType(type)));
const jsonLines = (files, more) => `read_json(${list(files)}, format='newline_delimited', maximum_object_size=67108864, hive_partitioning=false, ${more})`;
const ownJSON = (files) => jsonLines(files, `columns=${asText(false)}, filename=${text(FILE)}`);
const madeJSON = (file) => jsonLines([file], `columns=${asText(true)}`);

async function load(table, from, columns = cast) {
  await db.run(`CREATE OR REPLACE TABLE ${name(table)} AS SELECT ${columns}, ${name(FILE)} FROM ${from}`);
}

// compare holds a table against its source. made says which of the table's
// files a file stands for that a reader between made of it.
async function compare(table, reader, { source = 'source', sums = plan.sums, made = new Map() } = {}) {
  const columns = plan.schema.map((c) => name(c.name)).join(', ');
  const unequal = await query(`SELECT ${columns}, sum(side)::BIGINT AS ${name(FILE)} FROM (
    SELECT ${columns}, 1 AS side FROM ${name(source)} UNION ALL SELECT ${columns}, -1 AS side FROM ${name(table)}
  ) GROUP BY ALL HAVING sum(side) <> 0`);
  const side = (sign) => unequal.filter((r) => sign * Number(r[FILE]) > 0);
  const total = (rows) => rows.reduce((n, r) => n + Math.abs(Number(r[FILE])), 0);
  const [missing, extra] = [side(1), side(-1)];
  const [counted] = await query(`SELECT count(*) AS n, ${plan.schema.map((c, i) => `count(*) - count(${name(c.name)}) AS c${i}`).join(', ')} FROM ${name(table)}`);
  const by = plan.partition.map(name).join(', ');
  const partitions = await query(`SELECT ${name(FILE)} AS file, [${plan.partition.map((c) => `CAST(${name(c)} AS VARCHAR)`).join(', ')}] AS by, count(*) AS n,
    [${plan.sums.map((c) => (sums.includes(c) ? `CAST(coalesce(sum(${name(c)}), 0) AS VARCHAR)` : 'NULL')).join(', ')}] AS sums
    FROM ${name(table)} GROUP BY ${name(FILE)}, ${by}`);
  return {
    table, reader, rows: Number(counted.n), missing: total(missing), extra: total(extra),
    example: unequal.length ? { missing: missing[0], extra: extra[0] } : undefined,
    nulls: plan.schema.map((c, i) => Number(counted['c' + i])),
    partitions: partitions.map((p) => ({ file: made.get(p.file) ?? p.file, by: p.by, rows: Number(p.n), sums: p.sums })),
  };
}

// members yields the top-level members of a JSON object: name, start and end of
// the value's text.
const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^"{}[\],:\s]+|\s+/y;
function* members(line) {
  let depth = 0, key, from = -1;
  for (token.lastIndex = 0; token.lastIndex < line.length;) {
    const at = token.lastIndex;
    if (!token.test(line)) throw new Error(`not JSON at ${at}: ${line}`);
    const first = line[at], next = token.lastIndex;
    if (depth === 1 && (first === ',' || first === '}') && from >= 0) {
      yield [key, from, at];
      from = -1;
    }
    if (first === '{' || first === '[') depth++;
    else if (first === '}' || first === ']') depth--;
    else if (depth === 1 && first === ':' && from < 0) from = next;
    else if (depth === 1 && first === '"' && from < 0) key = JSON.parse(line.slice(at, next));
    token.lastIndex = next;
  }
}

// compact is a JSON value's text without the white space between its tokens.
const compact = (value) => value.replace(/"(?:[^"\\]|\\.)*"|\s+/g, (t) => (t[0] === '"' ? t : ''));

// exactJSON puts the decimals and json values of NDJSON files between quotes, so
// that every digit of them reaches the cast, and tells each row its file.
function exactJSON(t, files) {
  const quoted = new Set(plan.schema.filter((c) => isDecimal(c) || c.type === 'json').map((c) => c.name));
  const json = new Set(plan.schema.filter((c) => c.type === 'json').map((c) => c.name));
  const out = path.join(scratch, t + '-exact.ndjson');
  const fd = fs.openSync(out, 'w');
  for (const file of files) {
    const raw = fs.readFileSync(file);
    const lines = (file.endsWith('.gz') ? zlib.gunzipSync(raw) : raw).toString('utf8').split('\n');
    if (lines.pop() !== '') throw new Error(`${file} does not end with a line break`);
    fs.writeSync(fd, lines.map((line) => {
      let exact = '', done = 0;
      for (const [key, from, to] of members(line)) {
        const value = line.slice(from, to).trim();
        if (!quoted.has(key) || value === 'null' || (value[0] === '"' && !json.has(key))) continue;
        exact += line.slice(done, from) + JSON.stringify(compact(value));
        done = to;
      }
      const end = line.lastIndexOf('}');
      return `${exact}${line.slice(done, end)},${JSON.stringify(FILE)}:${JSON.stringify(file)}}\n`;
    }).join(''));
  }
  fs.closeSync(fd);
  return madeJSON(out);
}

// A folder such as date=2024-06-20 must not stand in for the column of that name.
const parquet = (files) => `read_parquet(${list(files)}, hive_partitioning=false, filename=${text(FILE)})`;

function duckdb(t) {
  const delim = { comma: ',', semicolon: ';', tab: '\t' }[t.separator || 'comma'];
  switch (t.format) {
    case 'csv':
    case 'csv+gzip':
      return `read_csv(${list(t.files)}, header=true, delim=${text(delim)}, quote='"', escape='"', nullstr='', allow_quoted_nulls=false, ` +
        `strict_mode=true, auto_detect=false, columns=${asText(false)}, max_line_size=67108864, hive_partitioning=false, filename=${text(FILE)})`;
    case 'json':
    case 'json+gzip':
      return ownJSON(t.files);
    case 'parquet':
      return parquet(t.files);
  }
  return undefined;
}

// 64-bit integers as BigInt, those below a logical type too: avsc refuses what
// is beyond 2^53 by itself.
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
          return avsc.Type.forSchema(schema, { wrapUnions: false, typeHook: (s) => (s === 'long' || s.type === 'long' ? long : undefined) });
        },
        codecs: avsc.streams.BlockDecoder.getDefaultCodecs(),
      });
      decoder.on('data', (row) => {
        lines.push(JSON.stringify(Object.fromEntries([...plan.schema.map((c, i) => [c.name, plain(row[fields[i]], c.type)]), [FILE, file]])));
      });
      decoder.on('end', resolve).on('error', reject);
      fs.createReadStream(file).on('error', reject).pipe(decoder);
    });
    if (lines.length) fs.writeSync(fd, lines.join('\n') + '\n');
  }
  fs.closeSync(fd);
  return madeJSON(out);
}

// polars reads with the Rust readers behind Polars and hands on as Parquet.
async function polars(t, read) {
  const dir = path.join(scratch, t.name + '-polars');
  fs.mkdirSync(dir);
  const made = new Map();
  for (const [i, file] of t.files.entries()) {
    const out = path.join(dir, i + '.parquet');
    read(file).writeParquet(out);
    made.set(out, file);
  }
  await load(t.name, parquet([...made.keys()]));
  return compare(t.name, 'polars', { made });
}

const results = [];
await load('source', exactJSON('source', [plan.source]));
await load('source as duckdb reads JSON', ownJSON([plan.source]), castDouble);
for (const t of plan.tables) {
  const from = duckdb(t);
  if (t.format.startsWith('json')) {
    const whole = plan.sums.filter((s) => !plan.schema.some((c) => c.name === s && isDecimal(c)));
    await load(t.name, from, castDouble);
    results.push(await compare(t.name, 'duckdb', { source: 'source as duckdb reads JSON', sums: whole }));
    await load(t.name, exactJSON(t.name, t.files));
    results.push(await compare(t.name, 'node'));
  } else if (from) {
    await load(t.name, from);
    results.push(await compare(t.name, 'duckdb'));
  }
  if (t.format === 'avro') {
    await load(t.name, await avro(t));
    results.push(await compare(t.name, 'avsc'));
    results.push(await polars(t, (f) => pl.readAvro(f)));
  }
  if (t.format === 'parquet') results.push(await polars(t, (f) => pl.readParquet(f)));
}
fs.rmSync(scratch, { recursive: true });
console.log(JSON.stringify(results));
