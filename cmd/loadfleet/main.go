// Command loadfleet loads extraction results into customers' S3 buckets: one
// binary for every role of the fleet and for those who operate it.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
