// Runs a DuckDB script on a copy of a bucket, and reads the table it makes.
//
// usage: node ddl.mjs script.sql bucket-url folder table column...
// Prints {types: [...], rows: [[value, ...], ...]}, values as text, sorted.
import { DuckDBInstance } from '@duckdb/node-api';
import fs from 'node:fs';

const [script, url, folder, table, ...columns] = process.argv.slice(2);
const db = await (await DuckDBInstance.create(':memory:')).connect();
await db.run("SET TimeZone = 'UTC'");
await db.run(fs.readFileSync(script, 'utf8').replaceAll(url, folder));
const name = (s) => '"' + s.replaceAll('"', '""') + '"';
const result = await db.runAndReadAll(`SELECT ${columns.map((c) => `CAST(${name(c)} AS VARCHAR)`).join(', ')} FROM ${name(table)}`);
const types = await db.runAndReadAll(`SELECT ${columns.map((c) => `typeof(${name(c)})`).join(', ')} FROM ${name(table)} LIMIT 1`);
const rows = result.getRows().map((row) => row.map((v) => (v === null ? null : String(v))));
rows.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
console.log(JSON.stringify({ types: types.getRows()[0], rows }));
