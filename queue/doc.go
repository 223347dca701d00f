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
package queue
