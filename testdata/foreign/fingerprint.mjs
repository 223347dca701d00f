// Says which rows files hold, whoever wrote them.
//
// usage: node fingerprint.mjs plan.json
// plan: {"schema": [{"name","type"}], "format": "source" | "parquet" | "csv" | "csv+gzip" | "json" | "json+gzip",
//        "out": the directory, or the source's NDJSON file}
// Prints {Rows, Hash}: how many rows, and the sum of a hash of each over its dates, texts
// and whole numbers, which every writer spells alike. Order and files do not count.
import { DuckDBInstance } from '@duckdb/node-api';
import fs from 'node:fs';
import path from 'node:path';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const db = await (await DuckDBInstance.create(':memory:', { threads: '2' })).connect();
const text = (s) => "'" + String(s).replaceAll("'", "''") + "'";
const name = (s) => '"' + String(s).replaceAll('"', '""') + '"';

const compared = plan.schema.filter((c) => ['date', 'string', 'int64'].includes(c.type));
const as = { date: 'DATE', string: 'VARCHAR', int64: 'BIGINT' };
const columns = '{' + compared.map((c) => `${text(c.name)}: ${text(as[c.type])}`).join(', ') + '}';
const files = text(plan.format === 'source' ? plan.out : path.join(plan.out, '**'));
const packed = plan.format.endsWith('+gzip') ? ", compression='gzip'" : '';
const json = `read_json(${files}, format='newline_delimited', hive_partitioning=false${packed}, columns=${columns})`;
const from = {
  source: json,
  json,
  parquet: `read_parquet(${files}, hive_partitioning=false)`,
  csv: `read_csv(${files}, header=true, quote='"', escape='"', auto_detect=false, hive_partitioning=false${packed}, ` +
    `columns={${plan.schema.map((c) => `${text(c.name)}: 'VARCHAR'`).join(', ')}}, max_line_size=67108864)`,
}[plan.format.replace('+gzip', '')];
// An absent text and an empty one are not told apart: CSV of others does not.
const value = (c) => `coalesce(CAST(CAST(${name(c.name)} AS ${as[c.type]}) AS VARCHAR), '')`;
const sql = `SELECT count(*)::VARCHAR AS n, sum(hash(concat_ws(chr(31), ${compared.map(value).join(', ')}))::HUGEINT)::VARCHAR AS h FROM ${from}`;
const { n, h } = (await db.runAndReadAll(sql)).getRowObjectsJson()[0];
console.log(JSON.stringify({ Rows: n, Hash: h }));
