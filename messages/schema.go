package messages

import _ "embed"

// The JSON Schemas (draft 2020-12) of the contract, for extractors and readers
// in other languages. CommitSchema is closed, as ParseCommit is; the others
// leave room for added fields.
var (
	//go:embed schema/commit.schema.json
	CommitSchema string
	//go:embed schema/load.schema.json
	LoadSchema string
	//go:embed schema/event.schema.json
	EventSchema string
	//go:embed schema/dead-letter.schema.json
	DeadLetterSchema string
)
