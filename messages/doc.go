// Package messages is what travels on the queue: batches, commits, loads,
// events and dead letters, with their subjects, headers and versions.
//
// It promises that every message ever written decodes for ever (golden files
// under testdata/messages hold each version), that a name reaches a subject
// only through [Token], and that no message holds a secret. It knows no
// transport: the queue package carries these values over JetStream.
package messages
