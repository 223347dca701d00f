// Package destination says where a customer wants files and how they are named.
//
// It reads and judges a destination's settings ([Parse]), seals their secret at
// rest ([Keyring]), and turns the folder and file name templates into object
// keys ([Naming]). It promises that every mistake in a document is reported at
// once, that no value can leave its folder or take another value's key, and
// that a secret never prints. It opens no connection and knows no clock: what
// "today" is comes with the load.
package destination
