// Package storage puts objects into customers' buckets: credentials,
// encryption headers, conditional writes, multipart uploads.
//
// It promises that a Put stores the whole object or nothing, that a condition
// is judged by the store and not here, that an upload which fails is aborted,
// and that a write whose reply was lost is found again instead of being
// mistaken for somebody else's. Errors say what happened ([Error], and the
// sentinels it wraps); what follows from it is the caller's.
//
// It does not retry for long: the SDK repeats a request up to three times
// within seconds, and the queue does the rest. It is the only importer of the
// AWS SDK.
package storage
