// Package queue speaks JetStream so that nothing else has to.
//
// It promises that a publish that returned is stored, that a publish repeated
// by a crash or a retry changes nothing, that a delivery is kept alive while
// it is worked on and settled once, and that a message leaves its stream only
// after its end (outcome or dead letter) is stored.
//
// It does not promise that a message is delivered once: a delivery whose lease
// was lost, or whose holder died, comes again. What a delivery does must bear
// repetition.
//
// # For extractors
//
// An extractor in Go needs this package and [messages.Commit], nothing else of
// this module: [Connect], then [Queue.OpenExtraction], then [Publisher.Add] (structs,
// maps) or AddNDJSON, AddCSV, AddArrow, AddRecords, then [Publisher.Commit], and
// [Publisher.Wait] for what became of it. The package's example is a whole
// extractor. What the fields of a commit mean is in messages/README.md; so is
// the contract for extractors in other languages.
package queue
