// Package encoding turns an extractor's rows into columns and columns into files.
//
// It decodes NDJSON, CSV and Arrow IPC batches (plain, gzip, zstd) into [Rows],
// groups and gathers rows by partition, carries them over the queue, and writes
// them as csv, json, parquet or avro. It promises that equal rows give equal
// bytes, whatever batches they came in, and that no row is held as anything but
// columns. It knows nothing of buckets, queues or customers.
package encoding
