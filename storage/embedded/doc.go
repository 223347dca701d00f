// Package embedded is an S3 store with STS inside the process: what a
// demonstration, a laptop and the tests load into.
//
// It is the versitygw gateway over a local directory, with what that gateway
// lacks added around it: encryption headers that are checked and echoed,
// users and roles with permissions, AssumeRole with trust, external id and
// expiry. It promises the S3 semantics loadfleet rests on (conditional
// writes, checksums, multipart, whole objects only). It does not encrypt
// anything on disk, and it is not a store for production.
//
// Two properties of the gateway are the caller's to know: one server can run
// per process, and while it runs the working directory of the process is the
// directory of the objects, so relative paths must be resolved before Start.
package embedded
