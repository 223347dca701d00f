// Splits a file of rows by day and account with DuckDB, and says what it took:
// the peer that `loadfleet bench --peers` measures beside loadfleet.
//
// usage: node duckdb-copy.mjs plan.json
// plan: {"source": "rows.ndjson", "schema": [{"name","type"}], "date", "account",
//        "format": "parquet" | "csv" | "csv+gzip" | "json" | "json+gzip",
//        "threads": 1, "out": directory}
// Prints {version, wall, cpu, peak_rss, files, bytes, rows}: seconds of the COPY
// alone, peak memory of the whole process, and the rows that it says it wrote.
// Without "out" it reads all values and writes none; files and bytes are left out.
import { DuckDBInstance } from '@duckdb/node-api';
import fs from 'node:fs';
import path from 'node:path';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const db = await (await DuckDBInstance.create(':memory:', { threads: String(plan.threads) })).connect();
const text = (s) => "'" + String(s).replaceAll("'", "''") + "'";
const name = (s) => '"' + String(s).replaceAll('"', '""') + '"';
const one = async (sql) => (await db.runAndReadAll(sql)).getRowObjectsJson()[0];

function duckType(type) {
  if (type.startsWith('decimal')) return type.toUpperCase();
  return { string: 'VARCHAR', int64: 'BIGINT', float64: 'DOUBLE', bool: 'BOOLEAN', date: 'DATE', timestamp: 'TIMESTAMP', json: 'JSON' }[type];
}

const columns = '{' + plan.schema.map((c) => `${text(c.name)}: ${text(duckType(c.type))}`).join(', ') + '}';
const source = `read_json(${text(plan.source)}, format='newline_delimited', columns=${columns})`;
const keys = [plan.date, plan.account].map(name).join(', ');
// Sorted first: by far DuckDB's best plan for many partitions.
const by = `PARTITION_BY (${keys}), OVERWRITE`;
const packed = plan.format.endsWith('+gzip') ? ', COMPRESSION gzip' : '';

// DuckDB has no PARTITION_BY for JSON: each row becomes one text, which the
// CSV writer, told to quote nothing, writes as a line.
const copies = {
  parquet: `COPY (SELECT * FROM ${source} ORDER BY ${keys}) TO ${text(plan.out)} (FORMAT parquet, WRITE_PARTITION_COLUMNS, ${by})`,
  csv: `COPY (SELECT * FROM ${source} ORDER BY ${keys}) TO ${text(plan.out)} (FORMAT csv, HEADER, WRITE_PARTITION_COLUMNS, ${by}${packed})`,
  json: `COPY (SELECT ${keys}, to_json(r)::VARCHAR AS line FROM ${source} r ORDER BY ${keys}) TO ${text(plan.out)} ` +
    `(FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', ${by}${packed})`,
};
// max asks least of a value of any type and still has each one read.
const scan = `SELECT count(*) AS n, ${plan.schema.map((c) => `max(${name(c.name)})`).join(', ')} FROM ${source}`;
const copy = plan.out ? copies[plan.format.replace('+gzip', '')] : scan;
if (!copy) throw new Error(`DuckDB does not write ${plan.format}`);

// VmHWM and not what getrusage says: that counts the parent, until the exec, too.
const peak = () => Number(/^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;

const cpu = process.cpuUsage();
const started = process.hrtime.bigint();
const done = await db.runAndReadAll(copy);
const wall = Number(process.hrtime.bigint() - started) / 1e9;
const used = process.cpuUsage(cpu);
const { v } = await one('SELECT version() AS v');
const took = { version: `DuckDB ${v} in Node.js ${process.version}`, wall, cpu: (used.user + used.system) / 1e6, peak_rss: peak() };

if (plan.out) {
  const files = fs.readdirSync(plan.out, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  took.files = files.length;
  took.bytes = files.reduce((sum, f) => sum + fs.statSync(path.join(f.parentPath, f.name)).size, 0);
  // What was written is counted by fingerprint.mjs; here only what the COPY says.
  took.rows = Number(done.rowsChanged);
} else {
  took.rows = Number(done.getRowObjectsJson()[0].n);
}
console.log(JSON.stringify(took));
