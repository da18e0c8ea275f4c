// Package migration proves docs/adr/0006 on the real broker. It walks the four phases forwards and back under a steady
// load, with two publishing processes and two consumers that are changed one at a time, with consumers of the previous
// release beside them and without, and counts the mails of every address. With kill -9 of each role every address gets
// its mail, and every second mail has a cause that the ADR names, or the test fails.
//
// make test-integration walks each way once; make fanout-walk walks the whole matrix at four times the load. The
// publishing process (publisher) and the previous release's consumer (oldconsumer) are programs below this folder.
package migration
