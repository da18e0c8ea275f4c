// Package operations is what an operator sees of the running service, and does to it, in the console of a consumer. It has
// no rules of its own: commands do the same through the same use cases, and the same record says who did it.
package operations
