// Package subscription owns plans, trials and the lifecycle of subscriptions, and the copy of it that other services
// read in Redis. Every change raises the user's version and stores an event in the outbox, in the same transaction.
//
// The package does not promise that the copy is current: it follows the database by events, and can be rebuilt from it.
package subscription
