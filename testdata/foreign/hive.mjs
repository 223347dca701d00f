// Reads Hive-style folders with readers that others wrote, columns of the
// folders' names included.
//
// usage: node hive.mjs plan.json
// plan: {"folder", "glob", "types": {column: DuckDB type}, "columns": [name, ...],
//        "format": "csv" | "json" | "parquet"}
// Prints {reader: [[value, ...], ...]} with every row as text, sorted.
import { DuckDBInstance } from '@duckdb/node-api';
import pl from 'nodejs-polars';
import fs from 'node:fs';
import path from 'node:path';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const db = await (await DuckDBInstance.create(':memory:')).connect();
const text = (s) => "'" + String(s).replaceAll("'", "''") + "'";
const sorted = (rows) => rows.map((row) => row.map((v) => (v === null ? null : String(v)))).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
const types = '{' + Object.entries(plan.types).map(([column, type]) => `${text(column)}: ${type}`).join(', ') + '}';
const read = {
  csv: (more) => `read_csv(${text(path.join(plan.folder, plan.glob))}, header = true, hive_partitioning = true${more})`,
  json: (more) => `read_json(${text(path.join(plan.folder, plan.glob))}, format = 'newline_delimited', hive_partitioning = true${more})`,
  parquet: (more) => `read_parquet(${text(path.join(plan.folder, plan.glob))}, hive_partitioning = true${more})`,
}[plan.format];
const sql = `SELECT ${plan.columns.map((c) => `CAST("${c}" AS VARCHAR)`).join(', ')} FROM ${read(`, hive_types = ${types}`)}`;
const answer = { duckdb: sorted((await db.runAndReadAll(sql)).getRows()) };
if (plan.format === 'parquet') {
  const frame = await pl.scanParquet(path.join(plan.folder, plan.glob), { hivePartitioning: true }).collect();
  const columns = plan.columns.map((c) => frame.getColumn(c).toArray().map((v) => (v instanceof Date ? v.toISOString().slice(0, 10) : v)));
  answer.polars = sorted(columns[0].map((_, i) => columns.map((column) => column[i])));
}
console.log(JSON.stringify(answer));
